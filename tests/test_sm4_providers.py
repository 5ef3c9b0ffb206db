"""SM4-GCM by OpenSSL and by libgcrypt: the same bytes, the same refusals, and which one is used."""

from __future__ import annotations

import copy
import hashlib
import mmap
import os
import pickle
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from hypothesis import given
from hypothesis import strategies as st

from kmsenvelope.chunked import CHUNK, SEALED
from kmsenvelope.ciphers import TAG_SIZE, Aead, libgcrypt, openssl, selftest
from kmsenvelope.ciphers.select import (
    Provider,
    choose,
    examine_libgcrypt,
    judge,
    sm4_gcm,
    sm4_providers,
    sm4_status,
)

USABLE = [provider for provider in sm4_providers() if provider.make]
BOTH = len(USABLE) == 2
needs_both = pytest.mark.skipif(not BOTH, reason="libgcrypt is not usable here")
KEY = selftest.RFC8998_KEY

every_provider = pytest.mark.parametrize(
    "make", [pytest.param(provider.make, id=provider.name) for provider in USABLE]
)
Make = Callable[[bytes], Aead]


def nonces(count: int, base: int = 7) -> list[bytes]:
    return [(base + index).to_bytes(12, "big") for index in range(count)]


def pieces(size: int, step: int = CHUNK) -> int:
    return -(-size // step) or 1


def seal(make: Make, data: bytes, *, key: bytes = KEY, step: int = CHUNK, base: int = 7) -> bytearray:
    count = pieces(len(data), step)
    out = bytearray(len(data) + count * TAG_SIZE)
    assert make(key).seal_run(nonces(count, base), step, data, out) == len(out)
    return out


# --- the same bytes ---


@every_provider
def test_rfc_8998_vector(make: Make) -> None:
    sealed, opened = bytearray(len(selftest.RFC8998_SEALED)), bytearray(len(selftest.RFC8998_DATA))
    make(KEY).seal_into(
        selftest.RFC8998_NONCE, selftest.RFC8998_DATA, memoryview(sealed), selftest.RFC8998_AAD
    )
    make(KEY).open_into(selftest.RFC8998_NONCE, sealed, memoryview(opened), selftest.RFC8998_AAD)
    assert sealed == selftest.RFC8998_SEALED
    assert opened == selftest.RFC8998_DATA


BOUNDARIES = sorted(
    {max(0, k * CHUNK + d) for k in range(4) for d in (-17, -16, -1, 0, 1, 15, 16, 17)}
    | {128, 255, 256, 257, 511, 512, 513, 1024}
)


@needs_both
@pytest.mark.parametrize("size", BOUNDARIES)
def test_providers_seal_the_same_bytes_at_every_boundary(size: int) -> None:
    data = os.urandom(size)
    assert seal(libgcrypt.Sm4Gcm, data) == seal(openssl.Sm4Gcm, data)


@needs_both
@given(
    key=st.binary(min_size=16, max_size=16),
    size=st.integers(0, 3 * CHUNK) | st.sampled_from(BOUNDARIES),
    step=st.sampled_from([CHUNK, CHUNK, 1, 16, 100, 4096]),
    base=st.integers(0, 2**96 - 2**16),
    seed=st.integers(0, 255),
)
def test_providers_seal_the_same_and_open_each_other(
    key: bytes, size: int, step: int, base: int, seed: int
) -> None:
    data = hashlib.shake_128(bytes([seed])).digest(min(size, 600 * step))
    by_openssl = seal(openssl.Sm4Gcm, data, key=key, step=step, base=base)
    assert seal(libgcrypt.Sm4Gcm, data, key=key, step=step, base=base) == by_openssl
    for make in (openssl.Sm4Gcm, libgcrypt.Sm4Gcm):
        opened = bytearray(len(data))
        count = pieces(len(data), step)
        written = make(key).open_run(nonces(count, base), step + TAG_SIZE, by_openssl, opened)
        assert (written, opened) == (len(data), data)


@every_provider
def test_a_run_is_its_pieces_sealed_one_by_one(make: Make) -> None:
    data = os.urandom(2 * CHUNK + 5)
    one_by_one = bytearray()
    for index, nonce in enumerate(nonces(3)):
        piece = data[index * CHUNK : (index + 1) * CHUNK]
        out = bytearray(len(piece) + TAG_SIZE)
        make(KEY).seal_into(nonce, piece, memoryview(out))
        one_by_one += out
    assert seal(make, data) == one_by_one


@every_provider
def test_any_kind_of_buffer_goes_in(make: Make) -> None:
    data = os.urandom(CHUNK + 100)
    expected = seal(make, data)
    with mmap.mmap(-1, len(data)) as mapped:
        mapped[:] = data
        shifted = memoryview(b"xxx" + data + b"yyy")[3:-3]
        for buffer in (bytearray(data), memoryview(data), memoryview(bytearray(data)), shifted):
            out = bytearray(len(expected))
            make(KEY).seal_run(nonces(2), CHUNK, buffer, out)
            assert out == expected
        out = bytearray(len(expected))
        with memoryview(mapped) as view:
            make(KEY).seal_run(nonces(2), CHUNK, view, memoryview(out))
        assert out == expected


@every_provider
def test_one_instance_serves_many_runs_in_both_directions(make: Make) -> None:
    aead, data = make(KEY), os.urandom(2 * CHUNK)
    sealed, opened = bytearray(2 * SEALED), bytearray(len(data))
    for base in range(20):
        aead.seal_run(nonces(2, base), CHUNK, data, sealed)
        aead.open_run(nonces(2, base), SEALED, sealed, opened)
        assert opened == data
        sealed[-1] ^= 1
        with pytest.raises(InvalidTag):
            aead.open_run(nonces(2, base), SEALED, sealed, opened)


# --- refusals ---


@every_provider
@pytest.mark.parametrize("where", [0, 1, CHUNK - 1, CHUNK, SEALED - 1])
@pytest.mark.parametrize("piece", [0, 1, 2])
def test_an_altered_piece_leaves_what_came_before_and_nothing_of_its_own(
    make: Make, piece: int, where: int
) -> None:
    data = os.urandom(3 * CHUNK)
    sealed = seal(make, data)
    sealed[piece * SEALED + where] ^= 0x80
    out = bytearray(b"\xaa" * len(data))
    with pytest.raises(InvalidTag):
        make(KEY).open_run(nonces(3), SEALED, sealed, out)
    good = piece * CHUNK
    assert out[:good] == data[:good]
    assert out[good : good + CHUNK] == bytes(CHUNK)
    assert out[good + CHUNK :] == b"\xaa" * (len(data) - good - CHUNK)


@every_provider
@pytest.mark.parametrize("wrong", ["key", "nonce", "aad", "tag"])
def test_the_wrong_thing_opens_nothing(make: Make, wrong: str) -> None:
    sealed = seal(make, b"secret" * 50)
    if wrong == "tag":
        sealed[-16:] = bytes(16)
    out = bytearray(b"\xaa" * 300)
    with pytest.raises(InvalidTag):
        make(bytes(16) if wrong == "key" else KEY).open_into(
            bytes(12) if wrong == "nonce" else nonces(1)[0],
            sealed,
            memoryview(out),
            b"more" if wrong == "aad" else b"",
        )
    assert out == bytes(300)


@every_provider
@pytest.mark.parametrize("left", [0, 1, 15])
def test_data_shorter_than_a_tag_is_not_authentic(make: Make, left: int) -> None:
    with pytest.raises(InvalidTag):
        make(KEY).open_run(nonces(1), SEALED, bytes(left), bytearray(16))
    whole = seal(make, bytes(CHUNK))
    if left:
        with pytest.raises(InvalidTag):
            make(KEY).open_run(nonces(2), SEALED, whole + bytes(left), bytearray(2 * CHUNK))


@every_provider
@pytest.mark.parametrize("count", [0, 1, 3])
def test_nonces_and_pieces_must_match(make: Make, count: int) -> None:
    with pytest.raises(ValueError):
        make(KEY).seal_run(nonces(count), CHUNK, bytes(CHUNK + 1), bytearray(2 * SEALED))
    with pytest.raises(ValueError):
        make(KEY).open_run(nonces(count), SEALED, seal(make, bytes(CHUNK + 1)), bytearray(2 * CHUNK))


@needs_both
def test_libgcrypt_never_writes_past_the_output_or_into_a_constant() -> None:
    aead, sealed = libgcrypt.Sm4Gcm(KEY), seal(libgcrypt.Sm4Gcm, bytes(100))
    room = bytearray(200)
    with pytest.raises(ValueError, match="has 115 bytes and needs 116"):
        aead.seal_run(nonces(1), CHUNK, bytes(100), memoryview(room)[:115])
    with pytest.raises(ValueError, match="has 99 bytes and needs 100"):
        aead.open_run(nonces(1), SEALED, sealed, memoryview(room)[:99])
    assert room == bytes(200)
    with pytest.raises(BufferError):
        aead.seal_run(nonces(1), CHUNK, bytes(4), bytes(20))  # type: ignore[arg-type]
    with pytest.raises(BufferError):
        aead.seal_run(nonces(1), CHUNK, memoryview(bytes(8))[::2], room)


@every_provider
@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_key_of_another_size_is_refused(make: Make, size: int) -> None:
    with pytest.raises(ValueError):
        make(bytes(size))


# --- life of a key in libgcrypt ---


@needs_both
def test_a_closed_cipher_says_so_and_closes_twice() -> None:
    aead = libgcrypt.Sm4Gcm(KEY)
    aead.close()
    aead.close()
    with pytest.raises(ValueError, match="closed"):
        aead.seal_into(bytes(12), b"", memoryview(bytearray(16)))


@needs_both
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_cipher_is_not_copied(duplicate: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="cannot be copied"):
        duplicate(libgcrypt.Sm4Gcm(KEY))


@needs_both
def test_threads_that_share_an_instance_take_turns() -> None:
    aead, data = libgcrypt.Sm4Gcm(KEY), os.urandom(8 * CHUNK)
    expected, wrong = seal(libgcrypt.Sm4Gcm, data), []

    def work() -> None:
        out = bytearray(len(expected))
        for _ in range(20):
            aead.seal_run(nonces(8), CHUNK, data, out)
            if out != expected:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@needs_both
def test_other_threads_run_while_libgcrypt_works() -> None:
    size = 64 << 20
    data, out, ticks = bytearray(size), bytearray(size + TAG_SIZE), 0
    worker = threading.Thread(target=libgcrypt.Sm4Gcm(KEY).seal_run, args=(nonces(1), size, data, out))
    worker.start()
    while worker.is_alive():
        time.sleep(0.001)
        ticks += 1
    worker.join()
    assert ticks >= 5


@needs_both
def test_a_forked_child_goes_on_with_its_own_copy() -> None:
    script = """
import os
from kmsenvelope.ciphers.libgcrypt import Sm4Gcm
def sealed():
    out = bytearray(1016)
    aead.seal_into(bytes(12), bytes(1000), memoryview(out))
    return bytes(out)
aead = Sm4Gcm(bytes(16))
before = sealed()
child = os.fork()
if child == 0:
    os._exit(0 if sealed() == before else 1)
assert os.waitpid(child, 0)[1] == 0
assert sealed() == before
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


HOLDS_A_KEY = """
import sys
from kmsenvelope.ciphers.libgcrypt import Sm4Gcm
def say(word):
    print(word, flush=True)
    sys.stdin.readline()
key = bytes.fromhex(sys.stdin.readline())
aead = Sm4Gcm(key)
aead.seal_into(bytes(12), bytes(1000), memoryview(bytearray(1016)))
say("open")
if sys.argv[1] == "close":
    aead.close()
else:
    del aead
say("wiped")
"""


def occurrences(pid: int, pattern: bytes) -> int:
    """How often ``pattern`` is in the writable memory of a process."""
    found = 0
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, mode = line.split()[:2]
            if mode.startswith("rw") and "[v" not in line:
                start, end = (int(part, 16) for part in span.split("-"))
                memory.seek(start)
                found += memory.read(end - start).count(pattern)
    return found


@needs_both
@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs /proc")
@pytest.mark.parametrize("how", ["close", "collect"])
def test_the_round_keys_are_wiped(how: str) -> None:
    sm4 = pytest.importorskip("gmssl.sm4")
    key = os.urandom(16)
    oracle = sm4.CryptSM4()
    oracle.set_key(key, sm4.SM4_ENCRYPT)
    round_keys = struct.pack("=8I", *oracle.sk[:8])
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS_A_KEY, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(key.hex() + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "open\n"
        while_open = occurrences(process.pid, round_keys)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "wiped\n"
        afterwards = occurrences(process.pid, round_keys)
        process.stdin.write("\n")
    assert while_open >= 1
    assert afterwards == 0


# --- the self-test ---


class Faulty(openssl.Sm4Gcm):
    """Wrong in one respect."""

    wrong = ""

    def seal_into(self, nonce: bytes, data: bytes, out: memoryview, aad: bytes = b"") -> None:  # type: ignore[override]
        super().seal_into(nonce, data, out, b"" if self.wrong == "aad" else aad)
        if self.wrong == "short" or (self.wrong == "long" and len(data) > 512):
            out[0] ^= 1

    def open_into(self, nonce: bytes, sealed: bytes, out: memoryview, aad: bytes = b"") -> None:  # type: ignore[override]
        try:
            super().open_into(nonce, sealed, out, aad)
        except InvalidTag:
            if self.wrong != "lax":
                raise
        if self.wrong == "opens wrong":
            out[0] ^= 1


def test_a_libgcrypt_that_offers_sm4_passes() -> None:
    try:
        libgcrypt.Sm4Gcm(KEY).close()
    except libgcrypt.LibgcryptError as error:
        pytest.skip(f"libgcrypt {error}")
    assert selftest.fault(libgcrypt.Sm4Gcm) == ""
    assert examine_libgcrypt().make is libgcrypt.Sm4Gcm


@pytest.mark.parametrize("wrong", ["", "short", "aad", "long", "opens wrong", "lax"])
def test_the_self_test_finds_a_library_that_is_wrong(wrong: str) -> None:
    fault = selftest.fault(type("Case", (Faulty,), {"wrong": wrong}))
    assert bool(fault) is bool(wrong)


# --- the choice ---

WITHOUT_FEATURES = """
import ctypes, sys
from kmsenvelope.ciphers import libgcrypt, openssl, selftest
from kmsenvelope.ciphers.select import examine_libgcrypt
disable_hardware_feature = 63
dll = ctypes.CDLL(libgcrypt.SONAME)
for feature in sys.argv[1:]:
    assert dll.gcry_control(disable_hardware_feature, feature.encode(), None) == 0
assert not set(sys.argv[1:]) & libgcrypt.load().features
assert selftest.fault(libgcrypt.Sm4Gcm) == ""
for size in (0, 1, 16, 511, 512, 513, 5000, 16384):
    data, sealed = (bytes(range(256)) * 64)[:size], set()
    for make in (libgcrypt.Sm4Gcm, openssl.Sm4Gcm):
        out = bytearray(size + 16)
        make(bytes(16)).seal_into(bytes(12), data, memoryview(out))
        sealed.add(bytes(out))
    assert len(sealed) == 1, size
print(examine_libgcrypt().good)
"""


@needs_both
@pytest.mark.parametrize(
    "missing",
    [
        {"intel-avx512"},
        {"intel-avx512", "intel-gfni"},
        {"intel-avx512", "intel-gfni", "intel-avx2"},
        {"intel-avx512", "intel-gfni", "intel-aesni"},
        {"intel-avx512", "intel-avx2", "intel-avx"},
        {"intel-pclmul", "intel-vaes-vpclmul"},
    ],
    ids=" ".join,
)
def test_every_code_path_of_libgcrypt_gives_the_same_bytes_and_slow_ones_are_not_chosen(
    missing: set[str],
) -> None:
    library = libgcrypt.load()
    present = missing & library.features
    if not present:
        pytest.skip("this libgcrypt finds none of these on this processor")
    good, _ = judge(library.at_least("1.10.0"), library.features - present)
    child = subprocess.run(
        [sys.executable, "-c", WITHOUT_FEATURES, *sorted(present)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (child.stderr, child.stdout) == ("", f"{good}\n")


@needs_both
def test_in_fips_mode_libgcrypt_refuses_sm4_and_openssl_takes_over() -> None:
    script = "from kmsenvelope.ciphers.select import sm4_status; print(*sm4_status(), sep='\\n')"
    child = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "LIBGCRYPT_FORCE_FIPS_MODE": "1", "KMSENVELOPE_SM4": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    if "libgcrypt" in child.stdout and "in use; AES" in child.stdout:
        pytest.skip("this libgcrypt has no switch for FIPS mode")
    first, second = child.stdout.splitlines()
    assert "not usable; refuses SM4-GCM, as it does in FIPS mode" in first
    assert "in use" in second


PCLMUL_AVX = {"intel-pclmul", "intel-avx"}


@pytest.mark.parametrize(
    ("recent", "features", "good"),
    [
        (True, {*PCLMUL_AVX, "intel-aesni"}, True),
        (True, {*PCLMUL_AVX, "intel-aesni", "intel-avx2"}, True),
        (True, {*PCLMUL_AVX, "intel-gfni", "intel-avx2"}, True),
        (True, {*PCLMUL_AVX, "intel-gfni", "intel-avx512", "intel-avx2"}, True),
        (False, {*PCLMUL_AVX, "intel-aesni", "intel-avx2"}, False),
        (True, {*PCLMUL_AVX}, False),
        (True, {*PCLMUL_AVX, "intel-gfni"}, False),
        (True, {"intel-avx", "intel-avx2", "intel-aesni"}, False),
        (True, {"intel-pclmul", "intel-aesni"}, False),
        (True, {"arm-neon", "arm-aes", "arm-pmull"}, False),
        (True, set(), False),
    ],
)
def test_libgcrypt_is_good_only_where_its_fast_and_constant_time_code_runs(
    recent: bool, features: set[str], good: bool
) -> None:
    verdict, reason = judge(recent, frozenset(features))
    assert verdict is good
    assert reason


def provider(name: str, *, usable: bool = True, good: bool = True) -> Callable[[], Provider]:
    return lambda: Provider(name, "1", openssl.Sm4Gcm if usable else None, good, f"why {name}")


def never() -> Provider:
    raise AssertionError("examined without need")


def test_the_first_good_provider_is_chosen() -> None:
    second = provider("b")
    assert choose("", {"a": provider("a"), "b": second}).name == "a"
    assert choose("", {"a": provider("a", good=False), "b": second}).name == "b"
    assert choose("", {"a": provider("a", usable=False, good=False), "b": second}).name == "b"


def test_a_usable_provider_is_better_than_none() -> None:
    assert choose("", {"a": provider("a", good=False), "b": provider("b", usable=False)}).name == "a"
    with pytest.raises(UnsupportedAlgorithm, match="a: why a; b: why b"):
        choose("", {"a": provider("a", usable=False), "b": provider("b", usable=False)})


def test_a_forced_provider_is_taken_even_if_not_the_best_and_no_other_is_examined() -> None:
    assert choose("b", {"a": never, "b": provider("b", good=False)}).name == "b"


def test_a_forced_provider_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="KMSENVELOPE_SM4=a: a cannot be used here: why a"):
        choose("a", {"a": provider("a", usable=False), "b": never})
    with pytest.raises(ValueError, match="KMSENVELOPE_SM4=c: set it to a or b, or leave it unset"):
        choose("c", {"a": never, "b": never})


def test_status_shows_one_provider_in_use_and_a_reason_for_each() -> None:
    status = sm4_status("")
    assert [one.name for one in status] == ["libgcrypt", "openssl"]
    assert [one.chosen for one in status].count(True) == 1
    assert all(one.reason for one in status)
    assert "KMSENVELOPE_SM4 asks for it" in str(sm4_status("openssl")[1])
    assert str(sm4_status("openssl")[1]).startswith("openssl ")


def test_the_chosen_provider_makes_the_ciphers() -> None:
    out = bytearray(16)
    sm4_gcm(KEY).seal_into(bytes(12), b"", memoryview(out))
    expected = bytearray(16)
    openssl.Sm4Gcm(KEY).seal_into(bytes(12), b"", memoryview(expected))
    assert out == expected


def test_a_library_that_is_absent_is_no_provider() -> None:
    absent = examine_libgcrypt("libgcrypt.so.99")
    assert absent.make is None
    assert "cannot be loaded" in absent.reason


@needs_both
def test_a_library_that_is_too_old_is_refused() -> None:
    with pytest.raises(libgcrypt.LibgcryptError, match=r"too old: 99\.0\.0 is the first"):
        libgcrypt.load(oldest="99.0.0")


SEALS_A_MESSAGE = """
import hashlib
from kmsenvelope.chunked import Encryptor
from kmsenvelope.suites import Suite
encryptor = Encryptor(Suite.SM4_GCM, bytes(16), b"", salt=bytes(24))
print(hashlib.sha256(encryptor.update(bytes(100_000)) + encryptor.finalize()).hexdigest())
"""


def run_message(**environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "KMSENVELOPE_SM4"}
    return subprocess.run(
        [sys.executable, "-c", SEALS_A_MESSAGE],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_process_seals_the_same_message_whatever_it_uses() -> None:
    outputs = {run_message(KMSENVELOPE_SM4=name).stdout for name in ["", *(p.name for p in USABLE)]}
    assert len(outputs) == 1
    assert len(outputs.pop()) == 65


@pytest.mark.skipif(sys.platform != "linux", reason="needs LD_LIBRARY_PATH")
def test_a_process_without_libgcrypt_uses_openssl_silently(tmp_path: Path) -> None:
    (tmp_path / libgcrypt.SONAME).write_bytes(b"not a library")
    fallback = run_message(LD_LIBRARY_PATH=str(tmp_path))
    assert (fallback.returncode, fallback.stderr) == (0, "")
    assert fallback.stdout == run_message(KMSENVELOPE_SM4="openssl").stdout
    forced = run_message(LD_LIBRARY_PATH=str(tmp_path), KMSENVELOPE_SM4="libgcrypt")
    assert "KMSENVELOPE_SM4=libgcrypt: libgcrypt cannot be used here: cannot be loaded" in forced.stderr
