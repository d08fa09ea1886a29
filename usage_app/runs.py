"""One run of a periodic task at a time, over all workers: a second one is left out, not queued."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

from django.db import connection


@contextmanager
def sole_run(name: str) -> Iterator[bool]:
    """Whether it is ours to do `name` now; nobody else may before the block ends.

    The lock is of a transaction on a connection of its own: locks of a session break behind
    PgBouncer, and the work needs transactions of its own. It ends with the process at the latest.
    """
    own = connection.copy()
    try:
        own.set_autocommit(False)
        with own.cursor() as cursor:
            cursor.execute(
                "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [f"turn {name}"]
            )
            (ours,) = cursor.fetchone()
        yield ours
    finally:
        own.close()


def alone(work: Callable[[], None]) -> Callable[[], None]:
    """The same function, which does nothing while another run of it is under way."""

    @wraps(work)
    def run_alone() -> None:
        with sole_run(f"{work.__module__}.{work.__qualname__}") as ours:
            if ours:
                work()

    return run_alone
