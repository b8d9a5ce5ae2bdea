"""Small files are read together, and nothing of what becomes of their rows depends on that."""

import pandas as pd
import pytest

from tests.data.conftest import NOW, quarantined, read
from widedeep.data import ingest as ingest_module
from widedeep.data.check import check
from widedeep.data.checks import rows as checks_module
from widedeep.data.dataset_file import load_spec
from widedeep.data.files import DelimitedFile, FileFormat, open_file
from widedeep.data.ingest import ingest
from widedeep.data.reading.small_files import JoinedFile, join_small_files
from widedeep.data.validation import InteractionRules
from widedeep.inputs import InputError
from widedeep.store import ArtifactStore

HEADER = "user,item,rate,time"
START = 1_500_000_000
SPEC = """
[interactions]
files = ["rates-*"]
user = "user"
item = "item"
time = "time"
label = { column = "rate", at_least = 4 }
value = { column = "rate" }
"""


def rows(part, count=20, time=str):
    """Return good rows of a part; every part repeats the pairs of an earlier one."""
    return [f"{i},{i + part % 3},{1 + i % 5},{time(START + 3600 * part + i)}" for i in range(count)]


def milliseconds(seconds):
    return f"{seconds}000"


def iso(seconds):
    return pd.Timestamp(seconds, unit="s").isoformat()


@pytest.fixture
def folder(tmp_path):
    """Return a folder with `SPEC` alone."""
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "dataset.toml").write_text(SPEC)
    return folder


def write(folder, name, lines, end="\n", header=HEADER):
    (folder / name).write_bytes(end.join([header, *lines]).encode())


def write_parquet(folder, name, lines):
    frame = pd.DataFrame([line.split(",") for line in lines], columns=HEADER.split(","))
    frame.astype("int64").to_parquet(folder / name)


def run(folder, store):
    return ingest(folder, load_spec(folder), store, NOW)


def mixed_parts(folder):
    """Write parts that differ in all ways in which parts may differ."""
    for part in range(12):
        write(folder, f"rates-{part:02}.csv", rows(part), end="\r\n" if part % 4 == 1 else "\n")
    write(folder, "rates-05.csv", [*rows(5), "7,8,many,1500000000"])
    write(folder, "rates-06.csv", [*rows(6), "7,8,5", *rows(60), ""])
    write(folder, "rates-08.csv", [*rows(8, 10), HEADER, *rows(80)])
    write(folder, "rates-09.csv", rows(9, time=milliseconds))
    write(
        folder,
        "rates-10.csv",
        [line.replace(",", ";") for line in rows(10)],
        header="user;item;rate;time",
    )
    for part in (12, 13):
        write_parquet(folder, f"rates-{part}.parquet", rows(part))


def test_parts_read_together_give_what_parts_read_alone_give(folder, tmp_path, monkeypatch):
    mixed_parts(folder)
    together = run(folder, ArtifactStore(tmp_path / "together"))
    checked = check(folder, load_spec(folder), NOW)
    monkeypatch.setattr(ingest_module, "join_small_files", list)
    monkeypatch.setattr(checks_module, "join_small_files", list)
    alone = run(folder, ArtifactStore(tmp_path / "alone"))
    assert together.summary == alone.summary
    for name in ("ratings", "superseded", "quarantine", "items"):
        assert read(together, name).equals(read(alone, name)), name
    assert check(folder, load_spec(folder), NOW) == checked
    assert {(row["file"], row["line"], row["reason"]) for row in quarantined(together)} == {
        ("rates-05.csv", 22, 'rate is not a number: "many"'),
        ("rates-06.csv", 22, "wrong number of columns: found 3, expected 4"),
        ("rates-08.csv", 12, "repeated header"),
    }


@pytest.mark.parametrize("units", [(str, milliseconds), (milliseconds, str), (str, iso, str)])
def test_the_unit_of_times_is_that_of_each_file(folder, store, units):
    for part, time in enumerate(units):
        write(folder, f"rates-{part}.csv", rows(part, 40, time))
    artifact = run(folder, store)
    assert artifact.summary["counts"]["quarantined"] == 0
    assert artifact.summary["first_time"] == START
    assert artifact.summary["last_time"] == START + 3600 * (len(units) - 1) + 39


def test_small_parquet_files_are_read_together_unless_their_types_differ(folder, store):
    for part in range(4):
        write_parquet(folder, f"rates-{part}.parquet", rows(part))
    frame = pd.read_parquet(folder / "rates-3.parquet")
    frame.astype({"user": str}).to_parquet(folder / "rates-3.parquet")
    form = FileFormat(tuple(HEADER.split(",")))
    files = [open_file(folder / f"rates-{part}.parquet", form) for part in range(4)]
    assert [len(getattr(file, "files", "1")) for file in join_small_files(files)] == [3, 1]
    assert run(folder, store).summary["counts"]["read"] == 80


def test_the_rows_of_many_parts_are_checked_in_one_go(folder, store, monkeypatch):
    for part in range(300):
        write(folder, f"rates-{part:03}.csv", rows(part, 5))
    calls = []
    own = InteractionRules.check
    monkeypatch.setattr(
        InteractionRules, "check", lambda *given: calls.append(given) or own(*given)
    )
    assert run(folder, store).summary["counts"]["read"] == 1500
    assert len(calls) == 1


def test_a_folder_may_have_more_parts_than_16_bits_count(folder, store):
    last = 2**15 + 1
    for part in range(last):
        (folder / f"rates-{part:06}.csv").write_text(f"{HEADER}\n{part},1,5,{START + part}\n")
    write(folder, f"rates-{last:06}.csv", ["0,1,4,1600000000", "0,1,x,1600000000", *rows(1)])
    artifact = run(folder, store)
    assert artifact.summary["counts"]["read"] == last + 22
    first = read(artifact, "superseded").to_pylist()[-1]
    assert first["file"] == f"rates-{last:06}.csv"
    assert first["reason"] == "conflicts with line 2 of rates-000000.csv: value 5 then, 4 now"
    assert [(row["file"], row["line"]) for row in quarantined(artifact)] == [(first["file"], 3)]


def test_the_file_with_another_encoding_is_named(folder, store):
    for part in range(3):
        write(folder, f"rates-{part}.csv", rows(part))
    (folder / "rates-1.csv").write_bytes(f"{HEADER}\n1,2,3,4\n1,\xff,3,4\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"rates-1.csv is not UTF-8: byte 0xff found in line 3"):
        run(folder, store)


def test_the_part_with_too_many_bad_rows_is_named_with_its_own_rows(folder, store):
    for part in range(3):
        write(folder, f"rates-{part}.csv", rows(part))
    write(folder, "rates-0.csv", [*rows(0), "1,2,x,1500000000"])
    write(folder, "rates-2.csv", ["1,2,y,1500000000", *rows(2, 5)])
    with pytest.raises(InputError) as caught:
        run(folder, store)
    message = str(caught.value)
    assert "rates-2.csv" in message
    assert "of its 6 rows" in message
    assert 'line 2 (rate is not a number: "y")' in message
    assert '"x"' not in message


def test_a_large_file_is_read_alone_between_small_ones(folder):
    for part in range(5):
        write(folder, f"rates-{part}.csv", rows(part, 200_000 if part == 2 else 3))
    form = FileFormat(tuple(HEADER.split(",")))
    files = [open_file(folder / f"rates-{part}.csv", form) for part in range(5)]
    assert [type(file) for file in join_small_files(files)] == [
        JoinedFile,
        DelimitedFile,
        JoinedFile,
    ]
