"""The first rating of a pair is the example; each later one says how it differs from the first."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from widedeep.data.repeats import first_ratings

TYPES = {
    "user": "int64",
    "movie": "int64",
    "rate": "int8",
    "time": "int64",
    "line": "int64",
    "part": "int16",
}


def ratings(*rows):
    columns = zip(*((*row, line, 0) for line, row in enumerate(rows, 2)), strict=True)
    return pa.table(
        {
            name: np.array(column, dtype)
            for (name, dtype), column in zip(TYPES.items(), columns, strict=True)
        }
    )


def reasons(*rows):
    superseded = first_ratings(ratings(*rows), ["rates.csv"]).superseded
    return list(zip(superseded["line"].to_pylist(), superseded["reason"].to_pylist(), strict=True))


def test_the_earliest_rating_is_the_example_wherever_it_stands():
    told_apart = first_ratings(
        ratings((1, 7, 9, 300), (1, 7, 5, 100), (1, 7, 8, 200)), ["rates.csv"]
    )
    assert told_apart.examples.to_pylist() == [{"user": 1, "movie": 7, "rate": 5, "time": 100}]
    assert told_apart.superseded["time"].to_pylist() == [200, 300]


def test_at_one_time_the_first_line_is_the_example():
    told_apart = first_ratings(ratings((1, 7, 9, 100), (1, 7, 5, 100)), ["rates.csv"])
    assert told_apart.examples["rate"].to_pylist() == [9]


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        ((1, 7, 10, 100), "exact duplicate of line 2"),
        ((1, 7, 10, 200), "repeats line 2"),
        ((1, 7, 7, 200), "conflicts with line 2: rate 10 then, 7 now"),
        ((1, 7, 7, 100), "conflicts with line 2: rate 10 then, 7 now"),
    ],
)
def test_a_later_rating_says_how_it_differs_from_the_first(later, reason):
    assert reasons((1, 7, 10, 100), (2, 7, 1, 50), later) == [(4, reason)]


def test_every_later_rating_is_compared_with_the_first():
    third = (6, "conflicts with line 4: rate 3 then, 9 now")
    second = (2, "conflicts with line 4: rate 3 then, 9 now")
    assert reasons((5, 1, 9, 20), (5, 2, 9, 1), (5, 1, 3, 10), (4, 1, 9, 2), (5, 1, 9, 30)) == [
        second,
        third,
    ]


def test_examples_are_sorted_by_time_user_and_movie():
    rows = [(9, 1, 1, 5), (2, 8, 1, 5), (2, 3, 1, 5), (-4, 1, 1, 5), (7, 7, 1, 4)]
    examples = first_ratings(ratings(*rows), ["rates.csv"]).examples
    found = zip(*(examples[name].to_pylist() for name in ("time", "user", "movie")), strict=True)
    assert list(found) == [(4, 7, 7), (5, -4, 1), (5, 2, 3), (5, 2, 8), (5, 9, 1)]


ROW = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 10), st.integers(0, 6))


@given(st.lists(ROW, min_size=1, max_size=40))
def test_it_agrees_with_a_walk_through_the_ratings(rows):
    first = {}
    for line, (user, movie, rate, time) in sorted(enumerate(rows, 2), key=lambda r: r[1][3]):
        first.setdefault((user, movie), (time, user, movie, rate, line))
    told_apart = first_ratings(ratings(*rows), ["rates.csv"])
    found = told_apart.examples.select(["time", "user", "movie", "rate"]).to_pylist()
    assert [tuple(row.values()) for row in found] == sorted(row[:4] for row in first.values())
    others = set(range(2, len(rows) + 2)) - {row[4] for row in first.values()}
    assert set(told_apart.superseded["line"].to_pylist()) == others
