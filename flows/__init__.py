"""The Prefect flows and the command line.

Importing this package settles where Prefect and MLflow keep their state, see `flows.environment`.
"""

import atexit
import gc

from flows.environment import configure, default_workspace

_COLLECTION_THRESHOLD = 50_000
"""New objects after which Python looks for garbage.

With Python's own 700, a quarter of the start was spent on searching imported modules, which stay
anyway; the search at the end of a process took seconds.
"""

configure(default_workspace())
gc.set_threshold(_COLLECTION_THRESHOLD)
atexit.register(gc.freeze)
