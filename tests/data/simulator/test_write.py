"""Simulated data have KMRD's form, exact sizes, a known truth, and the same bytes for a seed."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from widedeep.data.simulator.config import SimulationConfig
from widedeep.data.simulator.items import draw_items
from widedeep.data.simulator.truth import draw_truth
from widedeep.data.simulator.write import simulate
from widedeep.inputs import InputError

HEADERS = {
    "rates.csv": "user,movie,rate,time",
    "movies.txt": "movie\ttitle\ttitle_eng\tyear\tgrade",
    "genres.csv": "movie,genre",
    "countries.csv": "movie,country",
    "castings.csv": "movie,people,order,leading",
    "peoples.txt": "people\tkorean\toriginal",
}
USUAL = SimulationConfig(users=3_000, items=200, ratings=10_000, seed=1, exceptions=4)
PAIR = ["user", "movie"]


def read(folder, name):
    return pd.read_csv(folder / name, sep="\t" if name.endswith(".txt") else ",")


def read_truth(folder):
    return pd.read_parquet(folder / "truth.parquet")


def read_marker(folder):
    return json.loads((folder / "simulation.json").read_text(encoding="utf-8"))


def examples(folder):
    """Return the first rating of each pair with its true probability and its label."""
    rows = read(folder, "rates.csv").assign(probability=read_truth(folder).probability)
    rows = rows.sort_values("time", kind="stable").drop_duplicates(PAIR)
    return rows.assign(label=rows.rate == 10)


def after_liking(rows, pair):
    """Return the candidate's rows, and which of them come after a 10 for the liked item."""
    liked = rows[(rows.movie == pair["liked"]) & rows.label].set_index("user").time
    rated = rows[rows.movie == pair["candidate"]]
    return rated, (rated.user.map(liked) < rated.time).to_numpy()


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "usual"
    simulate(USUAL, folder)
    return folder


@settings(max_examples=25)
@given(st.data())
def test_rows_users_and_items_are_exactly_as_many_as_asked(tmp_path_factory, data):
    users = data.draw(st.integers(1, 60), "users")
    items = data.draw(st.integers(1, 40), "items")
    single_share = data.draw(st.sampled_from([0.0, 0.5, 0.68, 1.0]), "single_share")
    shape = {"exceptions": min(2, items // 4), "single_share": single_share}
    most = SimulationConfig(users, items, users, 0, **shape).most_ratings
    ratings = data.draw(st.integers(users, most), "ratings")
    folder = tmp_path_factory.mktemp("sizes") / "simulated"
    simulate(SimulationConfig(users, items, ratings, seed=3, **shape), folder)
    rates = read(folder, "rates.csv")
    assert len(rates) == len(read_truth(folder)) == ratings
    assert rates.user.nunique() == users
    assert read(folder, "movies.txt").movie.tolist() == list(range(10_001, 10_001 + items))


def test_same_settings_give_the_same_bytes_and_another_seed_gives_others(tmp_path, usual):
    simulate(USUAL, tmp_path / "again")
    simulate(SimulationConfig(3_000, 200, 10_000, seed=2, exceptions=4), tmp_path / "other")
    names = sorted(path.name for path in usual.iterdir())
    assert names == sorted([*HEADERS, "simulation.json", "truth.parquet"])
    for name in names:
        content = (usual / name).read_bytes()
        assert content == (tmp_path / "again" / name).read_bytes(), name
        assert content != (tmp_path / "other" / name).read_bytes(), name


@pytest.mark.parametrize("name", HEADERS)
def test_files_have_kmrds_headers_separators_and_plain_utf8_lines(usual, name):
    text = (usual / name).read_bytes().decode("utf-8")
    header, *lines = text.removesuffix("\n").split("\n")
    assert header == HEADERS[name]
    assert text.endswith("\n")
    assert '"' not in text
    assert "\r" not in text
    separator = "\t" if name.endswith(".txt") else ","
    assert {line.count(separator) for line in lines} == {header.count(separator)}


@pytest.mark.parametrize("name", HEADERS)
def test_pandas_sees_the_same_columns_and_types_as_in_kmrd_itself(usual, kmrd_small, name):
    pd.testing.assert_series_equal(read(usual, name).dtypes, read(kmrd_small, name).dtypes)


def test_rates_are_1_to_10_in_whole_minutes_of_the_span_by_user_and_item(usual):
    rates = read(usual, "rates.csv")
    assert set(rates.rate) == set(range(1, 11))
    assert (rates.time % 60 == 0).all()
    assert rates.time.between(USUAL.since, USUAL.until).all()
    assert rates[PAIR].equals(rates[PAIR].sort_values(PAIR, kind="stable"))
    assert rates.movie.between(10_001, 10_200).all()
    per_user = rates.user.value_counts().sort_index()
    assert per_user.index.tolist() == list(range(3_000))
    assert per_user.is_monotonic_decreasing


def test_every_link_leads_to_an_existing_item_or_person(usual):
    items, people = read(usual, "movies.txt").movie, read(usual, "peoples.txt").people
    assert people.is_unique
    for name in ("genres.csv", "countries.csv", "castings.csv"):
        links = read(usual, name)
        assert links.movie.isin(items).all()
        assert not links.duplicated(list(links)[:2]).any()
    castings = read(usual, "castings.csv")
    assert castings.people.isin(people).all()
    assert (castings.groupby("movie").order.max() == castings.groupby("movie").size()).all()
    assert set(castings.leading) == {0, 1}


def test_traffic_has_kmrds_shape(usual):
    rates = read(usual, "rates.csv")
    per_user = rates.user.value_counts()
    assert (per_user == 1).mean() == pytest.approx(0.68, abs=0.001)
    assert per_user.median() == 1
    assert per_user.max() > 20 * per_user.mean()
    assert 0.63 < (rates.rate == 10).mean() < 0.71
    per_item = rates.movie.value_counts()
    assert per_item.iloc[:20].sum() > 0.4 * len(rates)
    half = (USUAL.since + USUAL.until) // 2
    assert (rates.time > half).mean() > 0.6


@pytest.mark.parametrize("cold_share", [0.3, 0.56, 0.8])
def test_the_cold_share_of_later_traffic_comes_from_users_new_in_that_month(tmp_path, cold_share):
    busy = SimulationConfig(600, 300, 12_000, seed=1, cold_share=cold_share)
    simulate(busy, tmp_path / "busy")
    rates = read(tmp_path / "busy", "rates.csv")
    month = pd.to_datetime(rates.time, unit="s").dt.strftime("%Y-%m")
    is_cold = month == month.groupby(rates.user).transform("min")
    later = rates.time > (USUAL.since + USUAL.until) // 2
    assert is_cold[later].mean() == pytest.approx(cold_share, abs=0.1)
    stated = read_marker(tmp_path / "busy")["shape"]["cold_share"]
    assert stated == pytest.approx(is_cold[later].mean(), abs=1e-12)


def test_repeats_include_duplicates_conflicts_and_rows_out_of_time_order(usual):
    rates = read(usual, "rates.csv")
    repeated = rates[rates.duplicated(PAIR, keep=False)]
    repeats = repeated.groupby(PAIR)
    assert 0.035 < rates.duplicated(PAIR).mean() < 0.055
    assert read_marker(usual)["shape"]["repeats"] == rates.duplicated(PAIR).sum()
    assert rates.duplicated().any()
    assert 0.1 < (repeats.rate.max() > repeats.rate.min()).mean() < 0.5
    conflicts = repeated[repeats.rate.transform("max") > repeats.rate.transform("min")]
    in_order = conflicts.groupby(PAIR).time.apply(lambda time: time.is_monotonic_increasing)
    assert 0.3 < in_order.mean() < 0.7


def test_ratings_of_a_pair_in_its_first_minute_are_exact_duplicates(tmp_path):
    day = {"until": USUAL.since + 86_400, "repeat_share": 0.3}
    simulate(SimulationConfig(300, 200, 6_000, seed=1, exceptions=0, **day), tmp_path / "day")
    rates = read(tmp_path / "day", "rates.csv")
    first = rates[rates.time == rates.groupby(PAIR).time.transform("min")]
    assert first.duplicated(PAIR).sum() > 30
    assert first.duplicated(PAIR).equals(first.duplicated([*PAIR, "rate"]))


def test_items_lack_year_grade_genre_and_cast_in_part(tmp_path):
    simulate(SimulationConfig(users=2_000, items=2_000, ratings=4_000, seed=1), tmp_path / "wide")
    items = read(tmp_path / "wide", "movies.txt")
    assert 0.34 < items.year.isna().mean() < 0.46
    assert 0.02 < items.grade.isna().mean() < 0.07
    assert 0.002 < items.title.isna().mean() < 0.02
    for name, low, high in (("genres.csv", 0.02, 0.06), ("castings.csv", 0.003, 0.025)):
        without = ~items.movie.isin(read(tmp_path / "wide", name).movie)
        assert low < without.mean() < high, name
    rates = read(tmp_path / "wide", "rates.csv")
    assert items.set_index("movie").year.loc[rates.movie].isna().mean() < 0.15


def test_title_ends_in_the_original_year_and_year_is_a_later_one_in_part(usual):
    items = read(usual, "movies.txt")
    original = items.title_eng.str.extract(r"^.+ , (\d{4})$")[0].astype(float)
    assert original.notna().mean() > 0.95
    assert not (items.year < original).any()
    assert 0.5 < (items.year > original)[items.year.notna()].mean() < 0.9
    rates = read(usual, "rates.csv").merge(items, on="movie")
    assert 0.08 < (original > 2003).mean() < 0.2
    rated_in = pd.to_datetime(rates.time, unit="s").dt.year
    assert 0.08 < (rated_in < rates.year).mean() < 0.5
    assert not (rated_in < rates.movie.map(dict(zip(items.movie, original, strict=True)))).any()


def test_truth_states_each_row_of_rates_and_is_calibrated(usual):
    rates, truth = read(usual, "rates.csv"), read_truth(usual)
    assert truth[["user", "movie", "time"]].equals(rates[["user", "movie", "time"]])
    label = (rates.rate == 10).to_numpy()
    assert truth.probability.between(0, 1).all()
    assert abs(truth.probability.mean() - label.mean()) < 0.015
    for _, tenth in truth.groupby(pd.qcut(truth.probability, 10)):
        error = 3.5 * np.sqrt((tenth.probability * (1 - tenth.probability)).mean() / len(tenth))
        assert abs(tenth.probability.mean() - label[tenth.index].mean()) < error + 0.005


def test_known_optimum_is_what_sklearn_measures_in_the_files(usual):
    known = read_marker(usual)["known_optimum"]
    every = read(usual, "rates.csv").assign(probability=read_truth(usual).probability)
    every["label"] = every.rate == 10
    for rows, stated in ((every, known["all_rows"]), (examples(usual), known["examples"])):
        assert stated["rows"] == len(rows)
        assert stated["auc"] == pytest.approx(
            roc_auc_score(rows.label, rows.probability), abs=1e-12
        )
        assert stated["log_loss"] == pytest.approx(log_loss(rows.label, rows.probability), abs=1e-9)
        assert stated["positive_share"] == pytest.approx(rows.label.mean(), abs=1e-12)
        assert stated["mean_probability"] == pytest.approx(rows.probability.mean(), abs=1e-12)
        assert 0.8 < stated["auc"] < 0.97


def test_planted_exceptions_show_in_the_data_with_the_stated_support(usual):
    rows, pairs = examples(usual), read_marker(usual)["exceptions"]
    assert [pair["effect"] for pair in pairs] == [2.5, -2.5, 2.5, -2.5]
    lift = []
    for pair in pairs:
        rated, after = after_liking(rows, pair)
        assert pair["support"] == after.sum() >= 10
        assert pair["positive_share"] == pytest.approx(rated.label[after].mean())
        assert pair["positive_share_otherwise"] == pytest.approx(rated.label[~after].mean())
        lift.append((rated.label[after].mean() - rated.label[~after].mean()) * pair["effect"])
    assert np.mean(lift) > 0.15 * 2.5
    assert min(lift) > 0


def test_an_exception_changes_exactly_the_rows_strictly_after_the_liked_item(tmp_path):
    still = dict.fromkeys(("user_spread", "item_spread", "taste_spread", "drift"), 0.0)
    simulate(SimulationConfig(3_000, 60, 12_000, seed=5, exceptions=6, **still), tmp_path / "still")
    rows = examples(tmp_path / "still")
    usual_odds = rows.probability.mode().item() / (1 - rows.probability.mode().item())
    expected = pd.Series(usual_odds, rows.index)
    for pair in read_marker(tmp_path / "still")["exceptions"]:
        rated, after = after_liking(rows, pair)
        expected[rated.index[after]] *= np.exp(pair["effect"])
    np.testing.assert_allclose(rows.probability / (1 - rows.probability), expected, rtol=1e-9)
    assert (expected != usual_odds).sum() > 100


def test_exceptions_contradict_latent_taste_and_share_no_item():
    rng = np.random.default_rng(0)
    truth = draw_truth(USUAL, draw_items(USUAL, rng), rng)
    for pair in truth.exceptions:
        liked, candidate = truth.item_taste[[pair.liked, pair.candidate]]
        assert np.sign(liked @ candidate) == -np.sign(pair.effect)
    items = [item for pair in truth.exceptions for item in (pair.liked, pair.candidate)]
    assert len(set(items)) == 2 * USUAL.exceptions


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("users", 0),
        ("items", 0),
        ("ratings", 2_999),
        ("ratings", 10**9),
        ("ratings", 1e4),
        ("seed", -1),
        ("latent_dimension", 0),
        ("exceptions", 51),
        ("exception_effect", -2.5),
        ("positive_share", 1.0),
        ("single_share", 1.1),
        ("cold_share", -0.1),
        ("repeat_share", 0.9),
        ("taste_spread", float("nan")),
        ("until", 1_069_340_400),
    ],
)
def test_a_setting_out_of_range_is_named_with_the_value_found(setting, value):
    sizes = {"users": 3_000, "items": 200, "ratings": 10_000, "seed": 1, setting: value}
    with pytest.raises(InputError, match=rf"{setting} is {value!r}; expected a .*number "):
        SimulationConfig(**sizes)


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path):
    folder = tmp_path / "used"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="used is not empty"):
        simulate(USUAL, folder)
    with pytest.raises(InputError, match=r"mine\.txt is a file"):
        simulate(USUAL, folder / "mine.txt")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine.txt", "used"]
    assert (folder / "mine.txt").read_text(encoding="utf-8") == "mine"


def test_an_empty_or_missing_folder_is_filled_and_nothing_stays_beside_it(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "new" / "deep"):
        simulate(SimulationConfig(20, 10, 40, seed=1, exceptions=0), folder)
        assert [path.name for path in folder.parent.iterdir() if path.name[0] == "."] == []
        assert (folder / "rates.csv").is_file()
