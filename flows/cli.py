"""The command `widedeep`.

Exit status: 0 the command finished, whatever it decided; 2 bad input or usage; 1 anything else.
Errors go to stderr, one readable line first.

The options of each command.
"""

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path

from pydantic import ValidationError

from flows import commands
from widedeep.choices import Device, Precision, Publish
from widedeep.inputs import InputError
from widedeep.workspace import BusyError

Command = Callable[[argparse.Namespace], None]

_WHEN = "ISO-8601 or UNIX seconds, UTC"


def retrain_options(parser: argparse.ArgumentParser) -> None:
    _data_options(parser, *commands.SPLIT)
    parser.add_argument("--mode", choices=("auto", "warm", "cold"), default="auto")
    help_every = "catch up in order: retrain once for each such step since the last decision"
    parser.add_argument("--every", type=days, metavar="90d", help=help_every)
    parser.add_argument(
        "--publish",
        choices=[*Publish],
        default=Publish.CAUGHT_UP,
        help="what serves after a promotion: the model with its holdout learned, or without",
    )
    _model_options(parser, "tuned")
    help_precision = "of the hidden layers in training; auto: bfloat16 where it is faster"
    parser.add_argument(
        "--precision", choices=[*Precision], default=Precision.AUTO, help=help_precision
    )
    help_device = "of training; auto: a GPU where there is one"
    parser.add_argument("--device", choices=[*Device], default=Device.AUTO, help=help_device)
    _engine_options(parser)
    _shared_options(parser, commands.retrain)


def ablation_options(parser: argparse.ArgumentParser) -> None:
    _data_options(parser, *commands.SPLIT)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each variant")
    help_variants = 'names, as in "wide only" "deep only"; all if not given'
    parser.add_argument("--variants", nargs="+", metavar="NAME", help=help_variants)
    _shared_options(parser, commands.ablation)


def replay_options(parser: argparse.ArgumentParser) -> None:
    _data_options(parser, "--from", "--to")
    parser.add_argument("--every", type=days, default=90, metavar="90d", help="between retrains")
    _model_options(parser)
    _shared_options(parser, commands.replay)


def _data_options(parser: argparse.ArgumentParser, *moments: str) -> None:
    parser.add_argument("--data", default="auto", metavar="auto|kmrd-small|kmrd-2m|kmrd-5m|sim|DIR")
    for name in moments:
        parser.add_argument(name, metavar="WHEN", help=_WHEN)


def _model_options(parser: argparse.ArgumentParser, *more: str) -> None:
    parser.add_argument("--preset", choices=("default", "paper", *more), default="default")
    parser.add_argument("--seed", type=int, default=0)


def _engine_options(parser: argparse.ArgumentParser) -> None:
    help_engine = "ray: on the cluster at RAY_ADDRESS, or on a local Ray; needs the extra [ray]"
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help=help_engine)
    help_workers = "on Ray: processes that share the work"
    parser.add_argument("--workers", type=int, default=2, help=help_workers)


def tune_options(parser: argparse.ArgumentParser) -> None:
    _data_options(parser, *commands.SPLIT)
    help_trials = "settings tried in all, those of earlier searches counted"
    parser.add_argument("--trials", type=int, default=20, help=help_trials)
    parser.add_argument("--seed", type=int, default=0)
    _shared_options(parser, commands.tune)


def status_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--at", metavar="WHEN", help=f"what served then; {_WHEN}")
    _shared_options(parser, commands.status)


def promote_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", help="its number or alias")
    _by_hand_options(parser, commands.promote)


def rollback_options(parser: argparse.ArgumentParser) -> None:
    _by_hand_options(parser, commands.rollback)


def _by_hand_options(parser: argparse.ArgumentParser, command: Command) -> None:
    parser.add_argument("--reason", required=True, help="for those who ask later")
    parser.add_argument("--model", metavar="NAME", help="wanted where the home has several")
    _shared_options(parser, command)


def explain_options(parser: argparse.ArgumentParser) -> None:
    for name in ("--user", "--item"):
        parser.add_argument(name, type=token, required=True, metavar="ID")
    parser.add_argument("--at", metavar="WHEN", help=_WHEN)
    _registered_options(parser)
    _shared_options(parser, commands.explain)


def memorisation_options(parser: argparse.ArgumentParser) -> None:
    _registered_options(parser)
    _shared_options(parser, commands.memorisation)


def _registered_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME", help="wanted where the home has several")
    parser.add_argument("--version", default="champion", metavar="champion|N")


def up_options(parser: argparse.ArgumentParser) -> None:
    _data_options(parser)
    parser.add_argument("--cron", help="when retrain/scheduled runs, in UTC (Mondays at 4)")
    parser.add_argument("--notify", metavar="BLOCK", help="a Prefect block, as slack-webhook/team")
    parser.add_argument("--prefect-port", type=int, default=4200)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    parser.add_argument("--home", type=Path, help="the folder of all state (mlruns/)")
    parser.set_defaults(command=commands.up)


def rank_options(parser: argparse.ArgumentParser) -> None:
    help_users = "a .csv or .parquet file with a column user; all: everybody who has rated"
    parser.add_argument("users", metavar="USERS|all", help=help_users)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.parquet")
    parser.add_argument("--k", type=int, default=10, help="films a user")
    help_candidates = "ranked for each user: the most promising so many films, or all"
    parser.add_argument(
        "--candidates", type=many, default=100, metavar="100|all", help=help_candidates
    )
    parser.add_argument("--at", metavar="WHEN", help=f"know the ratings before it; {_WHEN}")
    _precision_option(parser, "float32")
    _engine_options(parser)
    _registered_options(parser)
    _shared_options(parser, commands.rank)


def serve_options(parser: argparse.ArgumentParser) -> None:
    help_data = "serve the model of that data set"
    parser.add_argument("--data", metavar="auto|kmrd-small|kmrd-2m|kmrd-5m|sim|DIR", help=help_data)
    parser.add_argument("--model", metavar="NAME", help="wanted where the home has several")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=port, default=8000)
    help_rate = "requests a second that one client may send in the long run"
    parser.add_argument("--rate-limit", type=positive, default=1000.0, help=help_rate)
    _precision_option(parser, "auto")
    parser.add_argument("--home", type=Path, help="the folder of all state (mlruns/)")
    parser.set_defaults(command=commands.serve)


def _precision_option(parser: argparse.ArgumentParser, default: str) -> None:
    help_precision = f"of matrix products; auto: bfloat16 where the processor has it ({default})"
    choices = ("auto", "float32", "bfloat16")
    parser.add_argument("--precision", choices=choices, default=default, help=help_precision)


def simulate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    for name in ("--users", "--items", "--ratings", "--seed"):
        parser.add_argument(name, type=int)
    parser.set_defaults(command=commands.simulate)


def _shared_options(parser: argparse.ArgumentParser, command: Command) -> None:
    parser.add_argument("--home", type=Path, help="the folder of all state (mlruns/)")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on stdout")
    parser.set_defaults(command=command)


def days(text: str) -> int:
    """A number of days, as `90d` or `90`; argparse names this function in its error."""
    return int(text.removesuffix("d"))


def many(text: str) -> int | None:
    """A count, or None for `all`; argparse names this function in its error."""
    return None if text == "all" else int(text)


def port(text: str) -> int:
    """A TCP port, 0 for any that is free; argparse names this function in its error."""
    value = int(text)
    if not 0 <= value < 1 << 16:
        raise ValueError(text)
    return value


def positive(text: str) -> float:
    """A number above 0; argparse names this function in its error."""
    value = float(text)
    if not 0 < value < inf:
        raise ValueError(text)
    return value


def token(text: str) -> int:
    """A user's or a item's id; argparse names this function in its error."""
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError(text)
    return value


_COMMANDS = {
    "retrain": ("from rating files to a decision", retrain_options),
    "ablation": ("what each part of the model is worth", ablation_options),
    "replay": ("years of retraining on a simulated clock", replay_options),
    "tune": ("search for better settings, on validation", tune_options),
    "status": ("which model serves, and what was decided", status_options),
    "promote": ("let a version serve, by hand", promote_options),
    "rollback": ("let the previous champion serve again", rollback_options),
    "explain": ("why the model scores a pair as it does", explain_options),
    "memorisation": ("what the wide part remembers", memorisation_options),
    "up": ("Prefect, MLflow and the deployments, together", up_options),
    "rank": ("ranked films for many users, into a file", rank_options),
    "serve": ("answer requests by the champion, over HTTP", serve_options),
    "simulate": ("write rating files with known truth", simulate_options),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = _parser().parse_args(arguments)
    command: Command = given.command
    try:
        command(given)
    except InputError as error:
        return _fail(2, str(error))
    except ValidationError as error:
        found = error.errors()[0]
        return _fail(2, f"{found['loc'][-1]} is {found['input']}: {found['msg']}")
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
    for name, (purpose, add_options) in _COMMANDS.items():
        add_options(commands.add_parser(name, help=purpose))
    return parser


if __name__ == "__main__":
    sys.exit(main())
