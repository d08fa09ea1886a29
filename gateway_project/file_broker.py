"""The broker of a folder, kombu's, that shows a message only once it is whole.

Kombu's own makes a message's file first and fills it then. A worker that looks in between takes an
empty message, and ends: that is no error it recovers from.
"""

import time
import uuid
from pathlib import Path
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    # Its two bases name the message differently.
    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Put a message into the queue; workers take files by the end of their names."""
        name = f"{round(time.monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        draft = Path(self.data_folder_out, f"{name}.draft")
        try:
            draft.write_text(dumps(payload), encoding="utf-8")
            draft.replace(draft.with_suffix(""))
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise ChannelError(f"Cannot add {name} to its folder") from error


class Transport(filesystem.Transport):
    Channel = Channel


def install() -> None:
    """Serve `filesystem://` with this one."""
    TRANSPORT_ALIASES["filesystem"] = f"{__name__}:Transport"
