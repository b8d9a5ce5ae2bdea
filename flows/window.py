"""The moments a run was asked for (by Prefect's run form or the command line) and those it has."""

from datetime import UTC, datetime

from tasks.ingest import Ingested, Window
from widedeep.when import iso


def window(
    as_of: datetime | None, validation_from: datetime | None, holdout_from: datetime | None
) -> Window:
    """In UNIX seconds; a moment without a time zone is in UTC."""
    return Window(*(seconds(moment) for moment in (as_of, validation_from, holdout_from)))


def split_line(ingested: Ingested) -> str:
    """The parts of the split and the moments between them, for people."""
    train, validation, holdout = ingested.examples
    split = ingested.split
    return (
        f"split     {train:,} training | {iso(split.validation_from)} | {validation:,} validation "
        f"| {iso(split.holdout_from)} | {holdout:,} holdout | {iso(split.as_of)}"
    )


def seconds(moment: datetime | None) -> int | None:
    """UNIX seconds; a moment without a time zone is in UTC."""
    if moment is None:
        return None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
