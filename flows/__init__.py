"""The Prefect flows. Importing this package settles where Prefect and MLflow keep their state."""

import atexit
import gc

from flows.environment import configure, default_workspace

_RARELY = 50_000
"""New objects after which garbage is looked for.

What is imported stays, and by Python's own setting (700) a quarter of a start was spent on looking
through it; the look at the end of a process took seconds.
"""

configure(default_workspace())
gc.set_threshold(_RARELY)
atexit.register(gc.freeze)
