"""What is known when a model begins to serve: the ratings it came with, and those taken since."""

import numpy as np
import pyarrow as pa

from widedeep.data.ratings import RatingLog
from widedeep.data.repeats import example_rows
from widedeep.features.companion import Companion

_RATES = (1, 10)


def with_events(companion: Companion, events: pa.Table) -> RatingLog:
    """The ratings of a companion with those of an event log, as ingest would have them.

    Of several ratings of a pair the first in time is the example; of several at one time, the one
    that stands first. Events of movies that are not in the catalogue are left out.

    Args:
        companion: What the model came with.
        events: user, movie, rate, time int64 (n,), in the order in which they came.
    """
    log = companion.log
    columns = [events[name].to_numpy() for name in ("user", "movie", "rate", "time")]
    good = np.isin(columns[1], companion.catalogue.movies)
    good &= (columns[2] >= _RATES[0]) & (columns[2] <= _RATES[1])
    if not good.any():
        return log
    ours = (log.user, log.movie, log.rate, log.time)
    user, movie, rate, time = (
        np.concatenate([before, since[good]]) for before, since in zip(ours, columns, strict=True)
    )
    rows = example_rows(user, movie, time)
    return RatingLog(user[rows], movie[rows], rate[rows].astype(np.int8), time[rows])
