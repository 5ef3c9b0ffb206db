"""KeySet: who becomes a recipient, what happens at the same time, and who is asked to open."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from kmsenvelope.errors import (
    AuthenticationError,
    KmsAccessDenied,
    KmsUnavailable,
    NoUsableKey,
    RecipientSkipped,
)
from kmsenvelope.header import Header, Recipient
from kmsenvelope.keyset import KeySet
from kmsenvelope.parallel import Race, in_parallel
from kmsenvelope.suites import Suite

AES = Suite.AES_256_GCM


def quiet(*_: Any) -> None:
    """An observer that takes no interest."""


def down(action: str = "Decrypt") -> KmsUnavailable:
    return KmsUnavailable("no answer", code="ConnectionError", action=action, retryable=True)


class Cmk:
    """A key whose KMS is this object: ``wrapped`` is the DEK in hexadecimal."""

    def __init__(
        self, name: str, *, error: Exception | None = None, before: Callable[[], None] = quiet
    ) -> None:
        self.key_id = name
        self.error = error
        self.before = before
        self.calls: list[str] = []

    def __str__(self) -> str:
        return f"fake:{self.key_id}"

    def call(self, action: str) -> None:
        self.calls.append(action)
        self.before()
        if self.error is not None:
            raise self.error

    def generate(self, suite: Suite, context_json: str | None) -> tuple[bytearray, Recipient]:
        self.call("GenerateDataKey")
        dek = bytearray(os.urandom(suite.key_size))
        return dek, Recipient("fake", self.key_id, dek.hex())

    def wrap(self, dek: bytes, context_json: str | None) -> Recipient:
        self.call("Encrypt")
        return Recipient("fake", self.key_id, bytes(dek).hex())

    def opens(self, recipient: Recipient) -> bool:
        return recipient.key_id == self.key_id

    def unwrap(self, recipient: Recipient, context_json: str | None) -> bytearray:
        self.call("Decrypt")
        return bytearray.fromhex(recipient.wrapped)


class Public:
    """A key that only wraps, here."""

    kms, region, alg = "fake", None, "TEST"

    def __init__(self, name: str) -> None:
        self.key_id = name

    def __str__(self) -> str:
        return f"fake:{self.key_id}"

    def wrap(self, dek: bytes, context_json: str | None) -> Recipient:
        return Recipient("fake", self.key_id, bytes(dek).hex(), alg="TEST")

    def opens(self, recipient: Recipient) -> bool:
        return recipient.key_id == self.key_id


def header(*names: str, dek: bytes = bytes(32)) -> Header:
    return Header(AES, tuple(Recipient("fake", name, dek.hex()) for name in names))


# Wrapping.


def test_the_first_key_makes_the_dek_and_the_others_wrap_it_in_their_order() -> None:
    keys = [Public("p"), Cmk("a"), Cmk("b"), Public("q"), Cmk("c")]
    dek, recipients = KeySet(keys).generate(AES, None, quiet)
    assert [one.key_id for one in recipients] == ["p", "a", "b", "q", "c"]
    assert {one.wrapped for one in recipients} == {dek.hex()}
    assert [key.calls for key in keys if isinstance(key, Cmk)] == [
        ["GenerateDataKey"],
        ["Encrypt"],
        ["Encrypt"],
    ]


def test_all_keys_wrap_at_the_same_time() -> None:
    meeting = threading.Barrier(15, timeout=10)
    keys = [Cmk("first"), *(Cmk(f"k{n}", before=meeting.wait) for n in range(15))]
    _, recipients = KeySet(keys).generate(AES, None, quiet)
    assert len(recipients) == 16


def test_one_other_key_needs_no_thread() -> None:
    threads: list[threading.Thread] = []
    other = Cmk("b", before=lambda: threads.append(threading.current_thread()))
    KeySet([Cmk("a"), other, Public("p")]).generate(AES, None, quiet)
    assert threads == [threading.current_thread()]


def test_only_public_keys_make_the_dek_here_and_tell_of_no_call() -> None:
    calls: list[Any] = []
    dek, recipients = KeySet([Public("p")]).generate(AES, None, lambda *call: calls.append(call))
    assert recipients[0].wrapped == dek.hex()
    assert len(dek) == 32
    assert calls == []


def test_every_call_to_a_kms_is_told_with_its_key_and_error() -> None:
    calls: list[tuple[str, str, bool]] = []
    keys = KeySet([Cmk("a"), Cmk("b", error=down())])
    with pytest.raises(KmsUnavailable):
        keys.generate(AES, None, lambda action, key, error, _: calls.append((action, key, error is None)))
    assert calls == [("GenerateDataKey", "a", True), ("Encrypt", "b", False)]


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_with_require_all_one_failing_key_fails_the_call(broken: int) -> None:
    keys = [Cmk(name, error=down() if n == broken else None) for n, name in enumerate("abc")]
    with pytest.raises(KmsUnavailable):
        KeySet(keys).generate(AES, None, quiet)


@pytest.mark.parametrize("broken", [{0}, {1}, {2}, {0, 1}, {0, 2}, {1, 2}])
def test_without_require_all_the_others_are_used_and_nobody_is_dropped_in_silence(
    broken: set[int], caplog: pytest.LogCaptureFixture
) -> None:
    keys = [Cmk(name, error=down() if n in broken else None) for n, name in enumerate("abc")]
    told: list[str] = []
    keyset = KeySet(keys, require_all=False, on_skip=lambda name, error: told.append(name))
    with pytest.warns(RecipientSkipped) as warned:
        dek, recipients = keyset.generate(AES, None, quiet)
    left_out = [f"fake:{'abc'[n]}" for n in sorted(broken)]
    assert [str(one) for one in recipients] == [str(key) for key in keys if str(key) not in left_out]
    assert {one.wrapped for one in recipients} == {dek.hex()}
    assert told == left_out
    assert [any(name in str(each.message) for each in warned) for name in left_out] == [True] * len(left_out)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * len(left_out)


def test_without_require_all_one_recipient_must_be_left() -> None:
    keys = [Cmk("a", error=down()), Cmk("b", error=KmsAccessDenied("no", code="AuthFailure", action="x"))]
    with pytest.raises((KmsUnavailable, KmsAccessDenied)):
        KeySet(keys, require_all=False).generate(AES, None, quiet)


def test_without_require_all_public_keys_alone_are_enough() -> None:
    with pytest.warns(RecipientSkipped, match="fake:a"):
        dek, recipients = KeySet([Cmk("a", error=down()), Public("p")], require_all=False).generate(
            AES, None, quiet
        )
    assert [one.key_id for one in recipients] == ["p"]
    assert len(dek) == 32


def test_an_error_that_is_not_the_kms_own_is_never_a_skipped_recipient() -> None:
    with pytest.raises(ZeroDivisionError):
        KeySet([Cmk("a"), Cmk("b", error=ZeroDivisionError())], require_all=False).generate(AES, None, quiet)


def test_the_dek_is_wiped_if_it_cannot_be_wrapped() -> None:
    seen: list[bytearray] = []

    class Keeps(Cmk):
        def generate(self, suite: Suite, context_json: str | None) -> tuple[bytearray, Recipient]:
            made = super().generate(suite, context_json)
            seen.append(made[0])
            return made

    with pytest.raises(KmsUnavailable):
        KeySet([Keeps("a"), Cmk("b", error=down())]).generate(AES, None, quiet)
    assert seen == [bytearray(32)]


def test_a_public_key_and_the_cmk_that_it_belongs_to_are_one_recipient() -> None:
    cmk = Cmk("a")
    for keys in ([Public("a"), cmk], [cmk, Public("a")]):
        keyset = KeySet(keys)
        dek, recipients = keyset.generate(AES, None, quiet)
        assert [one.alg for one in recipients] == ["TEST"]
        assert keyset.unwrap(Header(AES, recipients), quiet)[0] == dek
    assert cmk.calls == ["Decrypt", "Decrypt"]


def test_one_key_under_two_names_is_found_out_before_an_envelope_names_it_twice() -> None:
    class Alias(Cmk):
        def __str__(self) -> str:
            return "fake:alias"

    with pytest.raises(ValueError, match="twice, by its alias: fake:a"):
        KeySet([Cmk("a"), Alias("a")]).generate(AES, None, quiet)


@pytest.mark.parametrize("count", [0, 17])
def test_a_number_of_keys_that_no_envelope_can_have_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=r"at least one|at most 16"):
        KeySet([Cmk(f"k{n}") for n in range(count)])


def test_an_opener_that_wraps_nothing_cannot_encrypt_but_may_stand_beside_a_key_that_can() -> None:
    class Whole:
        def opens(self, recipient: Recipient) -> bool:
            return True

        def unwrap(self, recipient: Recipient, context_json: str | None) -> bytearray:
            return bytearray.fromhex(recipient.wrapped)

        def __str__(self) -> str:
            return "the whole of it"

    with pytest.raises(TypeError, match=r"the whole of it can open envelopes but not encrypt"):
        KeySet([Whole()]).generate(AES, None, quiet)
    keyset = KeySet([Whole(), Cmk("a")])
    _, recipients = keyset.generate(AES, None, quiet)
    assert [one.key_id for one in recipients] == ["a"]
    assert keyset.unwrap(header("somebody", dek=bytes(range(32))), quiet)[0] == bytes(range(32))


# Opening.


def test_the_first_configured_key_opens_whatever_the_order_in_the_header() -> None:
    near, far = Cmk("near"), Cmk("far")
    _, opener = KeySet([near, far]).unwrap(header("far", "near"), quiet)
    assert (opener.key_id, near.calls, far.calls) == ("near", ["Decrypt"], [])


@pytest.mark.parametrize("error", [down(), AuthenticationError("damaged")])
def test_a_key_that_fails_is_followed_by_the_next(error: Exception) -> None:
    near, far = Cmk("near", error=error), Cmk("far")
    dek, opener = KeySet([near, far]).unwrap(header("near", "far", dek=bytes(range(32))), quiet)
    assert (dek, opener.key_id) == (bytes(range(32)), "far")


def test_a_key_that_does_not_answer_is_overtaken_and_what_it_says_later_is_wiped() -> None:
    release = threading.Event()
    given: list[bytearray] = []

    class Slow(Cmk):
        def unwrap(self, recipient: Recipient, context_json: str | None) -> bytearray:
            given.append(super().unwrap(recipient, context_json))
            return given[0]

    near = Slow("near", before=lambda: release.wait(10) or None)
    start = time.monotonic()
    dek, opener = KeySet([near, Cmk("far")], patience=0.05).unwrap(
        header("near", "far", dek=b"x" * 32), quiet
    )
    assert (dek, opener.key_id) == (b"x" * 32, "far")
    assert time.monotonic() - start < 5
    release.set()
    while not given or any(given[0]):
        assert time.monotonic() - start < 10
        time.sleep(0.01)


def test_the_next_key_is_not_asked_while_the_first_one_may_still_answer() -> None:
    far = Cmk("far")
    near = Cmk("near", before=lambda: time.sleep(0.05))
    KeySet([near, far], patience=10).unwrap(header("near", "far"), quiet)
    assert far.calls == []


def test_no_usable_key_has_a_reason_for_each_recipient_in_their_order() -> None:
    keys = [Cmk("a", error=down()), Public("p"), Cmk("c")]
    short = Recipient("fake", "c", "00")
    recipients = (Recipient("fake", "other", "00"), short, *header("p", "a").recipients)
    with pytest.raises(NoUsableKey) as caught:
        KeySet(keys).unwrap(Header(AES, recipients), quiet)
    assert [name for name, _ in caught.value.reasons] == ["fake:other", "fake:c", "fake:p", "fake:a"]
    reasons = [why for _, why in caught.value.reasons]
    assert reasons[0] == "no key of this client"
    assert reasons[1] == "unwrapped to 1 bytes, not the 32 of a DEK"
    assert reasons[2] == "only its public key was given"
    assert "no answer" in reasons[3]
    assert all(why in str(caught.value) for why in reasons)


def test_a_client_of_only_public_keys_says_that_it_cannot_open() -> None:
    with pytest.raises(NoUsableKey, match="a client of public keys can only encrypt"):
        KeySet([Public("p")]).unwrap(header("p"), quiet)


def test_a_header_that_names_one_key_sixteen_times_costs_one_call() -> None:
    key = Cmk("a", error=down())
    with pytest.raises(NoUsableKey, match="asked once"):
        KeySet([key]).unwrap(header(*["a"] * 16), quiet)
    assert key.calls == ["Decrypt"]


def test_an_alias_that_cannot_be_looked_up_is_a_reason_and_not_the_end() -> None:
    class Unknown(Cmk):
        def opens(self, recipient: Recipient) -> bool:
            raise down("ListKeyDetail")

    assert KeySet([Unknown("x"), Cmk("b")]).unwrap(header("a", "b"), quiet)[1].key_id == "b"
    with pytest.raises(NoUsableKey, match="ListKeyDetail"):
        KeySet([Unknown("x")]).unwrap(header("a"), quiet)


def test_an_unexpected_error_of_a_key_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        KeySet([Cmk("a", error=ZeroDivisionError()), Cmk("b")]).unwrap(header("a", "b"), quiet)


# The two ways to ask several at once.


def test_in_parallel_keeps_the_order_and_raises_the_first_error_after_all_have_run() -> None:
    ran: list[int] = []

    def task(number: int) -> int:
        ran.append(number)
        if number == 1:
            raise KeyError(number)
        return number

    assert in_parallel([lambda n=n: task(n) for n in (3, 0, 2)]) == [3, 0, 2]
    assert in_parallel([]) == []
    with pytest.raises(KeyError):
        in_parallel([lambda n=n: task(n) for n in (1, 4, 5)])
    assert sorted(ran) == [0, 1, 2, 3, 4, 5]


def test_a_race_that_nobody_wins_ends_with_none() -> None:
    assert Race([], 0.01, quiet).run() is None
    assert Race([lambda: None], 0.01, quiet).run() is None
    assert Race([lambda: None, lambda: time.sleep(0.05), lambda: None], 0.01, quiet).run() is None


def test_what_ends_a_thread_ends_the_wait_for_it_too() -> None:
    def leave() -> None:
        raise SystemExit(3)

    for wait in (Race([leave, leave], 0.01, quiet).run, partial(in_parallel, [leave, leave])):
        with pytest.raises(SystemExit):
            wait()


WITHOUT_THREADS = """
import os, resource
from kmsenvelope.parallel import Race, in_parallel
if os.geteuid() == 0:  # whom the limit does not bind
    os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
print(in_parallel([lambda: 1, lambda: 2]), Race([lambda: None, lambda: 3], 9, print).run())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs RLIMIT_NPROC for threads")
def test_a_process_that_may_start_no_thread_asks_one_after_the_other() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THREADS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("[1, 2] 3\n", "")
