"""Decorators that compile functions with numba, and the folder in which the results are cached.

`compiled` is the usual one. `borrowing` is for hot code that only reads and writes arrays of its
caller, `embedded` and `inlined` for parts of other compiled functions. Compiled functions may call
each other across files.

numba's own cache looks at one file only: when a function changes, callers in other files keep the
old one, which was compiled into them. So the cache folder is named by a digest of every source
file that compiled code is made of, and a change of any of them starts a new folder. It lies in
NUMBA_CACHE_DIR if that is set, else in `__pycache__` beside this file, else (read-only
site-packages) in the user's cache folder. Where none of them is writable, every process compiles
anew.
"""

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar, overload

from numba import config, njit

Function = TypeVar("Function", bound=Callable[..., Any])

_PACKAGE = Path(__file__).parent
_PREFIX = f"{_PACKAGE.name}-"
_KEPT_FOLDERS = 4
"""Cache folders of other source versions that are kept, the latest used ones: a checkout that
switches between branches compiles each of them once."""

_SETTLED_SECONDS = 3600.0
"""A folder used more recently is never removed: its process may still be compiling."""

_SETTINGS: Any = config
"""numba's settings, which are attributes made at run time."""

_LOCK = Lock()


@overload
def compiled(function: Function) -> Function: ...
@overload
def compiled(*, error_model: str) -> Callable[[Function], Function]: ...
def compiled(
    function: Function | None = None, *, error_model: str = "python"
) -> Function | Callable[[Function], Function]:
    """Compile a function on its first call; it runs without Python's global lock.

    With `error_model="numpy"` a division by zero returns inf or NaN instead of raising, without
    which numba does not vectorise a loop that divides.
    """
    if function is None:
        return lambda decorated: _cached(decorated, error_model=error_model)
    return _cached(function, error_model=error_model)


def borrowing(function: Function) -> Function:
    """Compile a function that keeps and returns no array: numba counts no references to arrays.

    In the history's update, one locked instruction for each row of the state that was looked at
    took more time than all the arithmetic.
    """
    return _cached(function, _nrt=False)


def embedded(function: Function) -> Function:
    """Compile a borrowing function into its compiled callers: LLVM copies its code there.

    For large functions that are called in one place, and for generated ones, which have no file
    that numba could cache by: the callers' caches hold them. Passing the history's 70 arguments to
    a function took .06 of .2 us a rating.
    """
    dispatcher: Function = njit(function, nogil=True, _nrt=False, forceinline=True)  # type: ignore[call-overload]
    return dispatcher


def inlined(function: Function) -> Function:
    """Compile a function into its compiled callers before types are inferred.

    For small functions, closures and lambdas: one costs .01 s to compile this way and .05 s
    otherwise. numba copies the code for each caller, so larger functions are better `embedded`.
    """
    dispatcher: Function = njit(function, inline="always", nogil=True)
    return dispatcher


def _cached(function: Function, **options: Any) -> Function:  # noqa: ANN401  numba's own options
    dispatcher = njit(function, nogil=True, **options)
    folder = cache_folder()
    if folder is not None:
        # numba reads the setting once, here; it is put back for the functions of other libraries.
        with _LOCK:
            before, _SETTINGS.CACHE_DIR = _SETTINGS.CACHE_DIR, str(folder)
            try:
                dispatcher.enable_caching()
            finally:
                _SETTINGS.CACHE_DIR = before
    return dispatcher  # type: ignore[no-any-return]


@cache
def cache_folder() -> Path | None:
    """Return the folder for the present sources, created if need be; None if none is writable."""
    name = _PREFIX + source_digest(_PACKAGE)
    for base in _bases():
        if _is_writable(base / name):
            _remove_stale(base / name)
            return base / name
    return None


def _bases() -> Iterator[Path]:
    """Yield the folders in which a cache folder may lie, the preferred first."""
    if _SETTINGS.CACHE_DIR:
        yield Path(_SETTINGS.CACHE_DIR)
    yield _PACKAGE / "__pycache__"
    with suppress(RuntimeError):  # a container's user may have no home
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / _PACKAGE.name


def source_digest(package: Path) -> str:
    """Return 16 hexadecimal digits that change with any source that compiled code is made of."""
    digest = hashlib.sha256()
    for name, source in sorted(digested_modules(package).items()):
        digest.update(f"{name} {len(source)}\n".encode() + source)
    return digest.hexdigest()[:16]


def digested_modules(package: Path) -> dict[str, bytes]:
    """Return the sources, by module name, that compiled code is made of.

    They are all files of `package` that import this module, and all that one of those imports names
    from: constants and types are compiled in like functions.
    """
    sources = {_module_name(path, package): path.read_bytes() for path in package.rglob("*.py")}
    decorators = f"{package.name}.{Path(__file__).stem}"
    imports = {name: _imports(source, package.name) for name, source in sources.items()}
    compiling = [name for name, imported in imports.items() if decorators in imported]
    names = {decorators, *compiling}.union(*(imports[name] for name in compiling))
    return {name: sources[name] for name in names & sources.keys()}


def _module_name(path: Path, package: Path) -> str:
    return ".".join(path.relative_to(package.parent).with_suffix("").parts)


def _imports(source: bytes, package: str) -> set[str]:
    """Return the package's modules that `source` imports names from."""
    pattern = rf"^from ({re.escape(package)}[\w.]*) import".encode()
    return {name.decode() for name in re.findall(pattern, source, re.MULTILINE)}


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        os.utime(folder)  # the time of last use, see `_remove_stale`
    except OSError:
        return False
    return True


def _remove_stale(current: Path) -> None:
    """Remove cache folders of other source versions but the latest used.

    A process that still uses one only loses the cache: numba creates its folder again.
    """
    used: list[tuple[float, Path]] = []
    for folder in current.parent.glob(f"{_PREFIX}*"):
        try:
            used.append((folder.stat().st_mtime, folder))
        except OSError:  # another process has just removed it
            continue
    for last_use, folder in sorted(used, reverse=True)[1 + _KEPT_FOLDERS :]:
        if folder != current and time.time() - last_use > _SETTLED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
