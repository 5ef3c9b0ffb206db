"""The background of one cache: renewals off the caller's thread, and expired DEKs wiped when nobody calls."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable

Job = Callable[[], None]

RENEWALS = 8
"""Renewals at work at once; at 50 ms a call they reach the service's 150 GenerateDataKey calls a second."""


class Housekeeper:
    """One daemon thread that lives while the cache holds a DEK, and one for each renewal at work.

    ``sweep()`` wipes what has expired and returns the seconds to the next expiry, ``None`` when nothing is
    left. It is held weakly: the thread does not keep the cache alive, and ends with it. Handing over a job
    never starts a thread on the caller's time.
    """

    def __init__(self, sweep: Callable[[], float | None]) -> None:
        self._sweep = weakref.WeakMethod(sweep, lambda _: self.stop())
        self.reset()

    def reset(self) -> None:
        """A fresh start: in the child after ``fork``, where no thread but the caller's exists."""
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._slots = threading.Semaphore(RENEWALS)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self) -> None:
        """See to it that the thread runs: a DEK has arrived, and the caller has waited for it anyway."""
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return
            thread = threading.Thread(target=self._run, name="kmsenvelope-housekeeper", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down, or the system has no thread to give
                return
            self._thread = thread

    def soon(self, job: Job) -> None:
        """Run ``job``, which handles its own errors, in the background."""
        self._jobs.put(job)

    def stop(self) -> None:
        """End the thread once it has handed out the jobs it has."""
        self._jobs.put(None)

    def _run(self) -> None:
        jobs = self._jobs
        while (wait := self._next_expiry()) is not None:
            try:
                job = jobs.get(timeout=wait)
            except queue.Empty:
                continue
            if job is None or not self._start(job):
                return
            del job

    def _start(self, job: Job) -> bool:
        self._slots.acquire()
        try:
            threading.Thread(target=self._work, args=(job,), name="kmsenvelope-renewal", daemon=True).start()
        except RuntimeError:  # as in watch
            self._slots.release()
            return False
        return True

    def _work(self, job: Job) -> None:
        try:
            job()
        finally:
            self._slots.release()

    def _next_expiry(self) -> float | None:
        wait = self._swept()
        if wait is None:
            with self._starting:  # a DEK may have come since: watch must see either it or no thread
                wait = self._swept()
                if wait is None:
                    self._thread = None
        return wait

    def _swept(self) -> float | None:
        sweep = self._sweep()
        return None if sweep is None else sweep()
