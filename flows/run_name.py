"""How a run of any flow is called."""

from pathlib import Path

from prefect.runtime import flow_run


def run_name() -> str:
    """By what it does and on which data, as `retrain kmrd-small`."""
    return f"{flow_run.flow_name} {Path(flow_run.parameters['data']).name}"
