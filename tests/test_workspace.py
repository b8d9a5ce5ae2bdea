"""One process at a time works on a workspace."""

import signal
import subprocess
import sys

import pytest

from widedeep.workspace import BusyError, Workspace

HOLD = (
    "import sys, time, pathlib; from widedeep.workspace import Workspace\n"
    "with Workspace(pathlib.Path(sys.argv[1])).exclusive():\n"
    "    print('locked', flush=True); time.sleep(60)"
)


def test_the_process_that_holds_the_lock_may_take_it_again(tmp_path):
    workspace = Workspace(tmp_path)
    with workspace.exclusive(), workspace.exclusive():
        pass


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path):
    workspace = Workspace(tmp_path)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(BusyError, match="another run is using"), workspace.exclusive():
            pass
        holder.send_signal(signal.SIGKILL)
    with workspace.exclusive():
        pass
