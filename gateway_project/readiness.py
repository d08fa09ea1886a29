"""Whether this process can serve: database, migrations, broker. Knows no HTTP."""

from __future__ import annotations

import os
from pathlib import Path

import structlog
from celery import current_app
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from kombu.exceptions import OperationalError

from usage_app import partitions

log = structlog.get_logger(__name__)


def missing() -> list[str]:
    """What stands in the way, of `database`, `migrations`, `broker`; empty when ready.

    Blocking: call it in a thread. It leaves no connection behind.
    """
    absent = []
    try:
        if unapplied_migrations():
            absent.append("migrations")
    except DatabaseError as error:
        log.warning("not_ready", missing="database", error=str(error))
        absent.append("database")
    finally:
        connection.close()
    if not broker_answers():
        absent.append("broker")
    return absent


def warnings() -> list[str]:
    """What does not stop this process from serving, but wants an operator. Blocking, as `missing`.

    `ledger_default_partition`: entries lie outside every month's partition.
    """
    try:
        return ["ledger_default_partition"] if partitions.rows_in_default() else []
    finally:
        connection.close()


def unapplied_migrations() -> bool:
    """True if the database is behind the code. Raises DatabaseError without a database."""
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def broker_answers() -> bool:
    """Whether messages can be sent. Takes up to two seconds when there is nobody."""
    folder = settings.CELERY_BROKER_TRANSPORT_OPTIONS.get("data_folder_in")
    if folder:
        return Path(folder).is_dir() and os.access(folder, os.W_OK)
    try:
        with current_app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, timeout=2)
    except (OperationalError, OSError) as error:
        log.warning("not_ready", missing="broker", error=str(error))
        return False
    return True
