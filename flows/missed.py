"""The moments at which a schedule should have retrained since the last decision."""

import os
from datetime import UTC, datetime

from flows.run_form import seconds
from tasks.ingest import checked
from widedeep import decision_log
from widedeep.data.ratings import Ratings
from widedeep.data.source import resolve
from widedeep.errors import InputError
from widedeep.features.sampling import DAY
from widedeep.home import Home


def missed(home: Home, data: str, as_of: datetime | None, every: int) -> list[datetime]:
    """Each `every` days since the last decision's as-of, and at the end `as_of`, in order.

    Without `as_of` it is the moment after the last rating; with no decision yet nothing was missed.

    Raises:
        InputError: `every` is not at least 1.
    """
    if every < 1:
        raise InputError(f"every is {every} days; a whole number from 1 is wanted")
    source = resolve(data, home.data, os.environ)
    end = seconds(as_of)
    if end is None:
        end = Ratings(checked(home, source)).last_time + 1
    decisions = decision_log.history(home.decisions / source.model)
    decided = [decision["as_of"] for decision in decisions if "as_of" in decision]
    begin = max(decided) + every * DAY if decided else end
    moments = [*range(begin, end, every * DAY), end]
    return [datetime.fromtimestamp(moment, UTC) for moment in moments]
