"""A timed epoch, beside the scripts of the peers, in whose interpreters it runs.

    python SCRIPT.py ROWS.npz THREADS

prints rows a second of an epoch after a first, shorter one. The file is that of `save_rows`.
"""

import sys
import time

import numpy as np

WARM_UP = 20
"""Batches of the first one."""


def show_rate(begin):
    """`begin` takes the file's columns and threads; its function learns a slice of the rows."""
    with np.load(sys.argv[1]) as held:
        rows = dict(held)
    fit = begin(rows, int(sys.argv[2]))
    fit(slice(WARM_UP * int(rows["batch"])))
    started = time.perf_counter()
    fit(slice(None))
    rate = len(rows["label"]) / (time.perf_counter() - started)
    print(rate)
