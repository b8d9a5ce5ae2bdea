"""One process at a time works on a home."""

import signal
import subprocess
import sys

import pytest

from widedeep.workspace import BusyError, Workspace

HOLD = (
    "import sys, time, pathlib; from widedeep.home import Home\n"
    "with Home(pathlib.Path(sys.argv[1])).exclusive():\n"
    "    print('held', flush=True); time.sleep(60)"
)


def test_the_holder_may_take_the_lock_again(tmp_path):
    workspace = Workspace(tmp_path)
    with workspace.exclusive(), workspace.exclusive():
        pass


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path):
    workspace = Workspace(tmp_path)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match="another run is using"), workspace.exclusive():
            pass
        holder.send_signal(signal.SIGKILL)
    with workspace.exclusive():
        pass
