"""The rows by which operators see the circuits of every process: one for each that is not closed.

Written when a circuit changes, beside the requests and never in their way; a row that could not be
written is missed by operators only.
"""

import asyncio
from contextvars import Context

import structlog

from chat_app.circuits import Circuit, Key
from tenants_app.database import Connection, retried
from usage_app import ledger

_OPENED = """
INSERT INTO chat_app_opencircuit
    (process_id, upstream_id, tenant_id, failures, outcome, opened_at, retry_at)
VALUES (%s, %s, %s, %s, %s, now(), now() + make_interval(secs => %s))
ON CONFLICT (process_id, upstream_id, tenant_id) DO UPDATE
SET failures = excluded.failures, outcome = excluded.outcome, retry_at = excluded.retry_at
"""
_CLOSED = """
DELETE FROM chat_app_opencircuit
WHERE process_id = %s AND upstream_id = %s AND tenant_id IS NOT DISTINCT FROM %s
"""

log = structlog.get_logger(__name__)


class CircuitRows:
    """What one event loop has still to write: of each circuit its newest state."""

    def __init__(self) -> None:
        self._unwritten: dict[Key, Circuit] = {}
        self._writer: asyncio.Task[None] | None = None

    def note(self, circuit: Circuit) -> None:
        """Log that a circuit opened, opened again or closed, and queue its row. Never waits."""
        _log(circuit)
        self._unwritten[circuit.upstream.id, circuit.tenant_id] = circuit
        if self._writer is None or self._writer.done():
            # No request's task: what it logs must not carry the trace of whoever came last.
            loop = asyncio.get_running_loop()
            self._writer = loop.create_task(self._write(), context=Context())

    async def aclose(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            await self._writer

    async def _write(self) -> None:
        while self._unwritten:
            circuit = self._unwritten.pop(next(iter(self._unwritten)))
            try:
                await retried(lambda db: _write_one(db, circuit))  # noqa: B023 - awaited at once
            # The loop must survive: this is no request's work, and nothing depends on it.
            except Exception as error:  # noqa: BLE001
                log.warning("circuit_not_written", error=type(error).__name__)


def _log(circuit: Circuit) -> None:
    seen = {"upstream": circuit.upstream.name, "onlyTenant": circuit.tenant_id}
    if circuit.is_open:
        log.warning(
            "circuit_opened",
            **seen,
            failures=circuit.failures,
            outcome=circuit.outcome,
            pauseSeconds=circuit.pause_seconds,
        )
    else:
        log.info("circuit_closed", **seen)


async def _write_one(connection: Connection, circuit: Circuit) -> None:
    key = (ledger.current().process_id, circuit.upstream.id, circuit.tenant_id)
    if circuit.is_open:
        state = (circuit.failures, circuit.outcome, circuit.pause_seconds)
        await connection.execute(_OPENED, (*key, *state))
    else:
        await connection.execute(_CLOSED, key)
