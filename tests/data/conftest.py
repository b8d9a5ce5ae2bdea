"""A small valid folder in KMRD's form, and a store for what is made from it."""

import pyarrow.parquet as pq
import pytest

from widedeep.data.dataset_file import kmrd_spec
from widedeep.data.ingest import check_locally
from widedeep.data.ingest import ingest as ingest_with
from widedeep.store import ArtifactStore

NOW = 1_600_000_000  # 2020-09-13 12:26:40 UTC
RATES = [
    f"{user},{10001 + item},{1 + (user + item) % 10},{1_500_000_000 + 60 * (7 * user + item)}"
    for user in range(10)
    for item in range(4)
]
FILES = {
    "rates.csv": ["user,movie,rate,time", *RATES],
    "movies.txt": [
        "movie\ttitle\ttitle_eng\tyear\tgrade",
        "10003\t빽 투 더 퓨쳐\tBack To The Future , 1985\t2015\t12세 관람가",
        '10001\t시네마 "천국"\tCinema "Paradiso, , 1988\t2013\t전체 관람가',
        "10002\t무제\t1961\t\t",
        "10004\t\t\t\tPG",
    ],
    "genres.csv": ["movie,genre", "10001,드라마", "10001,멜로/로맨스", "10003,SF"],
    "countries.csv": ["movie,country", "10001,이탈리아", "10001,프랑스", "10003,미국"],
    "castings.csv": [
        "movie,people,order,leading",
        "10001,178,2,1",
        "10001,4374,1,1",
        "10001,5,3,0",
        "10003,8,1,0",
    ],
    "peoples.txt": ["people\tkorean\toriginal", "8\t에이드\tAdrian Lyne", "5\t아담\t"],
}


@pytest.fixture
def now():
    return NOW


@pytest.fixture
def kmrd(tmp_path):
    """Return the folder: 40 good ratings of 10 users and 4 items, so 4 bad rows may be added."""
    folder = tmp_path / "kmrd"
    folder.mkdir()
    for name, lines in FILES.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    return folder


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "store")


def ingest(folder, store, now, events=None, check=check_locally):
    """Ingest a folder in KMRD's form."""
    return ingest_with(folder, kmrd_spec("kmrd"), store, now, events, check)


def append(path, *lines):
    """Append lines to a file."""
    with path.open("a", encoding="utf-8", newline="") as file:
        file.writelines(f"{line}\n" for line in lines)


def read(artifact, name):
    """Return one table of an artefact of ingest."""
    return pq.read_table(artifact.path / f"{name}.parquet")


def quarantined(artifact):
    """Return the rows that could not be used."""
    return read(artifact, "quarantine").to_pylist()
