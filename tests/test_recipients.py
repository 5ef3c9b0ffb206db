"""Several keys, public keys and a whole Kms, with real parts: emulators in two processes as two regions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kmsenvelope import CachePolicy, EnvelopeClient, LocalKms, NoUsableKey, TencentKms, inspect
from kmsenvelope.errors import KmsUnavailable, RecipientSkipped
from kmsenvelope.kms.private import PrivateKey
from kmsenvelope.kms.public import PublicKey
from kmsenvelope.kms.retry import Retry

CACHELESS = CachePolicy.disabled()
IMPATIENT = Retry(deadline=0.2)


class Region:
    """An emulator in a process of its own."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, "-m", "kmsenvelope.emulator", "--port", "0", "--region", name]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        told = dict(self.process.stdout.readline().strip().split(": ", 1) for _ in range(4))
        self.kms = TencentKms(
            name,
            secret_id=told["secret id"],
            secret_key=told["secret key"],
            endpoint=told["endpoint"],
            retry=IMPATIENT,
        )

    def stop(self) -> None:
        """Kill the process: from now on connections are refused."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.stop()
        self.kms.close()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def regions() -> Iterator[tuple[Region, Region]]:
    with ExitStack() as stack:
        made = [Region(name) for name in ("ap-guangzhou", "ap-shanghai")]
        for region in made:
            stack.callback(region.close)
        yield made[0], made[1]


def test_two_regions_either_opens_and_without_both_the_error_says_why(
    regions: tuple[Region, Region], tmp_path: Path
) -> None:
    gz, sh = regions
    keys = [region.kms.key(region.kms.create_key("demo")) for region in regions]
    (tmp_path / "plain").write_bytes(os.urandom(100_000))
    with EnvelopeClient(*keys, cache=CACHELESS) as client:
        blob = client.encrypt(b"data", context={"tenant": "42"})
        client.encrypt_file(tmp_path / "plain", tmp_path / "sealed")
        assert [str(one) for one in inspect(blob).recipients] == [str(key) for key in keys]
        for key in keys:  # each region alone
            with EnvelopeClient(key) as one:
                assert one.decrypt(blob) == b"data"
        gz.stop()
        assert client.decrypt(blob) == b"data"
        client.decrypt_file(tmp_path / "sealed", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == (tmp_path / "plain").read_bytes()
        with client.open(tmp_path / "sealed") as reader:
            reader.seek(-3, 2)
            assert reader.read() == (tmp_path / "plain").read_bytes()[-3:]
        with pytest.raises(KmsUnavailable):  # require_all is the default
            client.encrypt(b"data")
        sh.stop()
        with pytest.raises(NoUsableKey) as caught:
            client.decrypt(blob)
        assert [name for name, _ in caught.value.reasons] == [str(key) for key in keys]
        for _, why in caught.value.reasons:
            assert "Decrypt" in why
            assert "ClientNetworkError" in why


def test_without_require_all_encryption_goes_on_and_a_re_wrap_adds_the_missing_key_later(
    regions: tuple[Region, Region],
) -> None:
    gz, sh = regions
    keys = [region.kms.key(region.kms.create_key("demo")) for region in regions]
    sh.stop()
    events: list[Any] = []
    with EnvelopeClient(*keys, require_all=False, on_event=events.append) as client:
        with pytest.warns(RecipientSkipped, match="tencent:ap-shanghai"):
            blob = client.encrypt(b"data")
        assert [str(one) for one in inspect(blob).recipients] == [str(keys[0])]
        assert [event.details["key"] for event in events if event.name == "recipient_skipped"] == [
            str(keys[1])
        ]
        assert client.needs_rewrap(inspect(blob))
        assert client.decrypt(blob) == b"data"
        gz.stop()
        client.forget(keys[0].key_id)
        with pytest.raises(KmsUnavailable):
            client.encrypt(b"data")


# A whole Kms.


@pytest.fixture(scope="module")
def kms() -> Iterator[LocalKms]:
    with LocalKms() as kms:
        for alias in ("demo", "other"):
            kms.create_key(alias)
        kms.create_key("rsa", usage="ASYMMETRIC_DECRYPT_RSA_2048")
        kms.create_key("sm2", usage="ASYMMETRIC_DECRYPT_SM2")
        yield kms


def test_a_whole_kms_opens_everything_of_its_own_and_encrypts_nothing(kms: LocalKms) -> None:
    with EnvelopeClient(kms) as whole, LocalKms() as elsewhere:
        for alias in ("demo", "other"):
            with EnvelopeClient(kms.key(alias)) as one:
                assert whole.decrypt(one.encrypt(b"data", context={"a": "b"})) == b"data"
        for alias in ("rsa", "sm2"):
            with EnvelopeClient(kms.public_key(alias)) as one:
                assert whole.decrypt(one.encrypt(b"data", context={"a": "b"})) == b"data"
        with pytest.raises(TypeError, match=r"local can open envelopes but not encrypt: give kms\.key"):
            whole.encrypt(b"data")
        elsewhere.create_key("demo")
        with EnvelopeClient(elsewhere.key("demo")) as other, pytest.raises(NoUsableKey, match="Decrypt"):
            whole.decrypt(other.encrypt(b"data"))


def test_a_whole_kms_beside_a_key_only_opens(kms: LocalKms) -> None:
    with EnvelopeClient(kms.key("demo"), kms, cache=CACHELESS) as client:
        blob = client.encrypt(b"data")
        assert [one.key_id for one in inspect(blob).recipients] == [kms.key("demo").key_id]
        assert client.decrypt(blob) == b"data"
        with EnvelopeClient(kms.key("other")) as other:
            assert client.decrypt(other.encrypt(b"data")) == b"data"
        assert client.stats()["kms_calls"] == {"GenerateDataKey": 1, "Decrypt": 2}


def test_a_client_calls_only_keys_that_it_was_given(kms: LocalKms) -> None:
    with EnvelopeClient(kms.key("demo"), kms.key("other")) as both, EnvelopeClient(kms.key("other")) as one:
        blob = both.encrypt(b"data")
        assert one.decrypt(blob) == b"data"
        assert one.stats()["latency"].keys() == {"Decrypt"}
        assert one.stats()["kms_calls"] == {"Decrypt": 1}


# Public keys.


UPLOADER = """
import os, sys
from kmsenvelope import EnvelopeClient
from kmsenvelope.kms.public import PublicKey

pem, key_id, source, destination = sys.argv[1:]
key = PublicKey.from_pem(open(pem).read(), key_id=key_id, kms="local")
with EnvelopeClient(key) as client:
    client.encrypt_file(source, destination, context={"from": "uploader"})
    assert client.stats()["kms_calls"] == {}
loaded = [name for name in sys.modules if name.startswith(("tencentcloud", "kmsenvelope.emulator"))]
assert loaded == [], loaded
try:
    client = EnvelopeClient(key)
    client.verify_file(destination)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("alias", ["rsa", "sm2"])
def test_an_uploader_without_credentials_writes_what_only_the_kms_opens(
    kms: LocalKms, tmp_path: Path, alias: str
) -> None:
    (tmp_path / "pem").write_text(kms.public_key(alias).to_pem())
    (tmp_path / "plain").write_bytes(os.urandom(3_000_000))
    arguments = [tmp_path / "pem", kms.key(alias).key_id, tmp_path / "plain", tmp_path / "sealed"]
    bare = {"PATH": os.defpath, "HOME": str(tmp_path)}  # no credential in the environment or in a home folder
    done = subprocess.run(
        [sys.executable, "-c", UPLOADER, *arguments],
        env=bare,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("NoUsableKey a client of public keys can only encrypt")
    with EnvelopeClient(kms.key(alias)) as client:
        client.decrypt_file(tmp_path / "sealed", tmp_path / "back", context={"from": "uploader"})
    assert (tmp_path / "back").read_bytes() == (tmp_path / "plain").read_bytes()


@pytest.mark.parametrize("alias", ["rsa", "sm2"])
def test_public_key_and_cmk_in_one_client_are_one_recipient_that_reads_and_writes(
    kms: LocalKms, alias: str
) -> None:
    with EnvelopeClient(kms.public_key(alias), kms.key(alias), cache=CACHELESS) as client:
        blob = client.encrypt(b"data")
        assert len(inspect(blob).recipients) == 1
        assert client.decrypt(blob) == b"data"
        action = {"rsa": "AsymmetricRsaDecrypt", "sm2": "AsymmetricSm2Decrypt"}[alias]
        assert client.stats()["kms_calls"] == {action: 1}


def test_a_hybrid_key_and_a_cmk_together_and_each_opens_alone(kms: LocalKms) -> None:
    secret = PrivateKey.generate_hybrid()
    with EnvelopeClient(kms.key("demo"), secret.public_key) as client:
        blob = client.encrypt(b"data", context={"a": "b"})
        assert client.decrypt(blob) == b"data"
    for key in (kms.key("demo"), secret):
        with EnvelopeClient(key) as one:
            assert one.decrypt(blob, context={"a": "b"}) == b"data"


def test_a_private_key_opens_when_its_kms_is_gone(kms: LocalKms) -> None:
    secret = PrivateKey.generate_hybrid()
    with LocalKms() as gone:
        lost = gone.key(gone.create_key("demo"))
        with EnvelopeClient(lost, secret) as client:
            blob = client.encrypt(b"data")
            gone.call("DisableKey", {"KeyId": lost.key_id})
            assert client.decrypt(blob) == b"data"


def test_a_header_tampered_to_name_another_recipients_dek_does_not_open(kms: LocalKms) -> None:
    with EnvelopeClient(kms.public_key("rsa"), kms.key("rsa"), cache=CACHELESS) as client:
        one, two = client.encrypt(b"one"), client.encrypt(b"two")
        wrapped = [inspect(blob).recipients[0].wrapped.encode() for blob in (one, two)]
        from kmsenvelope import AuthenticationError

        with pytest.raises(AuthenticationError):
            client.decrypt(one.replace(wrapped[0], wrapped[1]))


def test_seventeen_keys_the_same_key_twice_and_no_key_are_refused(kms: LocalKms) -> None:
    secret = PrivateKey.generate_hybrid()
    for keys in ([secret, secret], [secret.public_key, PublicKey.from_pem(secret.public_key.to_pem())]):
        with pytest.raises(ValueError, match="given twice"):
            EnvelopeClient(*keys)
    alias, by_id = kms.key("demo"), kms.key(kms.key("demo").key_id)
    with EnvelopeClient(alias, by_id) as client, pytest.raises(ValueError, match="twice, by its alias"):
        client.encrypt(b"data")
    with LocalKms() as other:  # the same alias in another store is another key
        other.create_key("demo")
        with EnvelopeClient(kms.key("demo"), other.key("demo")) as client:
            assert len(inspect(client.encrypt(b"data")).recipients) == 2
