"""Ratings by user: those of a log, and every one since."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from widedeep.data.ratings import RatingLog
from widedeep.serving.event_log import Event
from widedeep.serving.rating_book import RatingBook
from widedeep.serving.ratings_by_user import RatingsByUser

USERS, MOVIES = (-1, 3, 2**40), (1, 2, 3, 4)
pairs = st.tuples(st.sampled_from(USERS), st.sampled_from(MOVIES), st.integers(1, 10))


def log_of(rows):
    """Rows of (user, movie, rate), a second each."""
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    user, movie, rate = (np.array(column, np.int64) for column in columns)
    return RatingLog(user, movie, rate.astype(np.int8), np.arange(len(rows)))


@given(
    st.lists(pairs, unique_by=lambda row: row[:2], max_size=12),
    st.lists(pairs, max_size=12),
)
def test_of_each_pair_the_first_rating_stands_in_the_order_of_time(rows, since):
    book, wanted = RatingBook(RatingsByUser.of(log_of(rows))), {}
    for time, (user, movie, rate) in enumerate([*rows, *since]):
        news = (user, movie) not in wanted
        if time >= len(rows):
            assert book.add(Event(user, movie, rate, time)) == news
        if news:
            wanted[user, movie] = Event(user, movie, rate, time)
    for user in (*USERS, 0):
        events = [event for event in wanted.values() if event.user == user]
        assert list(book.of_user(user)) == events
        movies, rates = book.rates(user)
        assert (movies.dtype, rates.dtype) == (np.int64, np.int8)
        assert movies.tolist() == book.seen(user).tolist() == [event.movie for event in events]
        assert rates.tolist() == [event.rate for event in events]
