"""Which of several registered models a command means."""

from collections.abc import Sequence

from widedeep.errors import InputError


def chosen_model(models: Sequence[str], wanted: str | None) -> str:
    """`wanted`, or the only one of `models` (at least one).

    Raises:
        InputError: There is none of that name, or there are several and none is named.
    """
    if wanted is None and len(models) > 1:
        raise InputError(f"there are several models; name one by --model: {', '.join(models)}")
    if wanted is not None and wanted not in models:
        raise InputError(f"no model {wanted!r}; there are: {', '.join(models)}")
    return wanted or models[0]
