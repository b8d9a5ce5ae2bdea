"""The errors a user can mend.

Moments as users write them: ISO-8601 or UNIX seconds, in UTC.
"""

from datetime import UTC, datetime


class InputError(ValueError):
    """Something given to the pipeline is wrong; the message names it, what was found and wanted.

    The command line ends with exit status 2 on it, and nothing has been changed by then.
    """


def parse_time(text: str, name: str) -> int:
    """UNIX seconds of `text`; `name` says in an error what it was given for.

    Digits alone are always UNIX seconds, so a date wants its dashes.
    """
    try:
        seconds = _seconds(text.strip())
        to_iso(seconds)
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(
            f"{name} is {text!r}; ISO-8601 (2018-07-01 or 2018-07-01T12:00:00Z) or UNIX seconds "
            "are wanted"
        ) from error
    return seconds


def to_iso(seconds: int) -> str:
    """UNIX seconds as ISO-8601."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(text: str) -> int:
    if text.isdecimal():
        return int(text)
    moment = datetime.fromisoformat(text)
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
