"""How a run of any flow is called."""

from pathlib import Path

from prefect.runtime import flow_run

from flows.run_form import DataSet, Moments


def run_name() -> str:
    """What it does, on which data, and as of when: `retrain kmrd-small as of 2018-10-01`."""
    given = flow_run.parameters
    data = Path(DataSet.model_validate(given["data"]).text).name
    as_of = Moments.model_validate(given.get("moments", {})).as_of
    known = f" as of {as_of:%Y-%m-%d}" if as_of else ""
    return f"{flow_run.flow_name} {data}{known}"
