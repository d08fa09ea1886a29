"""The broker of a folder, kombu's, whose files are whole whenever somebody looks.

Kombu's own makes the file of a message or of an exchange first and fills it then. A worker that
looks in between reads nothing, and ends: that is no error it recovers from. A process that is
killed in between leaves an exchange that no worker can ever read.
"""

import fcntl
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import TRANSPORT_ALIASES, filesystem, virtual
from kombu.transport.filesystem import exchange_queue_t
from kombu.utils.json import dumps, loads


class Channel(filesystem.Channel):
    # Its two bases name the message differently.
    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Put a message into the queue; workers take files by the end of their names."""
        name = f"{round(time.monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        _write(Path(self.data_folder_out, name), payload)

    def get_table(self, exchange: str) -> list[Any]:
        """The queues of an exchange."""
        return _queues(self._file_of(exchange))

    def _queue_bind(
        self, exchange: str, routing_key: str | None, pattern: str | None, queue: str
    ) -> None:
        bound = exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with self._changing(exchange) as queues:
            if bound not in queues:
                queues.insert(0, bound)

    def _delete(
        self, queue: str, exchange: str, routing_key: str, pattern: str, *args: Any, **kwargs: Any
    ) -> None:
        virtual.Channel._delete(self, queue, exchange, routing_key, pattern, *args, **kwargs)
        bound = exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with self._changing(exchange) as queues:
            if bound in queues:
                queues.remove(bound)

    def _file_of(self, exchange: str) -> Path:
        """Kombu's own check of the name; its types do not know it."""
        return Path(self._exchange_file(exchange))  # type: ignore[attr-defined]

    @contextmanager
    def _changing(self, exchange: str) -> Iterator[list[Any]]:
        """An exchange's queues, to be changed by one process at a time."""
        file = self._file_of(exchange)
        try:
            with file.with_suffix(".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                queues = _queues(file)
                before = list(queues)
                yield queues
                if queues != before:
                    _write(file, queues)
        except OSError as error:
            raise ChannelError(f"Cannot change {file.name}") from error


class Transport(filesystem.Transport):
    Channel = Channel


def _queues(file: Path) -> list[Any]:
    """What an exchange's file says. An earlier release could leave one that says nothing: then the
    next worker binds its queues anew.
    """
    try:
        return [exchange_queue_t(*queue) for queue in loads(file.read_text(encoding="utf-8"))]
    except (FileNotFoundError, ValueError):
        return []
    except OSError as error:
        raise ChannelError(f"Cannot read {file.name}") from error


def _write(file: Path, told: Any) -> None:
    """Show the file once it is whole, in place of what it was."""
    draft = file.with_name(f"{file.name}.{uuid.uuid4()}.draft")
    try:
        draft.write_text(dumps(told), encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ChannelError(f"Cannot write {file.name}") from error


def install() -> None:
    """Serve `filesystem://` with this one."""
    TRANSPORT_ALIASES["filesystem"] = f"{__name__}:Transport"
