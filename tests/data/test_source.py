"""`--data` stands for a folder, and simulated and real data never share a name."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from widedeep.data.dataset_file import KMRD_SPEC, SPEC_FILE
from widedeep.data.download import RELEASES, DownloadError
from widedeep.data.files import open_tables
from widedeep.data.simulator.config import SimulationConfig
from widedeep.data.simulator.write import MARKER, simulate
from widedeep.data.source import resolve_source, simulate_defaults
from widedeep.inputs import DataSetName, InputError

TINY = SimulationConfig(users=40, items=20, ratings=80, seed=1, exceptions=0)
KMRD = ["kmrd-small", "kmrd-2m", "kmrd-5m"]


def simulate_tiny(folder):
    simulate(TINY, folder)


def forbidden(*arguments):
    pytest.fail(f"called with {arguments}")


class FakeDownload:
    """Makes a folder for each KMRD, and remembers the names it was called with."""

    def __init__(self):
        self.names = []

    def __call__(self, name, folder):
        self.names.append(name)
        return make_folder(folder)


def offline(name, _folder):
    raise DownloadError(f"https://data.invalid/{name} could not be downloaded: no network")


def find(data, cache, environ=None, fetch=forbidden, simulator=forbidden):
    return resolve_source(data, cache, environ or {}, fetch, simulator)


def make_folder(path, *, simulated=False):
    path.mkdir(parents=True, exist_ok=True)
    (path / "rates.csv").write_text("user,movie,rate,time\n", encoding="utf-8")
    (path / "movies.txt").write_text("movie\ttitle\ttitle_eng\tyear\tgrade\n", encoding="utf-8")
    if simulated:
        (path / MARKER).write_text("{}", encoding="utf-8")
    return path


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "home" / "data"


@pytest.mark.parametrize("name", KMRD)
def test_a_kmrd_asked_for_by_name_is_downloaded_into_the_cache(cache, name):
    fetch = FakeDownload()
    source = find(name, cache, fetch=fetch)
    assert (source.name, source.folder, source.simulated) == (name, cache / name, False)
    for fact in (f"{name} of github.com/lovit/kmrd", "commit 8ca98b1", "now downloaded"):
        assert fact in source.origin
    assert source.origin.endswith(str(cache / name))
    assert fetch.names == [name]


def test_the_origin_says_that_a_kmrd_was_already_there(cache):
    make_folder(cache / "kmrd-2m")
    source = find("kmrd-2m", cache, fetch=FakeDownload())
    assert source.origin.endswith(f", already downloaded to {cache / 'kmrd-2m'}")


@pytest.mark.parametrize("name", KMRD)
def test_a_kmrd_asked_for_by_name_is_never_replaced_by_a_simulation(cache, name):
    with pytest.raises(DownloadError, match="no network"):
        find(name, cache, fetch=offline)


def test_a_whole_copy_in_the_cache_needs_no_network(cache):
    folder = make_folder(cache / "kmrd-small")
    for name in ("genres.csv", "countries.csv", "castings.csv", "peoples.txt"):
        (folder / name).touch()
    assert resolve_source("kmrd-small", cache, {}).folder == folder
    assert resolve_source("auto", cache, {}).name == "kmrd-small"


def test_sim_is_generated_once_and_reused(cache):
    source = find("sim", cache, simulator=simulate_tiny)
    assert (source.name, source.folder, source.simulated) == ("sim", cache / "sim", True)
    assert source.origin.startswith("simulated ratings")
    assert source.origin.endswith(f"{cache / 'sim'}, asked for by name")
    assert json.loads((source.folder / MARKER).read_text(encoding="utf-8"))["simulation"]
    assert find("sim", cache, simulator=forbidden) == source


def test_a_folder_named_like_the_simulation_is_not_overwritten(cache):
    mine = make_folder(cache / "sim") / "rates.csv"
    with pytest.raises(InputError, match="not empty"):
        find("sim", cache, simulator=simulate_tiny)
    assert mine.exists()


def test_auto_prefers_the_copy_named_by_the_environment(cache, tmp_path):
    make_folder(cache / "kmrd-small")
    mine = make_folder(tmp_path / "My ratings")
    source = find("auto", cache, {"WIDEDEEP_DATA": str(mine)})
    assert (source.name, source.folder, source.simulated) == ("my-ratings", mine, False)
    assert source.origin.startswith("interactions")
    assert f"{mine}, named by WIDEDEEP_DATA, recognised as KMRD" in source.origin


def test_the_environment_variable_counts_for_auto_only(cache, tmp_path):
    environ = {"WIDEDEEP_DATA": str(tmp_path / "missing")}
    assert find("kmrd-small", cache, environ, FakeDownload()).name == "kmrd-small"
    assert find("sim", cache, environ, simulator=simulate_tiny).name == "sim"


def test_a_missing_copy_named_by_the_environment_is_refused_even_if_there_is_another(
    cache, tmp_path
):
    make_folder(cache / "kmrd-small")
    missing = tmp_path / "missing"
    with pytest.raises(InputError, match=f"WIDEDEEP_DATA '{missing}' does not exist"):
        find("auto", cache, {"WIDEDEEP_DATA": str(missing)})


def test_an_empty_environment_variable_counts_as_unset(cache):
    assert find("auto", cache, {"WIDEDEEP_DATA": ""}, FakeDownload()).name == "kmrd-small"


@pytest.mark.parametrize(
    ("present", "chosen"),
    [
        (["kmrd-5m", "kmrd-2m", "kmrd-small"], "kmrd-small"),
        (["kmrd-5m", "kmrd-2m"], "kmrd-2m"),
        (["kmrd-5m"], "kmrd-5m"),
    ],
)
def test_auto_takes_the_smallest_kmrd_already_downloaded(cache, present, chosen):
    for name in present:
        make_folder(cache / name)
    fetch = FakeDownload()
    source = find("auto", cache, fetch=fetch)
    assert (source.name, source.folder, source.simulated) == (chosen, cache / chosen, False)
    assert "already downloaded" in source.origin
    assert fetch.names == [chosen]


def test_auto_downloads_kmrd_small_where_there_is_nothing(cache):
    source = find("auto", cache, fetch=FakeDownload())
    assert (source.name, source.simulated) == ("kmrd-small", False)
    assert "now downloaded" in source.origin


def test_auto_prefers_a_download_to_a_simulation_of_an_earlier_run(cache):
    find("auto", cache, fetch=offline, simulator=simulate_tiny)
    assert not find("auto", cache, fetch=FakeDownload()).simulated


def test_auto_offline_simulates_and_says_why(cache):
    source = find("auto", cache, fetch=offline, simulator=simulate_tiny)
    assert (source.name, source.folder, source.simulated) == ("sim", cache / "sim", True)
    assert source.origin.startswith("simulated ratings")
    assert f"{cache / 'sim'}, because there is no copy of KMRD" in source.origin
    reason = "https://data.invalid/kmrd-small could not be downloaded: no network"
    assert source.origin.endswith(reason)


def test_auto_does_not_simulate_over_a_damaged_copy(cache):
    (make_folder(cache / "kmrd-small") / "movies.txt").unlink()
    with pytest.raises(InputError, match=r"movies.txt, .* missing; remove the folder"):
        resolve_source("auto", cache, {}, simulator=forbidden)


def test_a_folder_is_named_by_its_absolute_path(cache, tmp_path, monkeypatch):
    mine = make_folder(tmp_path / "Ratings_2019 (Korea)")
    monkeypatch.chdir(mine)
    source = find(".", cache)
    assert (source.name, source.folder) == ("ratings-2019-korea", mine)
    assert f"{mine}, named by --data, recognised as KMRD" in source.origin


def test_a_folder_may_stand_below_the_users_home(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    mine = make_folder(tmp_path / "mine")
    assert find("~/mine", cache).folder == mine


def test_a_link_is_named_by_what_it_points_to(cache, tmp_path):
    mine = make_folder(tmp_path / "mine")
    (tmp_path / "link").symlink_to(mine)
    assert find(str(tmp_path / "link"), cache).name == "mine"


def test_the_cache_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find("sim", Path("data"), simulator=simulate_tiny).folder == tmp_path / "data" / "sim"


def test_a_missing_folder_is_named_with_the_accepted_words(cache, tmp_path):
    missing = tmp_path / "kmrd-samll"
    words = "auto, kmrd-small, kmrd-2m, kmrd-5m, sim, or a folder"
    with pytest.raises(InputError, match=f"--data '{missing}' does not exist; .*{words}"):
        find(str(missing), cache)


def test_a_file_is_no_folder(cache, tmp_path):
    file = make_folder(tmp_path / "mine") / "rates.csv"
    with pytest.raises(InputError, match=rf"--data '{file}' is a file; expected one of auto, "):
        find(str(file), cache)


@pytest.mark.parametrize("text", ["", " ", "~nobody-by-this-name/x", "a\0b", "x" * 5_000])
def test_what_cannot_be_a_path_is_the_users_error(cache, text):
    with pytest.raises(InputError, match="--data"):
        find(text, cache)


@pytest.mark.parametrize("name", ["영화", "___", "..."])
def test_a_folder_without_a_usable_letter_or_digit_is_refused(cache, tmp_path, name):
    mine = make_folder(tmp_path / name)
    with pytest.raises(InputError, match="expected a folder with a letter a-z or a digit"):
        find(str(mine), cache)


def test_a_name_in_the_folders_file_counts_for_more_than_the_folders(cache, tmp_path):
    mine = make_folder(tmp_path / "영화")
    spec = KMRD_SPEC.read_text(encoding="utf-8")
    (mine / "dataset.toml").write_text('name = "My films"\n' + spec, encoding="utf-8")
    source = find(str(mine), cache)
    assert (source.name, source.spec.name) == ("my-films", "My films")
    assert source.origin.endswith("named by --data, as its dataset.toml says")


def test_a_folder_without_data_is_refused(cache, tmp_path):
    with pytest.raises(InputError, match=r"has no file of data; expected one of \.csv"):
        find(str(tmp_path), cache)


def test_the_root_has_no_data(cache):
    with pytest.raises(InputError, match="no file of data"):
        find("/", cache)


@pytest.mark.parametrize(
    ("folder", "simulated", "name"),
    [
        ("kmrd-small", True, "sim-kmrd-small"),
        ("sim", True, "sim"),
        ("sim-2", True, "sim-2"),
        ("simulated", True, "sim-simulated"),
        ("kmrd-small", False, "kmrd-small"),
        ("sim", False, "data-sim"),
        ("SIM 2", False, "data-sim-2"),
        ("simulated", False, "simulated"),
    ],
)
def test_a_marked_folder_is_simulated_and_named_so(cache, tmp_path, folder, simulated, name):
    path = make_folder(tmp_path / folder, simulated=simulated)
    source = find(str(path), cache)
    assert (source.name, source.simulated) == (name, simulated)
    assert source.origin.startswith("simulated" if simulated else "interactions")


def test_a_folder_written_by_the_simulator_is_known_as_simulated(cache, tmp_path):
    simulate_tiny(tmp_path / "kmrd-small")
    assert find(str(tmp_path / "kmrd-small"), cache).name == "sim-kmrd-small"


@given(
    folder=st.from_regex(r"(sim|SIM|data|[a-z0-9]{1,3})?[-_ .a-zA-Z0-9é영]{0,6}", fullmatch=True),
    simulated=st.booleans(),
)
def test_the_name_alone_says_whether_data_are_simulated(tmp_path_factory, folder, simulated):
    path = tmp_path_factory.mktemp("any") / f"{folder}x"
    source = find(str(make_folder(path, simulated=simulated)), path)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", source.name)
    assert (source.name == "sim" or source.name.startswith("sim-")) == simulated


def test_the_words_are_those_of_the_contract():
    assert list(DataSetName) == ["auto", *KMRD, "sim"]
    assert list(RELEASES) == KMRD


def test_the_built_in_simulation_is_in_kmrds_form(tmp_path):
    simulate_defaults(tmp_path / "sim")
    text = (tmp_path / "sim" / "rates.csv").read_text(encoding="utf-8")
    assert text.startswith("user,movie,rate,time\n")
    assert text.count("\n") == 1 + 140_710
    assert (tmp_path / "sim" / MARKER).exists()


def test_everything_that_is_missing_is_named_at_once(tmp_path):
    folder = tmp_path / "my-kmrd"
    simulate_tiny(folder)
    (folder / "movies.txt").unlink()
    (folder / SPEC_FILE).write_text(KMRD_SPEC.read_text(encoding="utf-8"), encoding="utf-8")
    rates = (
        (folder / "rates.csv").read_text().replace("user,movie,rate,time", "user,film,stars,time")
    )
    (folder / "rates.csv").write_text(rates)
    source = find(str(folder), tmp_path)
    with pytest.raises(InputError) as raised:
        open_tables(source.spec, source.folder)
    for name in (
        "movies.txt",
        "column movie, rate missing",
        "found user, film, stars",
    ):
        assert name in str(raised.value)
