"""What each command of `widedeep` does with its options."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any

from flows.environment import configure, default_workspace, prepare_command
from tasks.engine import Engine, EngineName
from widedeep.inputs import InputError, parse_time
from widedeep.workspace import Workspace

SPLIT = {
    "--as-of": "as_of",
    "--validation-from": "validation_from",
    "--holdout-from": "holdout_from",
}
"""The moments of a split: their options, and their names in a run form."""


def retrain(options: argparse.Namespace) -> None:
    """Run the chain once in this process, or once for each moment that was missed."""
    workspace, moments = _home(options), _moments(options)
    if options.every is not None and (moments["validation_from"] or moments["holdout_from"]):
        raise InputError("--every moves the split with as-of: leave its other moments out")
    _engine(options).require()
    with _held(workspace) as starting:
        with starting():
            from flows.retrain import missed_moments, show_retrain
            from flows.retrain import retrain as flow
            from flows.run_form import Computing, DataSet, Gate, Moments, Training

        as_of, every = moments["as_of"], options.every
        due = [as_of] if every is None else missed_moments(workspace, options.data, as_of, every)
        training = Training(
            mode=options.mode,
            preset=options.preset,
            seed=options.seed,
            precision=options.precision,
            device=options.device,
        )
        gate = Gate(publish=options.publish)
        computing = Computing(engine=options.engine, workers=options.workers)
        for moment in due:
            known = Moments(**moments | {"as_of": moment})
            report = flow(DataSet.parse(options.data), known, training, gate, computing)
            show_retrain(report, workspace)
            if options.json:
                _write_json(report.as_json())


def ablation(options: argparse.Namespace) -> None:
    """Train the model with parts left out, and compare."""
    workspace, moments = _home(options), _moments(options)
    with _held(workspace) as starting:
        with starting():
            from flows.ablation import ablation as flow
            from flows.ablation import show_ablation
            from flows.run_form import DataSet, Moments

        data, known = DataSet.parse(options.data), Moments(**moments)
        found = flow(data, known, options.seeds, options.variants)
        show_ablation(found, workspace)
    if options.json:
        _write_json(found.as_json())


def replay(options: argparse.Namespace) -> None:
    """Retrain on a simulated clock under several policies, and compare."""
    workspace = _home(options)
    begin, end = _moment(getattr(options, "from"), "--from"), _moment(options.to, "--to")
    with _held(workspace) as starting:
        with starting():
            from flows.replay import replay as flow
            from flows.replay import show_replay
            from flows.run_form import Clock, DataSet

        clock = Clock(begin=begin, end=end, every_days=options.every)
        found = flow(DataSet.parse(options.data), clock, options.preset, options.seed)
        show_replay(found, workspace)
    if options.json:
        _write_json(found.as_json())


def tune(options: argparse.Namespace) -> None:
    """Search for better settings on validation."""
    workspace, moments = _home(options), _moments(options)
    with _held(workspace) as starting:
        with starting():
            from flows.run_form import DataSet, Moments
            from flows.tune import show_tune
            from flows.tune import tune as flow

        data, known = DataSet.parse(options.data), Moments(**moments)
        found = flow(data, known, options.trials, options.seed)
        show_tune(found, workspace)
    if options.json:
        _write_json(found.as_json())


def status(options: argparse.Namespace) -> None:
    """Print the champion, the one before it, and the decisions of each model in the home."""
    from flows.status import show_status, statuses

    at = None if options.at is None else parse_time(options.at, "--at")
    found = statuses(_home(options), at)
    if options.json:
        for one in found:
            _write_json(one)
    else:
        show_status(found)


def promote(options: argparse.Namespace) -> None:
    """Let a version serve, by hand."""
    _move(options, lambda by_hand, *where: by_hand.promote(*where, options.version, options.reason))


def rollback(options: argparse.Namespace) -> None:
    """Let the version serve again that served before the champion."""
    _move(options, lambda by_hand, *where: by_hand.roll_back(*where, options.reason))


def _move(options: argparse.Namespace, move: Callable[..., Any]) -> None:
    workspace = _home(options)
    from flows import champion as by_hand
    from flows.status import show_status, statuses

    with workspace.exclusive():
        model = move(by_hand, workspace, options.model).model
        found = [one for one in statuses(workspace) if one["model"] == model]
    if options.json:
        _write_json(found[0])
    else:
        show_status(found)


def explain(options: argparse.Namespace) -> None:
    """Print what adds up to the logit of one user and item."""
    workspace = _home(options)
    from flows.champion import choose_version
    from flows.explain import explain as explained
    from flows.explain import show_explanation

    at = None if options.at is None else parse_time(options.at, "--at")
    registered = choose_version(workspace, options.model, options.version)
    found = explained(registered, options.user, options.item, at)
    if options.json:
        _write_json(found.as_json())
    else:
        show_explanation(found)


def memorisation(options: argparse.Namespace) -> None:
    """Print the memorisation report of a registered model."""
    workspace = _home(options)
    from flows.champion import choose_version
    from flows.explain import show_memorisation, write_memorisation

    registered = choose_version(workspace, options.model, options.version)
    (write_memorisation if options.json else show_memorisation)(registered)


def rank(options: argparse.Namespace) -> None:
    """Rank items for many users and write a Parquet file."""
    workspace = _home(options)
    from flows.champion import choose_version
    from flows.rank import RankRequest, show_rank
    from flows.rank import rank as ranked
    from widedeep.choices import Precision

    at = None if options.at is None else parse_time(options.at, "--at")
    engine = _engine(options)
    engine.require()
    how = at, Precision(options.precision), engine
    order = RankRequest(options.users, options.out, options.k, options.candidates, *how)
    registered = choose_version(workspace, options.model, options.version)
    with engine.running(workspace):
        found = ranked(registered, order)
    if options.json:
        _write_json(found.as_json())
    else:
        show_rank(found)


def serve(options: argparse.Namespace) -> None:
    """Answer requests by the champion until Ctrl-C."""
    workspace = _home(options)
    from flows.serve import Address, model_to_serve
    from flows.serve import serve as run
    from widedeep.choices import Precision
    from widedeep.serving.middleware import RequestLimits

    model = model_to_serve(workspace, options.data, options.model)
    limits = RequestLimits(per_second=options.rate_limit, burst=2 * options.rate_limit)
    address = Address(options.host, options.port)
    run(workspace, model, address, limits, Precision(options.precision))


def up(options: argparse.Namespace) -> None:
    """Run the servers and the deployments until Ctrl-C."""
    workspace = _home(options)
    # Prefect's home is made below it as soon as Prefect is imported.
    workspace.root.mkdir(parents=True, exist_ok=True)
    from flows.up import Ports
    from flows.up import up as run

    given = {"--data": options.data, "--cron": options.cron, "--notify": options.notify}
    deployments = [text for pair in given.items() if pair[1] for text in pair]
    try:
        run(workspace, Ports(options.prefect_port, options.mlflow_port), deployments)
    except KeyboardInterrupt:
        sys.stdout.write("stopped\n")


def simulate(options: argparse.Namespace) -> None:
    """Write files in KMRD's form from a known truth."""
    from widedeep.data.simulator.write import SimulationConfig
    from widedeep.data.simulator.write import simulate as write

    given = {name: getattr(options, name) for name in ("users", "items", "ratings", "seed")}
    write(SimulationConfig(**{k: v for k, v in given.items() if v is not None}), options.folder)
    sys.stdout.write(f"written: {options.folder.resolve()}\n")


def _write_json(value: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def _engine(options: argparse.Namespace) -> Engine:
    return Engine(EngineName(options.engine), options.workers)


def _home(options: argparse.Namespace) -> Workspace:
    workspace = (
        Workspace(options.home.expanduser().resolve()) if options.home else default_workspace()
    )
    configure(workspace)
    return workspace


@contextmanager
def _held(workspace: Workspace) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Hold the home for a flow; gives the block in which it is to be imported."""
    prepare_command()
    with workspace.exclusive():
        from flows.exclusive_run import stop_orphans

        stop_orphans()
        yield _starting


@contextmanager
def _starting() -> Iterator[None]:
    """Prefect's server starts while the block imports a flow, which takes as long."""
    from flows import temporary_server

    with temporary_server.starting():
        from flows.console import show_progress

        show_progress()
        yield


def _moments(options: argparse.Namespace) -> dict[str, datetime | None]:
    """As of, validation from, holdout from."""
    return {field: _moment(getattr(options, field), name) for name, field in SPLIT.items()}


def _moment(text: str | None, name: str) -> datetime | None:
    return None if text is None else datetime.fromtimestamp(parse_time(text, name), UTC)
