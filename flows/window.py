"""The moments a run was asked for, as Prefect's run form and the command line give them."""

from datetime import UTC, datetime

from tasks.ingest import Window


def window(
    as_of: datetime | None, validation_from: datetime | None, holdout_from: datetime | None
) -> Window:
    """In UNIX seconds; a moment without a time zone is in UTC."""
    return Window(*(_seconds(moment) for moment in (as_of, validation_from, holdout_from)))


def _seconds(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
