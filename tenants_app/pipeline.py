"""Several statements in one round trip: libpq's pipeline mode, driven directly, for the batches of
the request path.

psycopg's own pipeline waits for the socket at every statement; here it is once to send and once to
read, which is a third of the CPU. Parameters and results are text. It owns no transaction: without
a BEGIN of its own all that is sent together commits together.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from psycopg import errors, pq

from tenants_app.database import Connection

Values = Sequence[bytes | None]
Rows = list[tuple[Any, ...]]  # of bytes | None

_FAILED = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with $1… parameters; its name is the prepared statement's on every connection."""

    name: bytes
    sql: bytes


def statement(name: str, sql: str) -> Statement:
    """A statement from text whose parameters are written %s, as elsewhere."""
    first, *rest = sql.split("%s")
    numbered = first + "".join(f"${n}{part}" for n, part in enumerate(rest, start=1))
    return Statement(name.encode(), numbered.encode())


BEGIN = statement("begin", "BEGIN")
COMMIT = statement("commit", "COMMIT")
ROLLBACK = statement("rollback", "ROLLBACK")

_prepared: WeakKeyDictionary[Any, set[bytes]] = WeakKeyDictionary()
# Connections of which it is not certain any more what is prepared: they begin with nothing.
_uncertain: WeakSet[Any] = WeakSet()
# What says so: psycopg deallocates all that is prepared, ours too, when it rolls back by itself.
_SURPRISES = (errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement)


async def run(connection: Connection, *commands: tuple[Statement, Values]) -> list[Rows]:
    """Send all commands at once; the rows of each, as text.

    Raises the first error of the database after all answers were read, OperationalError with
    `connection.closed` when the connection broke. A connection whose exchange was cut short, by
    cancellation too, is closed.
    """
    idle = connection.pgconn.transaction_status == pq.TransactionStatus.IDLE
    try:
        return await _exchange(connection, commands)
    except _SURPRISES:
        if not idle:
            raise
    await rollback(connection)
    return await _exchange(connection, commands)


async def rollback(connection: Connection) -> None:
    """End a transaction that failed, if the connection still lives."""
    if not connection.closed and connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
        await run(connection, (ROLLBACK, ()))


def text_array(numbers: Sequence[int]) -> bytes:
    """Integers as a Postgres array's text."""
    return b"{%s}" % b",".join(b"%d" % number for number in numbers)


async def _exchange(
    connection: Connection, commands: Sequence[tuple[Statement, Values]]
) -> list[Rows]:
    pgconn = connection.pgconn
    try:
        pgconn.enter_pipeline_mode()
        sent = _send(connection, commands)
        await _flush(pgconn)
        results = await _read(pgconn)
        pgconn.exit_pipeline_mode()
    except BaseException:
        pgconn.finish()
        raise
    return _answers(connection, sent, results)


def _send(
    connection: Connection, commands: Sequence[tuple[Statement, Values]]
) -> list[bytes | None]:
    """Queue the commands; for each thing sent the name that it prepares, or None for a query."""
    pgconn = connection.pgconn
    sent: list[bytes | None] = []
    known = _prepared.setdefault(connection, set())
    # Behind a pooler that forgets what was prepared.
    unprepared = connection.prepare_threshold is None
    if connection in _uncertain:
        if pgconn.transaction_status == pq.TransactionStatus.INERROR:
            unprepared = True  # all that it takes now is a ROLLBACK
        else:
            pgconn.send_query_params(b"DEALLOCATE ALL", ())
            sent.append(b"")
    for command, values in commands:
        if unprepared:
            pgconn.send_query_params(command.sql, values)
        else:
            if command.name not in known and command.name not in sent:
                pgconn.send_prepare(command.name, command.sql)
                sent.append(command.name)
            pgconn.send_query_prepared(command.name, values)
        sent.append(None)
    pgconn.pipeline_sync()
    return sent


async def _flush(pgconn: pq.abc.PGconn) -> None:
    """Send what is queued. Answers are taken in meanwhile, so that neither side waits for the
    other.
    """
    while pgconn.flush():
        await _ready(pgconn.socket, writing=True)
        pgconn.consume_input()


async def _read(pgconn: pq.abc.PGconn) -> list[pq.abc.PGresult]:
    """All results up to the sync. libpq says None after each command's."""
    results: list[pq.abc.PGresult] = []
    while True:
        while pgconn.is_busy():
            await _ready(pgconn.socket)
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            continue
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            return results
        results.append(result)


async def _ready(descriptor: int, *, writing: bool = False) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(descriptor, _wake, ready)
    if writing:
        loop.add_writer(descriptor, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
        if writing:
            loop.remove_writer(descriptor)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _answers(
    connection: Connection,
    sent: Sequence[bytes | None],
    results: Sequence[pq.abc.PGresult],
) -> list[Rows]:
    answers: list[Rows] = []
    fresh: set[bytes] = set()
    failed: pq.abc.PGresult | None = None
    for name, result in zip(sent, results, strict=True):
        if result.status in _FAILED:
            failed = failed or result
        elif result.status == pq.ExecStatus.PIPELINE_ABORTED:
            continue
        elif name is not None:
            fresh.add(name)
        else:
            answers.append(_rows(result))
    error = None if failed is None else errors.error_from_result(failed)
    if b"" in fresh:
        _uncertain.discard(connection)
    _prepared[connection] |= fresh
    if isinstance(error, _SURPRISES):
        _prepared[connection].clear()
        _uncertain.add(connection)
    if error is not None:
        raise error
    return answers


def _rows(result: pq.abc.PGresult) -> Rows:
    columns = range(result.nfields)
    get = result.get_value
    return [tuple(get(row, column) for column in columns) for row in range(result.ntuples)]
