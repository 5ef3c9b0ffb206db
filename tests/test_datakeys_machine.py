"""Random interleavings of threads, expiries and faults: the promises of the data-key cache hold in all.

Every message runs on a thread of its own. A call to the KMS hangs until a rule answers it, so that Hypothesis
chooses who waits for whom, when windows close meanwhile and how each call ends.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from functools import partial

import pytest
from cachekit import FAULTS, SUITE, WIPED, Cache, fault
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kmsenvelope.datakeys import CachePolicy, Lease
from kmsenvelope.errors import EnvelopeError
from kmsenvelope.header import Header

CONTEXTS = ["a", "b"]
TRANSIENT = {"unavailable", "throttled"}

contexts = st.sampled_from(CONTEXTS)
seconds = st.sampled_from([0, 0, 0.5, 3, 10, 49.5, 50, 100])
picks = st.integers(0, 99)
answers = st.sampled_from(["ok", "ok", "ok", "later", "unavailable", *FAULTS])

policies = st.builds(
    CachePolicy,
    max_age=st.just(100.0),
    max_messages=st.sampled_from([1 << 32, 4, 2, 1]),
    max_bytes=st.sampled_from([1 << 40, 10]),
    capacity=st.sampled_from([100, 1]),
    refresh_ahead=st.sampled_from([None, 0.5]),
    stale_if_unavailable=st.sampled_from([0.0, 50.0]),
    decrypt_max_age=st.sampled_from([100.0, 60.0, 0.0]),
)


@dataclass
class Call:
    """One call that hangs in the KMS."""

    key: object
    answered: threading.Event = field(default_factory=threading.Event)
    kind: str | None = None


@dataclass
class Message:
    """One message, or one background job, on its thread."""

    key: object
    size: int
    work: object
    writes: bool = True
    lease: Lease | None = None
    error: BaseException | None = None
    seen: bool = False

    def start(self) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.lease = self.work()
        except BaseException as error:
            self.error = error


@dataclass
class Use:
    """What one DEK has been used for."""

    born: float
    context: object
    starts: int = 0
    bytes: int = 0


class CacheMachine(RuleBasedStateMachine):
    @initialize(policy=policies)
    def make(self, policy: CachePolicy) -> None:
        self.cache = Cache(policy)
        self.policy = policy
        self.headers = {context: self.cache.header(context) for context in CONTEXTS}
        self.of_header = dict(
            zip([h.encode() for h in self.headers.values()], self.cache.keys.made, strict=True)
        )
        self.cache.keys.gate = self.hang
        self.cache.keys.most_in_flight.clear()
        self.cache.keys.handed.clear()
        self.births: dict[int, float] = {}
        self.pending: list[Call] = []
        self.running: list[Message] = []
        self.held: list[Message] = []
        self.leases: dict[int, tuple[Lease, bytes]] = {}
        self.uses: dict[bytes, Use] = {}
        self.last: dict[object, str | None] = {}

    def hang(self, key: object) -> None:
        call = Call(key)
        self.pending.append(call)
        assert call.answered.wait(20)
        if call.kind is not None:
            raise fault(call.kind)

    # Rules

    @rule(
        context=contexts,
        passed=seconds,
        sizes=st.lists(st.sampled_from([None, 0, 1, 4, 11]), min_size=1, max_size=5),
        answer=answers,
    )
    def write(self, context: str, passed: float, sizes: list[int | None], answer: str) -> None:
        self.cache.clock.advance(passed)
        datakeys = self.cache.datakeys
        for size in sizes:
            self.start(Message(context, size or 0, partial(datakeys.for_writing, context, size)))
        self.answer_now(context, answer)

    @rule(context=contexts, passed=seconds, messages=st.integers(1, 3), answer=answers)
    def read(self, context: str, passed: float, messages: int, answer: str) -> None:
        self.cache.clock.advance(passed)
        header = self.headers[context]
        raw = header.encode()
        for _ in range(messages):
            work = partial(self.read_one, raw, header)
            self.start(Message(raw, 0, work, writes=False))
        self.answer_now(raw, answer)

    def read_one(self, raw: bytes, header: Header) -> Lease:
        return self.cache.datakeys.known(raw) or self.cache.datakeys.for_reading(header)

    @rule(pair=st.permutations(CONTEXTS))
    def read_with_the_recipients_of_another_context(self, pair: list[str]) -> None:
        header = Header(SUITE, self.headers[pair[0]].recipients, pair[1])
        raw = header.encode()
        self.start(Message(raw, 0, partial(self.read_one, raw, header), writes=False))
        self.answer_now(raw, "ok")

    # What is drawn never depends on what the threads did: the order of two waiters is not reproducible.

    @rule(pick=picks, answer=answers.filter(lambda answer: answer != "later"))
    def the_kms_answers(self, pick: int, answer: str) -> None:
        if self.pending:
            self.answer(self.pending[pick % len(self.pending)], answer)

    def answer_now(self, key: object, answer: str) -> None:
        """Answer the call that hangs for ``key``, unless it is to hang on."""
        for call in [call for call in self.pending if call.key == key and answer != "later"]:
            self.answer(call, answer)

    def answer(self, call: Call, answer: str) -> None:
        self.pending.remove(call)
        call.kind = self.last[call.key] = None if answer == "ok" else answer
        call.answered.set()
        self.settle()

    @rule()
    def the_background_works(self) -> None:
        if self.cache.background.jobs:
            job = self.cache.background.jobs.pop(0)
            self.start(Message(None, 0, job))

    @rule(key_id=st.sampled_from([None, None, None, "key-1", "another"]))
    def the_housekeeper_sweeps_or_the_owner_forgets(self, key_id: str | None) -> None:
        if key_id is None:
            self.cache.datakeys._sweep()
            shelves = (self.cache.datakeys._writing, self.cache.datakeys._reading)
            leases = [lease for shelf in shelves for lease in shelf._by_age.values()]
            assert all(self.cache.clock.now < lease.gone_at for lease in leases)
        else:
            self.cache.datakeys.forget(key_id)
            if key_id == "key-1":
                assert self.cache.stat("held") == {"encrypt": 0, "decrypt": 0}

    @rule(keep=st.integers(0, 2))
    def messages_finish(self, keep: int) -> None:
        while len(self.held) > keep:
            with self.held.pop().lease:
                pass

    @rule(pick=picks, size=st.sampled_from([1, 9, 1 << 50]))
    def bytes_flow(self, pick: int, size: int) -> None:
        if not self.held:
            return
        lease = self.held[pick % len(self.held)].lease
        lease.charge(size)
        if self.leases[id(lease)][1] in self.uses:
            self.uses[self.leases[id(lease)][1]].bytes += size

    # What must hold

    @invariant()
    def one_call_in_flight_for_each_entry(self) -> None:
        for key, most in self.cache.keys.most_in_flight.items():
            side = self.cache.datakeys._readers if isinstance(key, bytes) else self.cache.datakeys._writers
            assert most <= 1 or not side.reuses

    @invariant()
    def a_dek_is_wiped_exactly_when_it_has_left_and_nobody_uses_it(self) -> None:
        shelves = (self.cache.datakeys._writing, self.cache.datakeys._reading)
        cached = {id(lease) for shelf in shelves for lease in shelf._by_age.values()}
        used = {id(message.lease) for message in self.held}
        for name, (lease, dek) in self.leases.items():
            assert bytes(lease.dek) == (dek if name in cached | used else WIPED)
        assert all(bytes(buffer) == WIPED for buffer in self.cache.keys.handed)

    @invariant()
    def no_more_than_capacity(self) -> None:
        assert all(held <= self.policy.capacity for held in self.cache.stat("held").values())

    def judge(self, batch: list[Message]) -> None:
        """Check the messages that got the same DEK in one step: their order among themselves is unknown."""
        for message in batch:
            if message.error is not None:
                assert isinstance(message.error, EnvelopeError), message.error
        got = [message for message in batch if message.lease is not None]
        for message in got:
            assert bytes(message.lease.dek) != WIPED
            self.leases.setdefault(id(message.lease), (message.lease, bytes(message.lease.dek)))
            self.held.append(message)
        for lease in {id(message.lease): message.lease for message in got}.values():
            dek = bytes(lease.dek)
            self.judge_use(lease, dek, [message for message in got if message.lease is lease])

    def judge_use(self, lease: Lease, dek: bytes, group: list[Message]) -> None:
        now, policy = self.cache.clock.now, self.policy
        if not group[0].writes:
            assert {message.key for message in group} == {lease.header}
            assert dek == self.of_header[lease.header]
            assert now - self.born_of(lease, now) < max(policy.decrypt_max_age, 0.001) + self.stale_now(lease)
            return
        assert (
            {message.key for message in group}
            == {self.cache.keys.made[dek]}
            == {lease.header_value.context_json}
        )
        fresh = dek not in self.uses
        use = self.uses.setdefault(dek, Use(self.born_of(lease, now), lease.header_value.context_json))
        assert now - use.born < policy.max_age + self.stale_now(lease)
        use.starts += len(group)
        assert use.starts <= policy.max_messages
        size = sum(message.size for message in group)
        if not (fresh and len(group) == 1):
            assert use.bytes < policy.max_bytes
            assert use.bytes + size <= policy.max_bytes
        use.bytes += size

    def born_of(self, lease: Lease, now: float) -> float:
        """The time at which the lease was first seen: the step in which it came."""
        return self.births.setdefault(id(lease), now)

    def stale_now(self, lease: Lease) -> float:
        """Seconds past its age that a DEK may serve now."""
        down = self.last.get(lease.key) in TRANSIENT
        return self.policy.stale_if_unavailable if down else 0.0

    # Threads

    def start(self, message: Message) -> None:
        self.running.append(message)
        message.start()
        self.settle()

    def settle(self) -> None:
        """Wait until every thread has ended, hangs in the KMS or waits for one that does."""
        deadline = time.monotonic() + 20
        while not all(self.at_rest(message) for message in self.running):
            assert time.monotonic() < deadline, "a thread neither ends nor waits: a lost wake-up"
            time.sleep(0.0002)
        ended = [message for message in self.running if not message.thread.is_alive()]
        self.running = [message for message in self.running if message.thread.is_alive()]
        self.note_births()
        self.judge(ended)

    def note_births(self) -> None:
        for shelf in (self.cache.datakeys._writing, self.cache.datakeys._reading):
            for lease in shelf._by_age.values():
                self.born_of(lease, self.cache.clock.now)
                self.leases.setdefault(id(lease), (lease, bytes(lease.dek)))

    @staticmethod
    def at_rest(message: Message) -> bool:
        if not message.thread.is_alive():
            return True
        frame = sys._current_frames().get(message.thread.ident)
        while frame is not None:
            if frame.f_code.co_name == "hang":
                call = frame.f_locals.get("call")
                return call is not None and not call.answered.is_set() and call in _self_of(frame).pending
            if frame.f_code.co_name == "_wait":
                flight = frame.f_locals.get("flight")
                return flight is not None and not flight.done()
            frame = frame.f_back
        return False

    def teardown(self) -> None:
        if not hasattr(self, "cache"):
            return
        self.cache.keys.gate = lambda key: None
        for call in self.pending:
            call.answered.set()
        self.pending.clear()
        self.settle()
        for message in self.held:
            with message.lease:
                pass
        self.held.clear()
        self.cache.datakeys.close()
        assert all(bytes(lease.dek) == WIPED for lease, _ in self.leases.values())
        with pytest.raises(ValueError, match="closed"):
            self.cache.datakeys.for_writing(None)


def _self_of(frame) -> CacheMachine:
    return frame.f_locals["self"]


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
