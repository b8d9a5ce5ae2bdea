"""Of two transactions of Prefect's server on SQLite the second one waits; none is refused."""

import subprocess
import sys

CODE = """
import sqlite3, sys
import flows.prefect_server
from sqlalchemy import create_engine

path = sys.argv[1]
with sqlite3.connect(path) as database:
    database.execute("create table counts (n)")
with create_engine(f"sqlite:///{path}").connect() as reads_first:
    reads_first.exec_driver_sql("BEGIN DEFERRED")  # as Prefect begins all of them
    reads_first.exec_driver_sql("select * from counts").all()
    try:
        sqlite3.connect(path, timeout=0).execute("insert into counts values (1)")
    except sqlite3.OperationalError as error:
        print(error)
    reads_first.exec_driver_sql("insert into counts values (2)")
    reads_first.exec_driver_sql("COMMIT")
print(sqlite3.connect(path).execute("select n from counts").fetchall())
"""


def test_who_reads_before_writing_cannot_be_overtaken(tmp_path):
    command = [sys.executable, "-c", CODE, str(tmp_path / "prefect.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["database is locked", "[(2,)]"]
