"""Calls to several keys at once: all of them, or as many as it takes until one answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


def in_parallel(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """What each task returns, in their order; one task runs in this thread, more in one thread each.

    All are run to their end; then the first exception among them is raised.
    """
    if len(tasks) <= 1:
        return [task() for task in tasks]
    futures: list[Future[T]] = [Future() for _ in tasks]
    threads = [
        Thread(target=_settle, args=each, name="kmsenvelope-wrap", daemon=True)
        for each in zip(tasks, futures, strict=True)
    ]
    started: list[Thread] = []
    try:
        for thread in threads:
            if _start(thread):
                started.append(thread)
    finally:
        for thread in started:
            thread.join()
    return [future.result() for future in futures]


def _settle(task: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(task())
    except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
        future.set_exception(error)


def _start(thread: Thread) -> bool:
    """Start it; where there is no thread to be had, as at the interpreter's end, do its work here."""
    try:
        thread.start()
    except RuntimeError:
        thread.run()
        return False
    return True


class Race(Generic[T]):
    """Attempts in the order of preference, of which the first to succeed wins.

    The next one starts when one before it fails, or has not answered for ``patience`` seconds. ``discard``
    gets what a loser returns too late.
    """

    def __init__(
        self, attempts: Sequence[Callable[[], T]], patience: float, discard: Callable[[T], None]
    ) -> None:
        self._attempts = attempts
        self._patience = patience
        self._discard = discard
        self._answers: SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = SimpleQueue()
        self._lock = Lock()
        self._over = False

    def run(self) -> T | None:
        """The winner's result, ``None`` if there is none.

        An attempt handles the errors that it expects and returns a falsy value; any other is raised here.
        """
        if len(self._attempts) == 1:
            return self._attempts[0]()
        started = answered = 0
        try:
            while answered < len(self._attempts):
                if started < len(self._attempts):
                    _start(Thread(target=self._try, args=(started,), name="kmsenvelope-open", daemon=True))
                    started += 1
                while started > answered:
                    try:
                        more = started < len(self._attempts)
                        value, error = self._answers.get(timeout=self._patience if more else None)
                    except Empty:
                        break
                    answered += 1
                    if error is not None:
                        raise error
                    if value:
                        return value
                    if more:
                        break
        finally:
            self._end()
        return None

    def _try(self, number: int) -> None:
        try:
            value = self._attempts[number]()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._answers.put((None, error))
            return
        with self._lock:
            if not self._over:
                self._answers.put((value, None))
                return
        self._discard(value)

    def _end(self) -> None:
        with self._lock:
            self._over = True
        while not self._answers.empty():
            value, error = self._answers.get()
            if error is None and value is not None:
                self._discard(value)
