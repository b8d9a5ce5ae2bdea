"""A shared file is there for another process while its own holds it, and then gone."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.shared_file import SharedFile
from widedeep.data.ratings import RatingLog
from widedeep.record_file import load_record, save_record

WRITE = """
import sys, pathlib
from tasks.shared_file import SharedFile
held = SharedFile()
held.path.write_bytes(b"said by another")
print(held.path, flush=True)
sys.stdin.read()
"""


def test_another_process_reads_what_this_one_holds():
    with subprocess.Popen(
        [sys.executable, "-c", WRITE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        path = Path(other.stdout.readline().strip())
        assert path.read_bytes() == b"said by another"
        other.kill()
        other.wait()
        assert not path.exists(), "nothing is left of it, however its process ended"


def test_who_has_mapped_it_keeps_it():
    held = SharedFile()
    column = np.arange(3)
    save_record(RatingLog(column, column, column.astype(np.int8), column), held.path)
    found = load_record(RatingLog, held.path)
    held.close()
    with pytest.raises(FileNotFoundError):
        load_record(RatingLog, held.path)
    assert found.movie.tolist() == [0, 1, 2]
