"""What was called: a list in memory for tests, and JSON lines in a file for an audit. Never any plaintext."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass

_KEPT = 100_000


@dataclass(frozen=True)
class CallRecord:
    """One call. ``outcome`` is ``ok``, an error code, or the name of the fault that hid the answer."""

    time: float
    request_id: str
    who: str | None
    region: str | None
    action: str | None
    key_id: str | None
    outcome: str


class Journal:
    """The calls so far, oldest first (the last 100 000). ``path`` gets each as a line of JSON, mode 0600."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._lock = threading.Lock()
        self._records: list[CallRecord] = []
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def add(self, record: CallRecord) -> None:
        """Keep one more call."""
        with self._lock:
            self._records.append(record)
            if len(self._records) > _KEPT:
                del self._records[: _KEPT // 10]
            if self._file is not None:
                os.write(self._file, (json.dumps(asdict(record)) + "\n").encode())

    def count(self, action: str | None = None, outcome: str | None = None) -> int:
        """How many calls of this action, with this outcome (``None``: any)."""
        return sum(action in (None, each.action) and outcome in (None, each.outcome) for each in self)

    def clear(self) -> None:
        """Forget the calls in memory; the file stays."""
        with self._lock:
            self._records.clear()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def __iter__(self) -> Iterator[CallRecord]:
        with self._lock:
            return iter(list(self._records))

    def __len__(self) -> int:
        with self._lock:
            return len(self._records)

    def __getitem__(self, index: int) -> CallRecord:
        with self._lock:
            return self._records[index]
