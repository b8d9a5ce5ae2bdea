"""Prefect's command line, with a server whose SQLite transactions wait for one another.

`python -m flows.prefect_server server start …` is `prefect server start …`. Prefect 3.8 begins each
transaction of its server as a reader, even one that will write. A transaction that reads, and then
writes after another one has written in between, fails at once with "database is locked"
(SQLITE_BUSY_SNAPSHOT), whatever the timeout: requests were answered with 503, events were handled
twice, and the log was full of errors. A transaction that begins as a writer waits its turn. Single
reads are not in a transaction and do not wait.
"""

from typing import Any

from prefect.cli import app
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine


@event.listens_for(Engine, "before_cursor_execute", retval=True)
def _begin_as_writer(
    connection: Connection,
    cursor: Any,  # noqa: ANN401
    statement: str,
    parameters: Any,  # noqa: ANN401
    *_: object,
) -> tuple[str, Any]:
    del connection, cursor
    return ("BEGIN IMMEDIATE" if statement == "BEGIN DEFERRED" else statement), parameters


if __name__ == "__main__":
    app()
