"""What each command of `widedeep` does with its arguments.

The parameters are the command's options (see `flows.options`) and the docstring is its help. A
command imports what it needs when it runs: the workspace has to be settled before Prefect and
MLflow are imported, and a command that only looks something up loads neither Prefect nor torch.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from flows.environment import (
    check_tracking,
    configure,
    default_workspace,
    prepare_command,
    stop_orphans,
)
from flows.options import (
    DATA,
    Data,
    Folder,
    Home,
    Id,
    Json,
    Listening,
    Model,
    RankRequest,
    Reason,
    Servers,
    SimulationSize,
    VersionChoice,
)
from tasks.engine import Engine
from tasks.form import Option
from tasks.run_form import (
    Ablation,
    Clock,
    DataSet,
    Days,
    Moments,
    Publication,
    ReplayTraining,
    Search,
    Training,
)
from widedeep import InputError, Workspace
from widedeep.inputs import Moment


def describe(
    *,
    folder: Folder,
    out: Annotated[
        Path | None,
        Option(metavar="FILE"),
        Field(description="Where to write. Default: dataset.toml in the folder."),
    ] = None,
    force: Annotated[bool, Field(description="Write a file that exists anew.")] = False,
) -> None:
    """Write a dataset.toml for a folder of data: every guess, with its reason."""
    from flows.console import show_description
    from widedeep.data.describe import write_description

    show_description(*write_description(folder, out, force=force))


def check(*, folder: Folder, as_json: Json = False) -> None:
    """Check a folder of data before it is learned from."""
    from flows.console import show_check
    from widedeep.data.check import check_folder
    from widedeep.model.presets import summarise_features

    report = check_folder(folder, int(time.time()), summarise_features)
    if as_json:
        _write_json(report.as_json())
    else:
        show_check(report)
    report.refuse_failures()


def retrain(
    *,
    data: Data = DataSet(),
    moments: Moments,
    training: Training,
    publication: Publication,
    computing: Engine,
    every: Annotated[
        Days | None,
        Option(metavar="90d"),
        Field(description="Make up for missed runs, one for each step since the last decision."),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Retrain on a data set, and promote the model if it is really better."""
    workspace = _workspace(home)
    if every is not None and (moments.validation_from or moments.holdout_from):
        raise InputError(
            "--every moves validation-from and holdout-from with as-of; leave these options out"
        )
    computing.require()
    with _exclusive(workspace):
        with _server_starting(data):
            from flows import retrain as chain

        gate = chain.Gate(publish=publication.publish)
        due = [moments.as_of]
        if every is not None:
            due = [*chain.missed_moments(workspace, data, moments.as_of, every)]
        for as_of in due:
            then = moments.model_copy(update={"as_of": as_of})
            report = chain.retrain(data, then, training, gate, computing)
            chain.show_retrain(report, workspace)
            if as_json:
                _write_json(report.as_json())


def ablation(
    *,
    data: Data = DataSet(),
    moments: Moments,
    settings: Ablation,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Train the model with parts left out, and compare what each part is worth."""
    workspace = _workspace(home)
    with _exclusive(workspace):
        with _server_starting(data):
            from flows import ablation as study

        report = study.ablation(data, moments, **dict(settings))
        study.show_ablation(report, workspace)
    if as_json:
        _write_json(report.as_json())


def replay(
    *,
    data: Data = DataSet(),
    clock: Clock,
    training: ReplayTraining,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Retrain over years on a simulated clock, under several policies."""
    workspace = _workspace(home)
    with _exclusive(workspace):
        with _server_starting(data):
            from flows import replay as study

        report = study.replay(data, clock, **dict(training))
        study.show_replay(report, workspace)
    if as_json:
        _write_json(report.as_json())


def tune(
    *,
    data: Data = DataSet(),
    moments: Moments,
    search: Search,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Search for better settings on validation; the holdout is never read."""
    workspace = _workspace(home)
    with _exclusive(workspace):
        with _server_starting(data):
            from flows import tune as study

        report = study.tune(data, moments, **dict(search))
        study.show_tune(report, workspace)
    if as_json:
        _write_json(report.as_json())


def status(
    *,
    at: Annotated[Moment | None, Field(description="Show what served at this moment.")] = None,
    reasons: Annotated[bool, Field(description="Show all reasons of a decision.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show which version of each model serves, and what was decided."""
    workspace = _workspace(home)
    from flows.status import show_statuses, statuses

    models = statuses(workspace, at)
    if not as_json:
        show_statuses(models, all_reasons=reasons)
        return
    for model in models:
        _write_json(model)


def promote(
    *,
    version: Annotated[
        str, Option("VERSION"), Field(description="The version: its number or an alias.")
    ],
    reason: Reason,
    model: Model = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Let a version serve that the gate did not choose."""
    workspace = _workspace(home)
    from tasks.registry import open_registry, promote_after_dry_run

    with workspace.exclusive():
        registry = open_registry(workspace, model)
        promote_after_dry_run(registry, version, reason)
        _show_status_of(registry.model, workspace, as_json=as_json)


def rollback(
    *, reason: Reason, model: Model = None, home: Home = None, as_json: Json = False
) -> None:
    """Let the previous champion serve again."""
    workspace = _workspace(home)
    from tasks.registry import open_registry

    with workspace.exclusive():
        registry = open_registry(workspace, model)
        registry.roll_back(reason)
        _show_status_of(registry.model, workspace, as_json=as_json)


def explain(
    *,
    user: Annotated[Id, Field(description="The user's id; an unknown one is a new user.")],
    item: Annotated[Id, Field(description="The item's id; an unknown one is a new item.")],
    choice: VersionChoice,
    at: Annotated[
        Moment | None, Field(description="Only interactions before this moment are known.")
    ] = None,
    features: Annotated[
        list[str] | None,
        Option(metavar="NAME=VALUE"),
        Field(description="Features of the context and the user, as device=mobile age=30."),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show what adds up to the probability of a positive label, for one user and one item."""
    workspace = _workspace(home)
    from flows.explain import explain_pair, show_explanation
    from tasks.registry import choose_version

    registered = choose_version(workspace, choice.model, choice.version)
    report = explain_pair(registered, user, item, at, features or ())
    if as_json:
        _write_json(report.as_json())
    else:
        show_explanation(report)


def memorisation(*, choice: VersionChoice, home: Home = None, as_json: Json = False) -> None:
    """Show what the wide part of a registered model remembers."""
    workspace = _workspace(home)
    from flows.explain import show_memorisation, write_memorisation
    from tasks.registry import choose_version

    registered = choose_version(workspace, choice.model, choice.version)
    (write_memorisation if as_json else show_memorisation)(registered)


def rank(
    *,
    request: RankRequest,
    computing: Engine,
    choice: VersionChoice,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Rank items for many users, and write the lists to a Parquet file."""
    workspace = _workspace(home)
    computing.require()
    from flows.rank import rank_users, show_rank
    from tasks.registry import choose_version

    registered = choose_version(workspace, choice.model, choice.version)
    with computing.running(workspace):
        report = rank_users(workspace, registered, request, computing)
    if as_json:
        _write_json(report.as_json())
    else:
        show_rank(report)


def serve(
    *,
    data: Annotated[str | None, DATA, Field(description="Serve this data set's model.")] = None,
    model: Model = None,
    listening: Listening,
    home: Home = None,
) -> None:
    """Answer requests with the champion over HTTP, until Ctrl-C."""
    workspace = _workspace(home, tracked=False)
    from flows import serve as server
    from widedeep.serving.middleware import RequestLimits

    limits = RequestLimits(per_second=listening.rate_limit, burst=2 * listening.rate_limit)
    name = server.model_to_serve(workspace, data, model)
    address = server.Address(listening.host, listening.port)
    server.serve(workspace, name, address, limits, listening.precision)


def up(*, data: Data = DataSet(), servers: Servers, home: Home = None) -> None:
    """Run Prefect, MLflow and the deployments together, until Ctrl-C."""
    workspace = _workspace(home)
    # Prefect creates its home in the workspace as soon as Prefect is imported.
    workspace.root.mkdir(parents=True, exist_ok=True)
    from flows import up as processes

    folder = data.folder.strip()
    chosen = str(Path(folder).expanduser().resolve()) if folder else str(data)
    options = {"--data": chosen, "--cron": servers.cron, "--notify": servers.notify}
    deployments = [text for name, value in options.items() if value for text in (name, value)]
    try:
        ports = processes.Ports(servers.prefect_port, servers.mlflow_port)
        processes.up(workspace, ports, deployments)
    except KeyboardInterrupt:
        sys.stdout.write("stopped\n")


def simulate(
    *,
    folder: Annotated[Path, Option("DIR"), Field(description="A new or empty folder.")],
    size: SimulationSize,
) -> None:
    """Write data whose truth is known."""
    from widedeep.data.simulator.config import SimulationConfig
    from widedeep.data.simulator.write import read_form
    from widedeep.data.simulator.write import simulate as write

    form = None if size.like is None else read_form(size.like)
    config = SimulationConfig(**size.model_dump(exclude_none=True, exclude={"like"}))
    write(config, folder, form)
    sys.stdout.write(f"written: {folder.resolve()}\n")


def _workspace(home: Path | None, *, tracked: bool = True) -> Workspace:
    """Settle where Prefect and MLflow keep their state; check MLflow's, if it is `tracked` now."""
    workspace = Workspace(home.expanduser().resolve()) if home else default_workspace()
    if workspace.root.exists() and not workspace.root.is_dir():
        raise InputError(f"the workspace {workspace.root} is a file; expected a folder (--home)")
    configure(workspace)
    if tracked:
        check_tracking(workspace)
    return workspace


@contextmanager
def _exclusive(workspace: Workspace) -> Iterator[None]:
    """Hold the workspace for a run in this process; raise BusyError if another run holds it."""
    prepare_command()
    with workspace.exclusive():
        stop_orphans()
        yield


def _check_data(data: DataSet) -> None:
    """Check a folder's files before anything is started; named data sets are checked by the run."""
    if data.folder.strip():
        from widedeep.data.files import open_tables
        from widedeep.data.source import resolve_source

        source = resolve_source(str(data), default_workspace().data, os.environ)
        open_tables(source.spec, source.folder)


@contextmanager
def _server_starting(data: DataSet) -> Iterator[None]:
    """Check the data, then start Prefect's server while the block imports a flow.

    Both take some seconds; what is started is told before.
    """
    _check_data(data)
    _print("starting Prefect and loading torch and MLflow")
    from flows import temporary_server

    with temporary_server.starting():
        from flows.console import show_progress

        show_progress()
        yield


def _show_status_of(model: str, workspace: Workspace, *, as_json: bool) -> None:
    """Show the status of one model, after its champion was moved."""
    from flows.status import model_status, show_statuses

    status_ = model_status(workspace, model)
    if as_json:
        _write_json(status_)
    else:
        show_statuses([status_])


def _write_json(value: Mapping[str, Any]) -> None:
    _print(json.dumps(value, ensure_ascii=False))


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
