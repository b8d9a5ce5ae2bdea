"""The table of items holds what the files say; interactions are read as of a moment.

Nothing is read that was not known at that moment.
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.conftest import ingest
from tests.worlds import ITEM_COLUMNS
from widedeep.data.tables import IngestedData, Interactions, RowCounts
from widedeep.inputs import InputError
from widedeep.store import Artifact, ArtifactStore


@pytest.fixture
def items(kmrd, store, now):
    """Return a function that appends rows to files, by stem, and returns the table of items."""

    def ingested(**lines):
        for name, row in lines.items():
            suffix = "txt" if name in {"movies", "peoples"} else "csv"
            with (kmrd / f"{name}.{suffix}").open("a", encoding="utf-8") as file:
                file.write(f"{row}\n")
        return pq.read_table(ingest(kmrd, store, now).path / "items.parquet")

    return ingested


def test_an_item_has_everything_that_the_files_say_about_it(items):
    assert items().to_pylist()[0] == {
        "item": 10001,
        "id": None,
        "title_ko": '시네마 "천국"',
        "title_en": 'Cinema "Paradiso,',
        "also_en": "",
        "item_age": 1988.0,
        "grade": "전체 관람가",
        "genres": ["드라마", "멜로/로맨스"],
        "countries": ["이탈리아", "프랑스"],
        "people": [4374, 178, 5],
        "leading": [4374, 178],
    }


def test_what_is_absent_is_null_or_an_empty_list(items):
    assert items().to_pylist()[3] == {
        "item": 10004,
        "id": None,
        "title_ko": "",
        "title_en": "",
        "also_en": "",
        "item_age": None,
        "grade": "PG",
        "genres": [],
        "countries": [],
        "people": [],
        "leading": [],
    }
    assert items()["grade"].to_pylist() == ["전체 관람가", None, "12세 관람가", "PG"]


def test_items_are_sorted_and_typed(items):
    table = items()
    assert table["item"].to_pylist() == [10001, 10002, 10003, 10004]
    assert {f.name: f.type for f in table.schema} == {f.name: f.type for f in ITEM_COLUMNS}


@pytest.mark.parametrize(
    ("title", "year"),
    [
        ("Cinema Paradiso , 1988", 1988),
        ("1961", 1961),
        ("2001: A Space Odyssey , 1968", 1968),
        ("1984 ,1956 ", 1956),
        ("A Trip , 1899", 1899),
        ("Blade Runner 2049", None),
        ("Up , 12009", None),
        ("Up , 2009 (3D)", None),
        ("Ages , 1492", None),
        ("", None),
    ],
)
def test_the_original_year_stands_at_the_end_of_the_english_title(items, title, year):
    table = items(movies=f"10009\t제목\t{title}\t\t")
    assert table["item_age"].to_pylist()[-1] == year


@pytest.mark.parametrize(
    ("titles", "title", "also"),
    [
        ("Das Boot , The Boat , 1981", "The Boat", "Das Boot"),
        ("Up , 2009", "Up", ""),
        ("1961", "", ""),
    ],
)
def test_of_several_titles_the_last_one_is_shown_and_the_others_are_kept(
    items, titles, title, also
):
    (row,) = items(movies=f"10009\t제목\t{titles}\t\t").to_pylist()[-1:]
    assert (row["title_en"], row["also_en"]) == (title, also)


def test_a_repeated_value_of_an_item_counts_once(items):
    table = items(castings="10001,178,4,0", genres="10001,드라마")
    assert table["people"].to_pylist()[0] == [4374, 178, 5]
    assert table["genres"].to_pylist()[0] == ["드라마", "멜로/로맨스"]


def test_people_are_sorted_with_their_names(kmrd, store, now):
    people = pq.read_table(ingest(kmrd, store, now).path / "names.parquet")
    rows = [{"table": "people", "key": 5, "id": None, "title_ko": "아담", "title_en": ""}]
    rows += [{**rows[0], "key": 8, "title_ko": "에이드", "title_en": "Adrian Lyne"}]
    assert people.to_pylist() == rows


ITEMS = "movie\ttitle\ttitle_eng\tyear\tgrade\n1\t\t\t\t\n2\t\t\t\t\n3\t\t\t\t\n"
NOW = 10_000


def handle(folder, rows):
    folder.mkdir()
    (folder / "movies.txt").write_text(ITEMS)
    (folder / "rates.csv").write_text("\n".join(["user,movie,rate,time", *rows]))
    return IngestedData(ingest(folder, ArtifactStore(folder / "store"), NOW))


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    """Times 100 … 3000, a repeat at 500, and bad rows: at 700, without time and in the future."""
    good = [f"{user},{1 + user % 3},{1 + user % 10},{100 * user}" for user in range(1, 31)]
    bad = ["1,2,ten,700", "1,2,10", "1,2,10,20000"]
    return handle(tmp_path_factory.mktemp("handle") / "kmrd", [*good, "1,2,9,500", *bad])


def test_all_examples_are_loaded_as_arrays_in_order_of_time(ratings):
    interactions = ratings.interactions()
    assert len(interactions) == 30
    assert interactions.time.tolist() == [100 * n for n in range(1, 31)]
    assert interactions.user.tolist() == list(range(1, 31))
    assert interactions.item.tolist() == [1 + n % 3 for n in range(1, 31)]
    assert interactions.value.tolist() == [1 + n % 10 for n in range(1, 31)]
    assert interactions.label.tolist() == [n % 10 == 9 for n in range(1, 31)]
    dtypes = [column.dtype for column in arrays_of(interactions)]
    assert dtypes == [np.int64, np.int64, np.float32, np.int64, np.bool_]


@pytest.mark.parametrize(("until", "rows"), [(100, 0), (101, 1), (1000, 9), (10**6, 30)])
def test_only_examples_strictly_before_a_moment_are_loaded(ratings, until, rows):
    assert len(ratings.interactions(until)) == rows


def test_counts_are_what_was_known_strictly_before_the_moment(ratings):
    assert ratings.counts(50) == RowCounts(read=2, examples=0, superseded=0, quarantined=2)
    assert ratings.counts(500) == RowCounts(read=6, examples=4, superseded=0, quarantined=2)
    assert ratings.counts(501) == RowCounts(read=8, examples=5, superseded=1, quarantined=2)
    assert ratings.counts(701) == RowCounts(read=11, examples=7, superseded=1, quarantined=3)
    assert ratings.counts(20_001) == RowCounts(read=34, examples=30, superseded=1, quarantined=3)


def test_only_rows_of_rates_are_counted(kmrd, store, now):
    with (kmrd / "genres.csv").open("a", encoding="utf-8") as genres:
        genres.write("unknown,SF\n")
    counts = IngestedData(ingest(kmrd, store, now)).counts(now)
    assert counts == RowCounts(read=40, examples=40, superseded=0, quarantined=0)


def test_the_last_time_is_that_of_the_last_good_rating(ratings, tmp_path):
    assert ratings.last_time == 3000
    repeated = handle(tmp_path / "kmrd", ["1,1,10,100", "2,1,10,200", "1,1,10,900"])
    assert repeated.last_time == 900


def test_items_are_those_of_the_file_rated_or_not(ratings):
    assert ratings.side_tables().items["item"].to_pylist() == [1, 2, 3]


def test_a_handle_on_a_reloaded_artefact_reads_the_same(ratings):
    reloaded = IngestedData(Artifact.load(ratings.artifact.path))
    assert reloaded.last_time == ratings.last_time
    columns = arrays_of(reloaded.interactions()), arrays_of(ratings.interactions())
    for column, original in zip(*columns, strict=True):
        np.testing.assert_array_equal(column, original)


def test_interactions_are_equal_after_a_round_trip_through_the_disk(ratings, tmp_path):
    interactions = ratings.interactions(until=1500)
    interactions.save(tmp_path / "interactions.parquet")
    loaded = Interactions.load(tmp_path / "interactions.parquet")
    for column, original in zip(arrays_of(loaded), arrays_of(interactions), strict=True):
        assert column.dtype == original.dtype
        np.testing.assert_array_equal(column, original)


@settings(max_examples=25)
@given(as_of=st.integers(-10, 25_000))
def test_counts_add_up_and_agree_with_the_interactions_at_any_moment(ratings, as_of):
    counts = ratings.counts(as_of)
    assert counts.read == counts.examples + counts.superseded + counts.quarantined
    assert counts.examples == len(ratings.interactions(as_of))


def arrays_of(interactions):
    return [getattr(interactions, name) for name in ("user", "item", "value", "time", "label")]


def test_interactions_of_an_earlier_version_are_refused(tmp_path):
    path = tmp_path / "ratings.parquet"
    columns = {name: [1] for name in ("user", "movie", "rate", "time")}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(InputError, match=r"earlier version.*--home"):
        Interactions.load(path)
