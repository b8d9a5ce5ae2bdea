"""The command `widedeep`.

Exit status: 0 the command finished, whatever it decided; 2 bad input or usage; 1 anything else.
Errors go to stderr, one readable line first.
"""

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from flows.environment import configure, default_home, prepare_command
from widedeep import when
from widedeep.errors import InputError
from widedeep.home import BusyError, Home

Command = Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        command(options)
    except InputError as error:
        return _fail(2, str(error))
    except (BusyError, OSError) as error:
        return _fail(1, str(error))
    except KeyboardInterrupt:
        return _fail(1, "interrupted; nothing was promoted")
    except Exception as error:  # noqa: BLE001  the last line of defence: say it, then show it
        return _fail(1, f"{type(error).__name__}: {error}", traceback.format_exc())
    return 0


def _fail(status: int, message: str, details: str = "") -> int:
    line = " ".join(message.split())
    sys.stderr.write(f"widedeep: {line}\n{details}")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("widedeep", description="Wide & Deep, retrained on schedule.")
    commands = parser.add_subparsers(required=True, metavar="command")
    _retrain_options(commands.add_parser("retrain", help="from rating files to a decision"))
    _status_options(commands.add_parser("status", help="which model serves, and what was decided"))
    _simulate_options(commands.add_parser("simulate", help="write rating files with known truth"))
    return parser


def _retrain_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default="auto", metavar="auto|kmrd-small|kmrd-2m|kmrd-5m|sim|DIR")
    for name in ("--as-of", "--validation-from", "--holdout-from"):
        parser.add_argument(name, metavar="WHEN", help="ISO-8601 or UNIX seconds, UTC")
    parser.add_argument("--mode", choices=("auto", "warm", "cold"), default="auto")
    parser.add_argument("--preset", choices=("default", "paper"), default="default")
    parser.add_argument("--seed", type=int, default=0)
    _shared_options(parser, retrain)


def _status_options(parser: argparse.ArgumentParser) -> None:
    _shared_options(parser, status)


def _simulate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    for name in ("--users", "--movies", "--ratings", "--seed"):
        parser.add_argument(name, type=int)
    parser.set_defaults(command=simulate)


def _shared_options(parser: argparse.ArgumentParser, command: Command) -> None:
    parser.add_argument("--home", type=Path, help="the folder of all state (mlruns/)")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on stdout")
    parser.set_defaults(command=command)


def retrain(options: argparse.Namespace) -> None:
    """Run the chain once in this process."""
    home = _home(options)
    moments = (
        _moment(options.as_of, "--as-of"),
        _moment(options.validation_from, "--validation-from"),
        _moment(options.holdout_from, "--holdout-from"),
    )
    prepare_command()
    with home.exclusive():
        from flows import temporary_server

        temporary_server.stop_orphans()
        with temporary_server.starting():
            from flows.console import show_progress
            from flows.retrain import retrain as flow
            from flows.summary import show

        show_progress()
        report = flow(
            options.data,
            *moments,
            mode=options.mode,
            preset=options.preset,
            seed=options.seed,
            home=home.root,
        )
        show(report, home)
    if options.json:
        sys.stdout.write(json.dumps(report.as_json(), ensure_ascii=False) + "\n")


def status(options: argparse.Namespace) -> None:
    """Print the champion, the one before it, and the decisions of each model in the home."""
    from flows.status import show, statuses

    found = statuses(_home(options))
    if options.json:
        for one in found:
            sys.stdout.write(json.dumps(one, ensure_ascii=False) + "\n")
    else:
        show(found)


def simulate(options: argparse.Namespace) -> None:
    """Write files in KMRD's form from a known truth."""
    from widedeep.data.simulator import Simulation
    from widedeep.data.simulator import simulate as write

    given = {name: getattr(options, name) for name in ("users", "movies", "ratings", "seed")}
    write(Simulation(**{k: v for k, v in given.items() if v is not None}), options.folder)
    sys.stdout.write(f"written: {options.folder.resolve()}\n")


def _home(options: argparse.Namespace) -> Home:
    home = Home(options.home.expanduser().resolve()) if options.home else default_home()
    configure(home)
    return home


def _moment(text: str | None, name: str) -> datetime | None:
    return None if text is None else datetime.fromtimestamp(when.parse(text, name), UTC)


if __name__ == "__main__":
    sys.exit(main())
