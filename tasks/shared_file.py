"""A file that another process can open for as long as this one holds it."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast


class SharedFile:
    """Empty at first. In memory where the system has such files, else among temporary ones.

    Nothing is left of it when its process ends and nobody has it mapped. To let go of a large file
    on a disk kept a server from answering for .1 s; one in memory is let go in 1 ms.
    """

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self._file: BinaryIO = os.fdopen(os.memfd_create("widedeep"), "wb")
            self.path = Path(f"/proc/{os.getpid()}/fd/{self._file.fileno()}")
        else:
            self._file = cast("BinaryIO", NamedTemporaryFile(prefix="widedeep-"))  # noqa: SIM115
            self.path = Path(self._file.name)

    def close(self) -> None:
        """Nobody can open it any more; those who have mapped it keep it."""
        self._file.close()
