"""The end of a search, for people."""

from flows.console import plain_console
from flows.tune import Tuned
from widedeep.home import Home


def show(found: Tuned, home: Home) -> None:
    """Print what was found, and where to look next."""
    console = plain_console()
    first = "" if found.first_loss is None else f", the default preset has {found.first_loss:.4f}"
    console.print(f"\n[bold]{found.ingested.model}[/bold]  {found.trials} settings tried")
    console.print(f"best      validation loss {found.best_loss:.4f}{first}")
    for path, value in found.settings.items():
        console.print(f"          {path} = {value if isinstance(value, str) else f'{value:.5g}'}")
    console.print(f"kept      {found.file}")
    console.print("\nlook next", style="bold")
    console.print("  use them  widedeep retrain --preset tuned")
    console.print(f"  MLflow    .venv/bin/mlflow ui --backend-store-uri {home.tracking_uri}")
