"""Prefect's command, for its server on SQLite: transactions wait for one another.

`python -m flows.prefect_server server start …` is `prefect server start …`. Prefect 3.8 begins each
transaction of its server as a reader, whatever it is going to do. One that reads and then writes,
while another has written in between, is told "database is locked" at once (SQLITE_BUSY_SNAPSHOT),
however long Prefect would have waited: requests answered by 503, events handled twice, errors in
the log. Begun as a writer, it waits its turn. Single reads are not in a transaction, and do not.
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
