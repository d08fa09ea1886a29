"""A progress bar on standard error: one line that is drawn over, or a line for each tenth where
nobody can watch it.
"""

import time
from dataclasses import dataclass, field
from typing import TextIO

WIDTH = 30
SECONDS_BETWEEN = 0.1


@dataclass(slots=True)
class Progress:
    """How much of `total` is done."""

    out: TextIO
    total: int
    done: int = 0
    _tenth: int = 0
    _began: float = field(default_factory=time.monotonic)
    _drawn: float = 0.0

    def step(self, what: str, count: int = 1) -> None:
        """So many more are done; `what` says which."""
        self.done += count
        last = self.done == self.total
        if self.out.isatty():
            now = time.monotonic()
            if last or now - self._drawn >= SECONDS_BETWEEN:
                self._drawn = now
                self.out.write(f"\r\x1b[K{self._bar()} {what}{self._left()}")
                self.out.flush()
        elif last or self.done * 10 // self.total > self._tenth:
            self._tenth = self.done * 10 // self.total
            self.out.write(f"{self.done * 100 // self.total} % {what}\n")
            self.out.flush()

    def close(self) -> None:
        """Leave the bar's line."""
        if self.done and self.out.isatty():
            self.out.write("\n")

    def _bar(self) -> str:
        full = self.done * WIDTH // self.total
        return f"[{'#' * full}{'.' * (WIDTH - full)}] {self.done * 100 // self.total} %"

    def _left(self) -> str:
        spent = time.monotonic() - self._began
        seconds = round(spent / self.done * (self.total - self.done))
        return f", {seconds // 60}:{seconds % 60:02d} left" if seconds else ""
