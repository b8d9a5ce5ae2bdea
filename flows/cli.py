"""The command `widedeep`.

Exit status: 0 the command finished, whatever it decided; 2 bad input or usage; 1 anything else.
Errors go to stderr, one readable line first.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flows.environment import configure, default_home, prepare_command
from widedeep import when
from widedeep.errors import InputError
from widedeep.home import BusyError, Home
from widedeep.model.publication import Publication

Command = Callable[[argparse.Namespace], None]

_SPLIT = ("--as-of", "--validation-from", "--holdout-from")
_WHEN = "ISO-8601 or UNIX seconds, UTC"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        command(options)
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
    _retrain_options(commands.add_parser("retrain", help="from rating files to a decision"))
    _ablation_options(commands.add_parser("ablation", help="what each part of the model is worth"))
    _replay_options(commands.add_parser("replay", help="years of retraining on a simulated clock"))
    _tune_options(commands.add_parser("tune", help="search for better settings, on validation"))
    _status_options(commands.add_parser("status", help="which model serves, and what was decided"))
    _promote_options(commands.add_parser("promote", help="let a version serve, by hand"))
    _rollback_options(commands.add_parser("rollback", help="let the previous champion serve again"))
    _explain_options(commands.add_parser("explain", help="why the model scores a pair as it does"))
    _memorisation_options(commands.add_parser("memorisation", help="what the wide part remembers"))
    _up_options(commands.add_parser("up", help="Prefect, MLflow and the deployments, together"))
    _simulate_options(commands.add_parser("simulate", help="write rating files with known truth"))
    return parser


def _retrain_options(parser: argparse.ArgumentParser) -> None:
    _data_options(parser, *_SPLIT)
    parser.add_argument("--mode", choices=("auto", "warm", "cold"), default="auto")
    help_every = "catch up in order: retrain once for each such step since the last decision"
    parser.add_argument("--every", type=days, metavar="90d", help=help_every)
    parser.add_argument(
        "--publish",
        choices=[*Publication],
        default=Publication.CAUGHT_UP,
        help="what serves after a promotion: the model with its holdout learned, or without",
    )
    _model_options(parser, "tuned")
    _shared_options(parser, retrain)


def _ablation_options(parser: argparse.ArgumentParser) -> None:
    _data_options(parser, *_SPLIT)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each variant")
    help_variants = 'names, as in "wide only" "deep only"; all if not given'
    parser.add_argument("--variants", nargs="+", metavar="NAME", help=help_variants)
    _shared_options(parser, ablation)


def _replay_options(parser: argparse.ArgumentParser) -> None:
    _data_options(parser, "--from", "--to")
    parser.add_argument("--every", type=days, default=90, metavar="90d", help="between retrains")
    _model_options(parser)
    _shared_options(parser, replay)


def _data_options(parser: argparse.ArgumentParser, *moments: str) -> None:
    parser.add_argument("--data", default="auto", metavar="auto|kmrd-small|kmrd-2m|kmrd-5m|sim|DIR")
    for name in moments:
        parser.add_argument(name, metavar="WHEN", help=_WHEN)


def _model_options(parser: argparse.ArgumentParser, *more: str) -> None:
    parser.add_argument("--preset", choices=("default", "paper", *more), default="default")
    parser.add_argument("--seed", type=int, default=0)


def _tune_options(parser: argparse.ArgumentParser) -> None:
    _data_options(parser, *_SPLIT)
    help_trials = "settings tried in all, those of earlier searches counted"
    parser.add_argument("--trials", type=int, default=20, help=help_trials)
    parser.add_argument("--seed", type=int, default=0)
    _shared_options(parser, tune)


def _status_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--at", metavar="WHEN", help=f"what served then; {_WHEN}")
    _shared_options(parser, status)


def _promote_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", help="its number or alias")
    _by_hand_options(parser, promote)


def _rollback_options(parser: argparse.ArgumentParser) -> None:
    _by_hand_options(parser, rollback)


def _by_hand_options(parser: argparse.ArgumentParser, command: Command) -> None:
    parser.add_argument("--reason", required=True, help="for those who ask later")
    parser.add_argument("--model", metavar="NAME", help="wanted where the home has several")
    _shared_options(parser, command)


def _explain_options(parser: argparse.ArgumentParser) -> None:
    for name in ("--user", "--movie"):
        parser.add_argument(name, type=token, required=True, metavar="ID")
    parser.add_argument("--at", metavar="WHEN", help=_WHEN)
    _registered_options(parser)
    _shared_options(parser, explain)


def _memorisation_options(parser: argparse.ArgumentParser) -> None:
    _registered_options(parser)
    _shared_options(parser, memorisation)


def _registered_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME", help="wanted where the home has several")
    parser.add_argument("--version", default="champion", metavar="champion|N")


def _up_options(parser: argparse.ArgumentParser) -> None:
    _data_options(parser)
    parser.add_argument("--cron", help="when retrain/scheduled runs, in UTC (Mondays at 4)")
    parser.add_argument("--notify", metavar="BLOCK", help="a Prefect block, as slack-webhook/team")
    parser.add_argument("--prefect-port", type=int, default=4200)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    parser.add_argument("--home", type=Path, help="the folder of all state (mlruns/)")
    parser.set_defaults(command=up)


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
    """Run the chain once in this process, or once for each moment that was missed."""
    home, moments = _home(options), _moments(options)
    if options.every is not None and (moments["validation_from"] or moments["holdout_from"]):
        raise InputError("--every moves the split with as-of: leave its other moments out")
    with _held(home) as starting:
        with starting():
            from flows.missed import missed
            from flows.retrain import retrain as flow
            from flows.run_form import DataSet, Gate, Moments, Training
            from flows.summary import show

        as_of, every = moments["as_of"], options.every
        due = [as_of] if every is None else missed(home, options.data, as_of, every)
        training = Training(mode=options.mode, preset=options.preset, seed=options.seed)
        gate = Gate(publish=options.publish)
        for moment in due:
            known = Moments(**moments | {"as_of": moment})
            report = flow(DataSet.parse(options.data), known, training, gate)
            show(report, home)
            if options.json:
                _write_json(report.as_json())


def ablation(options: argparse.Namespace) -> None:
    """Train the model with parts left out, and compare."""
    home, moments = _home(options), _moments(options)
    with _held(home) as starting:
        with starting():
            from flows.ablation import ablation as flow
            from flows.ablation_summary import show
            from flows.run_form import DataSet, Moments

        data, known = DataSet.parse(options.data), Moments(**moments)
        found = flow(data, known, options.seeds, options.variants)
        show(found, home)
    if options.json:
        _write_json(found.as_json())


def replay(options: argparse.Namespace) -> None:
    """Retrain on a simulated clock under several policies, and compare."""
    home = _home(options)
    begin, end = _moment(getattr(options, "from"), "--from"), _moment(options.to, "--to")
    with _held(home) as starting:
        with starting():
            from flows.replay import replay as flow
            from flows.replay_summary import show
            from flows.run_form import Clock, DataSet

        clock = Clock(begin=begin, end=end, every_days=options.every)
        found = flow(DataSet.parse(options.data), clock, options.preset, options.seed)
        show(found, home)
    if options.json:
        _write_json(found.as_json())


def tune(options: argparse.Namespace) -> None:
    """Search for better settings on validation."""
    home, moments = _home(options), _moments(options)
    with _held(home) as starting:
        with starting():
            from flows.run_form import DataSet, Moments
            from flows.tune import tune as flow
            from flows.tune_summary import show

        data, known = DataSet.parse(options.data), Moments(**moments)
        found = flow(data, known, options.trials, options.seed)
        show(found, home)
    if options.json:
        _write_json(found.as_json())


def status(options: argparse.Namespace) -> None:
    """Print the champion, the one before it, and the decisions of each model in the home."""
    from flows.status import show, statuses

    at = None if options.at is None else when.parse(options.at, "--at")
    found = statuses(_home(options), at)
    if options.json:
        for one in found:
            _write_json(one)
    else:
        show(found)


def promote(options: argparse.Namespace) -> None:
    """Let a version serve, by hand."""
    _move(options, lambda by_hand, *where: by_hand.promote(*where, options.version, options.reason))


def rollback(options: argparse.Namespace) -> None:
    """Let the version serve again that served before the champion."""
    _move(options, lambda by_hand, *where: by_hand.roll_back(*where, options.reason))


def _move(options: argparse.Namespace, move: Callable[..., str]) -> None:
    home = _home(options)
    from flows import by_hand
    from flows.status import show, statuses

    with home.exclusive():
        model = move(by_hand, home, options.model)
        found = [one for one in statuses(home) if one["model"] == model]
    if options.json:
        _write_json(found[0])
    else:
        show(found)


def explain(options: argparse.Namespace) -> None:
    """Print what adds up to the logit of one user and movie."""
    home = _home(options)
    from flows.explain import explain as explained
    from flows.explain import show
    from flows.registered import choose

    at = None if options.at is None else when.parse(options.at, "--at")
    registered = choose(home, options.model, options.version)
    found = explained(registered, options.user, options.movie, at)
    if options.json:
        _write_json(found.as_json())
    else:
        show(found)


def memorisation(options: argparse.Namespace) -> None:
    """Print the memorisation report of a registered model."""
    home = _home(options)
    from flows.memorisation import show, write_json
    from flows.registered import choose

    registered = choose(home, options.model, options.version)
    (write_json if options.json else show)(registered)


def up(options: argparse.Namespace) -> None:
    """Run the servers and the deployments until Ctrl-C."""
    home = _home(options)
    # Prefect's home is made below it as soon as Prefect is imported.
    home.root.mkdir(parents=True, exist_ok=True)
    from flows.up import Ports
    from flows.up import up as run

    given = {"--data": options.data, "--cron": options.cron, "--notify": options.notify}
    deployments = [text for pair in given.items() if pair[1] for text in pair]
    try:
        run(home, Ports(options.prefect_port, options.mlflow_port), deployments)
    except KeyboardInterrupt:
        sys.stdout.write("stopped\n")


def simulate(options: argparse.Namespace) -> None:
    """Write files in KMRD's form from a known truth."""
    from widedeep.data.simulator import Simulation
    from widedeep.data.simulator import simulate as write

    given = {name: getattr(options, name) for name in ("users", "movies", "ratings", "seed")}
    write(Simulation(**{k: v for k, v in given.items() if v is not None}), options.folder)
    sys.stdout.write(f"written: {options.folder.resolve()}\n")


def _write_json(value: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def _home(options: argparse.Namespace) -> Home:
    home = Home(options.home.expanduser().resolve()) if options.home else default_home()
    configure(home)
    return home


@contextmanager
def _held(home: Home) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Hold the home for a flow; gives the block that loads it while Prefect's server starts."""
    prepare_command()
    with home.exclusive():
        from flows import temporary_server
        from flows.console import show_progress
        from flows.orphans import stop_orphans

        stop_orphans()
        show_progress()
        yield temporary_server.starting


def _moments(options: argparse.Namespace) -> dict[str, datetime | None]:
    """As of, validation from, holdout from."""
    return {
        name.removeprefix("--").replace("-", "_"): _moment(
            getattr(options, name.removeprefix("--").replace("-", "_")), name
        )
        for name in _SPLIT
    }


def days(text: str) -> int:
    """A number of days, as `90d` or `90`; argparse names this function in its error."""
    return int(text.removesuffix("d"))


def token(text: str) -> int:
    """A user's or a movie's id; argparse names this function in its error."""
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError(text)
    return value


def _moment(text: str | None, name: str) -> datetime | None:
    return None if text is None else datetime.fromtimestamp(when.parse(text, name), UTC)


if __name__ == "__main__":
    sys.exit(main())
