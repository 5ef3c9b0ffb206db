"""What an ordinary mistake gives: the type of the error, what it advises, and nothing left behind."""

from __future__ import annotations

import io
import pickle
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kmsenvelope import (
    AuthenticationError,
    CachePolicy,
    ContextMismatch,
    EnvelopeClient,
    FormatError,
    KeyUnavailable,
    KmsAccessDenied,
    KmsError,
    KmsUnavailable,
    LocalKms,
    NoUsableKey,
    PrivateKey,
    PublicKey,
    Retry,
    TencentKms,
    connect,
    encrypt_file,
    inspect,
)
from kmsenvelope.cli.exits import code_of
from kmsenvelope.testing import FakeKms


class World:
    """A store with keys, a client, and files to get wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kms = LocalKms()
        self.key = self.kms.key(self.kms.create_key("demo"))
        self.other = self.kms.key(self.kms.create_key("other"))
        self.rsa = self.kms.key(self.kms.create_key("rsa", usage="ASYMMETRIC_DECRYPT_RSA_2048"))
        self.client = EnvelopeClient(self.key)
        self.blob = self.client.encrypt(b"hello", context={"tenant": "42"}, aad=b"row 7")
        self.secret = self.key.encrypt(b"password", {"app": "billing"})
        self.plain = folder / "plain.txt"
        self.plain.write_text("a plain text file")
        self.sealed = folder / "a.kmse"
        self.sealed.write_bytes(self.blob)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for name in ("TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KMSENVELOPE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return World(tmp_path)


def _another_pem() -> str:
    return PrivateKey.generate_hybrid().to_pem()


Mistake = tuple[str, Callable[[World], object], type[Exception], str]

BYTES: list[Mistake] = [
    ("text", lambda w: w.client.encrypt("hello"), TypeError, "encode the text"),  # type: ignore[arg-type]
    ("a path", lambda w: w.client.encrypt(w.plain), TypeError, "bytes-like, not"),  # type: ignore[arg-type]
    ("a path as text", lambda w: w.client.encrypt("a.csv"), TypeError, "encrypt_file"),  # type: ignore[arg-type]
    ("a file", lambda w: w.client.encrypt(io.BytesIO()), TypeError, "BytesIO"),  # type: ignore[arg-type]
    ("aad as text", lambda w: w.client.encrypt(b"", aad="row"), TypeError, "aad must"),  # type: ignore[arg-type]
    ("blob as text", lambda w: w.client.decrypt("S01T"), TypeError, "Base64 first"),  # type: ignore[arg-type]
    ("blob in Base64", lambda w: w.client.decrypt(b"S01TRU5W"), FormatError, "not an envelope"),
    ("no aad", lambda w: w.client.decrypt(w.blob), AuthenticationError, "wrong aad"),
    ("other aad", lambda w: w.client.decrypt(w.blob, aad=b"row 8"), AuthenticationError, "wrong aad"),
    ("half of it", lambda w: w.client.decrypt(w.blob[:50]), FormatError, "ends inside"),
    ("a secret", lambda w: w.client.decrypt(w.secret.encode()), FormatError, "not an envelope"),
    ("an envelope", lambda w: w.kms.decrypt(w.blob), TypeError, "blob is the str"),  # type: ignore[arg-type]
    ("too large a secret", lambda w: w.key.encrypt(bytes(5000)), ValueError, "Use an envelope"),
    ("other context", lambda w: w.kms.decrypt(w.secret, {"app": "x"}), KmsError, "context of then"),
]

CONTEXT: list[Mistake] = [
    ("a number", lambda w: w.client.encrypt(b"", context={"a": 1}), TypeError, "convert numbers"),  # type: ignore[dict-item]
    ("text", lambda w: w.client.encrypt(b"", context="a=b"), TypeError, "mapping of str"),  # type: ignore[arg-type]
    ("too long", lambda w: w.client.encrypt(b"", context={"a": "b" * 2000}), ValueError, "allows 1024"),
    ("typo", lambda w: w.client.decrypt(w.blob, context={"tenent": "42"}), ContextMismatch, "inspect"),
    ("none of it", lambda w: w.client.decrypt(w.blob, context={}), ContextMismatch, "inspect"),
]

KEYS: list[Mistake] = [
    ("no key", lambda w: EnvelopeClient(), ValueError, "at least one key"),
    ("a key id", lambda w: EnvelopeClient(w.key.key_id), TypeError, "kms.key"),  # type: ignore[arg-type]
    ("an address", lambda w: EnvelopeClient("local:demo"), TypeError, "connect"),  # type: ignore[arg-type]
    ("a list", lambda w: EnvelopeClient([w.key]), TypeError, r"EnvelopeClient\(\*keys\)"),  # type: ignore[arg-type]
    ("a whole KMS", lambda w: EnvelopeClient(w.kms).encrypt(b""), TypeError, "not encrypt"),
    ("twice", lambda w: EnvelopeClient(w.key, w.key), ValueError, "given twice"),
    ("an RSA CMK", lambda w: EnvelopeClient(w.rsa).encrypt(b""), KmsError, "kms.public_key"),
    ("unknown alias", lambda w: EnvelopeClient(w.kms.key("dmeo")).encrypt(b""), KeyUnavailable, "dmeo"),
    ("no alias", lambda w: w.kms.key("my key"), ValueError, "'my key' is not a name"),
    ("a taken alias", lambda w: w.kms.create_key("demo"), KmsError, "choose another"),
    ("a suite", lambda w: EnvelopeClient(w.key, suite="AES"), ValueError, "SM4-GCM"),
    ("a cache", lambda w: EnvelopeClient(w.key, cache=300), TypeError, "CachePolicy"),  # type: ignore[arg-type]
    ("a window", lambda w: CachePolicy(max_age=-1), ValueError, "seconds"),
    ("another's envelope", lambda w: EnvelopeClient(w.other).decrypt(w.blob), NoUsableKey, "no key of this"),
    ("no public half", lambda w: w.kms.public_key("demo"), KmsError, "no public half"),
    ("a path for a PEM", lambda w: PublicKey.from_pem("public.pem"), ValueError, "BEGIN"),
    ("a private key", lambda w: PublicKey.from_pem(_another_pem()), ValueError, "private key"),
    ("one key", lambda w: w.client.rewrap(w.blob, w.key), TypeError, r"\[key\]"),  # type: ignore[arg-type]
    ("pickled memory", lambda w: pickle.dumps(w.client), TypeError, "keys.db"),
]

FILES: list[Mistake] = [
    ("missing", lambda w: w.client.encrypt_file("gone", "out"), FileNotFoundError, "gone"),
    ("a folder", lambda w: w.client.encrypt_file(".", "out"), IsADirectoryError, "archive it"),
    ("exists", lambda w: w.client.encrypt_file("plain.txt", "a.kmse"), FileExistsError, "overwrite=True"),
    ("itself", lambda w: w.client.encrypt_file("plain.txt", "plain.txt"), ValueError, "same file"),
    ("no folder", lambda w: w.client.encrypt_file("plain.txt", "no/out"), FileNotFoundError, "no/out"),
    ("open", lambda w: w.client.encrypt_file(io.BytesIO(), "out"), TypeError, "client.open"),  # type: ignore[arg-type]
    ("plain", lambda w: w.client.decrypt_file("plain.txt", "out"), FormatError, "not an envelope"),
    ("a mode", lambda w: w.client.open("out", "w"), ValueError, "TextIOWrapper"),  # type: ignore[call-overload]
    ("bytes", lambda w: w.client.open(w.blob), TypeError, "path or have read"),
    ("text file", lambda w: w.client.open(io.StringIO("x")), TypeError, "binary mode"),  # type: ignore[call-overload]
    ("inspected", lambda w: inspect("plain.txt"), FormatError, "not an envelope"),
    ("a path for a list", lambda w: w.client.rewrap_files("a.kmse"), TypeError, r"\[path\]"),
]

PLACES: list[Mistake] = [
    ("no address", lambda w: encrypt_file("plain.txt", "out", key="demo"), ValueError, "local:ALIAS"),
    ("no store", lambda w: connect("local:demo"), KeyUnavailable, "keys create"),
    ("no region", lambda w: connect("tencent:guangzhou/demo"), ValueError, "ap-guangzhou"),
    ("half", lambda w: TencentKms("ap-guangzhou", secret_id="x"), ValueError, "give both"),
    ("seconds", lambda w: TencentKms("ap-guangzhou", retry=5), TypeError, "Retry"),  # type: ignore[arg-type]
    ("tags", lambda w: w.kms.create_key("x", tags=["a"]), TypeError, "mapping"),  # type: ignore[arg-type]
    ("not a store", lambda w: LocalKms(w.plain), KmsUnavailable, "cannot be used"),
    ("no folder", lambda w: LocalKms("no/keys.db"), FileNotFoundError, "no/keys.db"),
    ("empty passphrase", lambda w: LocalKms("new.db", passphrase=""), ValueError, "passphrase"),
]

ALL = [
    pytest.param(*mistake[1:], id=f"{kind}: {mistake[0]}")
    for kind, mistakes in (
        ("bytes", BYTES),
        ("context", CONTEXT),
        ("keys", KEYS),
        ("files", FILES),
        ("places", PLACES),
    )
    for mistake in mistakes
]


@pytest.mark.parametrize(("act", "kind", "advice"), ALL)
def test_a_mistake_is_named_and_leaves_nothing(
    world: World, act: Callable[[World], object], kind: type[Exception], advice: str
) -> None:
    before = {path: path.stat().st_mode for path in world.folder.iterdir()}
    with pytest.raises(kind, match=advice):
        act(world)
    assert {path: path.stat().st_mode for path in world.folder.iterdir()} == before
    assert world.sealed.read_bytes() == world.blob


def test_a_file_that_is_no_key_store_keeps_its_mode(world: World) -> None:
    world.plain.chmod(0o644)
    with pytest.raises(KmsUnavailable):
        LocalKms(world.plain)
    assert stat.S_IMODE(world.plain.stat().st_mode) == 0o644


def test_passphrases_that_do_not_fit_are_refused(world: World) -> None:
    LocalKms("protected.db", passphrase="right").close()
    LocalKms("open.db").close()
    for path, passphrase, advice in (
        ("protected.db", "wrong", "wrong passphrase"),
        ("protected.db", None, "is needed"),
        ("open.db", "any", "without one"),
    ):
        with pytest.raises(KmsAccessDenied, match=advice):
            LocalKms(path, passphrase=passphrase)


def test_no_credentials_says_where_they_are_looked_for(world: World) -> None:
    with pytest.raises(KmsAccessDenied, match="TENCENTCLOUD_SECRET_ID"):
        connect("tencent:ap-guangzhou/demo").encrypt(b"")


def test_a_closed_client_and_a_closed_kms_say_so(world: World) -> None:
    client = EnvelopeClient(world.key)
    client.close()
    with pytest.raises(ValueError, match="client is closed"):
        client.decrypt(world.blob, aad=b"row 7")
    world.kms.close()
    with pytest.raises(ValueError, match="LocalKms is closed"):
        EnvelopeClient(world.key).encrypt(b"")


def test_a_failed_writer_leaves_no_file(world: World) -> None:
    with pytest.raises(TypeError), world.client.open("out", "wb") as file:
        file.write("text")  # type: ignore[arg-type]
    assert not Path("out").exists()


def test_a_kms_that_fails_is_told_from_a_key_that_does_not_fit(world: World) -> None:
    kms = FakeKms(retry=Retry(deadline=0))
    key = kms.key(kms.create_key("demo"))
    blob = EnvelopeClient(key).encrypt(b"data")
    for fault, retryable, exit_code in (("throttle", True, 6), ("expired_credentials", False, 6)):
        kms.faults.add(fault)
        with pytest.raises(NoUsableKey) as caught:
            EnvelopeClient(key).decrypt(blob)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (caught.value.retryable, again.retryable, str(again)) == (
            retryable,
            retryable,
            str(caught.value),
        )
        assert code_of(caught.value) == exit_code
        assert [error.action for error in caught.value.errors] == ["Decrypt"]
        assert caught.value.errors[0].__traceback__ is None
    kms.call("DisableKey", {"KeyId": key.key_id})
    for reader, errors in ((EnvelopeClient(key), 1), (world.client, 0)):
        with pytest.raises(NoUsableKey) as caught:
            reader.decrypt(blob)
        assert (caught.value.retryable, code_of(caught.value)) == (False, 5)
        assert len(caught.value.errors) == errors


@pytest.mark.parametrize(
    ("missing", "statement", "extra"),
    [
        ("uvicorn", "import kmsenvelope.emulator.server", "emulator"),
        ("typer", "from kmsenvelope.cli import main; main()", "cli"),
    ],
)
def test_a_missing_extra_says_what_to_install(missing: str, statement: str, extra: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; {statement}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert f"pip install 'kmsenvelope[{extra}]'" in done.stderr.splitlines()[-1]


def test_bytes_in_an_action_of_the_kms_are_a_type_error(tencent_kms: TencentKms) -> None:
    with pytest.raises(TypeError, match=r"Encrypt: .*Base64"):
        tencent_kms.call("Encrypt", {"KeyId": "x", "Plaintext": b"raw"})


def test_forget_takes_the_alias_that_the_key_was_given_by(world: World) -> None:
    client = EnvelopeClient(world.kms.key("demo"))
    client.forget("demo")  # not looked up yet
    client.encrypt(b"data")
    client.forget("other")
    assert client.stats()["held"]["encrypt"] == 1
    client.forget("demo")
    assert client.stats()["held"]["encrypt"] == 0
