"""Other stores than this machine's: PostgreSQL for both tools, MLflow's files on a server.

Run when asked for: `make test-production` installs what it needs (Debian's PostgreSQL as root, and
its driver) and sets WIDEDEEP_TEST_PRODUCTION.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.flows.site import Site, free_port, wait

pytestmark = pytest.mark.skipif(
    "WIDEDEEP_TEST_PRODUCTION" not in os.environ,
    reason="needs PostgreSQL: make test-production",
)


def run(*arguments, **variables):
    """A command's JSON object."""
    command = [sys.executable, "-m", "flows.cli", *map(str, arguments), "--json"]
    environment = os.environ | variables
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """Start a PostgreSQL of the test's own; yield its address up to the database's name."""
    tools = max(Path("/usr/lib/postgresql").glob("*/bin"))
    folder = tmp_path_factory.mktemp("postgres")
    port = free_port()
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    shutil.chown(folder, "postgres")
    as_postgres = ["runuser", "-u", "postgres", "--"]
    control = [*as_postgres, tools / "pg_ctl", "-D", folder / "data", "-w"]
    listening = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    new = [*as_postgres, tools / "initdb", "-D", folder / "data", "--auth=trust", "--no-sync"]
    subprocess.run(new, check=True, stdout=subprocess.DEVNULL)
    start = [*control, "-l", folder / "log", "-o", listening, "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL)
    for name in ("prefect", "mlflow"):
        create = [*as_postgres, tools / "createdb", "-h", "127.0.0.1", "-p", str(port), name]
        subprocess.run(create, check=True)
    yield f"postgres@127.0.0.1:{port}"
    subprocess.run([*control, "-m", "fast", "stop"], check=True, stdout=subprocess.DEVNULL)


def test_both_tools_work_on_postgresql(postgres, tmp_path, simulated):
    stores = {
        "PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{postgres}/prefect",
        "WIDEDEEP_TRACKING_URI": f"postgresql+psycopg2://{postgres}/mlflow",
    }
    site = Site(tmp_path, simulated, **stores)
    try:
        name = site.deployment("retrain/on-new-data")
        made = site.ask(f"deployments/{name}/create_flow_run", parameters={})["id"]
        assert site.end(made)["type"] == "COMPLETED"
        second = run("retrain", "--home", tmp_path, "--data", simulated, "--seed", 1, **stores)
        assert (second["model"], second["champion_version"]) == ("widedeep-sim-small", "1")
        (status,) = [run("status", "--home", tmp_path, **stores)]
        assert status["champion_version"] == "1"
    finally:
        site.process.send_signal(signal.SIGINT)
        assert site.process.wait(60) == 0
    assert not list(tmp_path.glob("**/*.db"))


def test_files_of_models_may_lie_on_a_server(tmp_path, simulated):
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/elsewhere.db"]
    command += ["--artifacts-destination", str(tmp_path / "elsewhere")]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with subprocess.Popen(command, env=environment) as server:
        try:
            wait(lambda: MlflowClient(uri).search_experiments())
            workspace = tmp_path / "home"
            where = ("--home", workspace, "--data", simulated)
            first = run("retrain", *where, WIDEDEEP_TRACKING_URI=uri)
            assert first["champion_version"] == "1"
            again = run("retrain", *where, "--seed", 1, "--mode", "cold", WIDEDEEP_TRACKING_URI=uri)
            assert again["champion"] is not None
            why = ("--reason", "a test")
            moved = run("promote", "2", *why, "--home", workspace, WIDEDEEP_TRACKING_URI=uri)
            assert moved["champion_version"] == "2"
            back = run("rollback", *why, "--home", workspace, WIDEDEEP_TRACKING_URI=uri)
            assert back["champion_version"] == "1"
        finally:
            server.send_signal(signal.SIGINT)
    assert not (workspace / "mlflow.db").exists()
    assert not (workspace / "artifacts").exists()
