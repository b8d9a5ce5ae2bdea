"""A bar on a terminal, and nothing elsewhere: there the log's lines say the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def epoch_bar(epochs: int) -> Iterator[Callable[[int], None]]:
    """Give a function that takes the number of the epoch just finished."""
    console = Console()
    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("epoch {task.completed:.0f} of at most {task.total:.0f}"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        bar = progress.add_task("training", total=epochs)
        yield lambda epoch: progress.update(bar, completed=epoch)
