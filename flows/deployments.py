"""The flows as a Prefect server offers them: on schedule, on new data, and on a press of Run.

`python -m flows.deployments --help` serves them to the server that PREFECT_API_URL names.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import serve
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.flows import Flow
from prefect.types.entrypoint import EntrypointType

from flows.automations import notices, put, zombies
from flows.by_hand import promote_by_hand, rollback
from flows.environment import default_home
from flows.replay import replay
from flows.retrain import retrain
from flows.run_form import DataSet
from flows.stale_runs import end_dead_runs
from flows.tune import tune
from flows.watch import Watch, watching
from tasks.announcement import ARRIVED
from widedeep.errors import InputError

WEEKLY = "0 4 * * 1"
TAG = "widedeep"


def deployments(data: DataSet, cron: str) -> list[RunnerDeployment]:
    """All of them; `data` is what their run forms begin with, `cron` is in UTC."""
    given = {"data": data.model_dump()}
    arrived = DeploymentEventTrigger(
        name="widedeep: new data",
        expect={ARRIVED},
        parameters={"data": {"folder": "{{ event.payload.folder }}"}},
    )
    return [
        _deployment(retrain, "scheduled", given, cron=cron),
        _deployment(retrain, "on-new-data", given, triggers=[arrived]),
        _deployment(replay, "backfill", given),
        _deployment(tune, "search", given),
        _deployment(promote_by_hand, "manual", {}),
        _deployment(rollback, "manual", {}),
    ]


def serve_all(offered: Sequence[RunnerDeployment]) -> None:
    """Run what is asked for, one run at a time, until the process is told to stop.

    The schedule goes on while nobody serves it; of the runs that became due the newest is run.
    """
    serve(*offered, limit=1, pause_on_shutdown=False, print_starting_message=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; returns the exit status."""
    parser = argparse.ArgumentParser("python -m flows.deployments")
    parser.add_argument("--data", default="auto", help="what the run forms begin with")
    parser.add_argument("--cron", default=WEEKLY, help="when retrain/scheduled runs, in UTC")
    parser.add_argument("--notify", metavar="BLOCK", help="told of failures and decisions")
    options = parser.parse_args(arguments)
    data = DataSet.parse(options.data)
    try:
        told = notices(options.notify) if options.notify else []
    except InputError as error:
        sys.stderr.write(f"widedeep: {error}\n")
        return 2
    for automation in (zombies(), *told):
        put(automation)
    end_dead_runs(TAG)
    with watching(_watch(data)):
        serve_all(deployments(data, options.cron))
    return 0


def _watch(data: DataSet) -> Watch | None:
    if not data.folder:
        return None
    folder = Path(data.folder).expanduser().resolve()
    return Watch(folder, default_home().root / "watched" / f"{folder.name}.json")


def _deployment(
    flow: Flow[..., Any],
    name: str,
    parameters: dict[str, Any],
    **when: Any,  # noqa: ANN401
) -> RunnerDeployment:
    description = (flow.__doc__ or "").partition("Args:")[0].strip()
    return RunnerDeployment.from_flow(
        flow,
        name,
        parameters=parameters,
        description=description,
        tags=[TAG],
        entrypoint_type=EntrypointType.MODULE_PATH,
        **when,
    )


if __name__ == "__main__":
    sys.exit(main())
