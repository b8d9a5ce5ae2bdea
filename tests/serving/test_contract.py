"""The server answers as `/openapi.json` describes, to valid and to invalid requests."""

import subprocess
import sys
from pathlib import Path

from widedeep.serving.api import create_app
from widedeep.serving.service import RankingService
from widedeep.serving.telemetry import Telemetry
from widedeep.workspace import Workspace

# A rating in the future conforms to the schema and is refused all the same (422), and so is one
# of an unknown item (404).
SETTINGS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "404", "422"]
"""
PHASES = "coverage,fuzzing,stateful"


def test_schemathesis_finds_no_violation(tmp_path, versions, serve, admit):
    (tmp_path / "schemathesis.toml").write_text(SETTINGS, encoding="utf-8")
    service = RankingService(Workspace(tmp_path / "home"), Telemetry())
    admit(service, versions[0])
    with serve(create_app(service)) as client:
        process = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                *("run", f"{client.base_url}/openapi.json", "--phases", PHASES),
                *("--max-examples", "10", "--seed", "1", "--no-color"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "11 passed" in process.stdout
