"""Public keys to encrypt for and private keys to open with, as PEM files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from clikit import Shell
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kmsenvelope import inspect

OFFLINE = {"KMSENVELOPE_KEY": "", "KMSENVELOPE_HOME": "/nonexistent/home"}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, public


def test_an_uploader_needs_a_public_key_and_nothing_else(shell: Shell) -> None:
    key = shell("keys", "create", "pair", "--usage", "ASYMMETRIC_DECRYPT_RSA_2048").out.strip()
    pem = shell.folder / "public.pem"
    assert shell("public-key", key, "-o", pem).code == 0
    data, path = os.urandom(100_000), shell.folder / "a.kmse"
    done = shell("encrypt", "-", path, "-p", f"{key}={pem}", stdin=data, **OFFLINE)
    assert done.code == 0, done.err
    assert [str(one) for one in inspect(path).recipients] == [key]
    assert shell("decrypt", path, "-", "-k", key).data == data
    assert shell("decrypt", path, "-", "-k", "local:pair").data == data
    assert shell("decrypt", path, "-", "-k", "local:demo").code == 5


def test_a_private_key_of_ones_own_opens(shell: Shell, pair: tuple[bytes, bytes]) -> None:
    private, public = shell.file("private.pem", pair[0]), shell.file("public.pem", pair[1])
    path = shell.folder / "a.kmse"
    assert shell("encrypt", "-", path, "-p", public, "-k", "local:demo", stdin=b"data").code == 0
    assert len(inspect(path).recipients) == 2
    assert shell("decrypt", path, "-", "--private-key", private, **OFFLINE).data == b"data"
    assert shell("cat", path, "--private-key", private, "--range", "1:3", **OFFLINE).data == b"at"
    assert shell("verify", path, "--private-key", private, **OFFLINE).code == 0
    assert shell("decrypt", path, "-").data == b"data"


def test_a_key_of_the_service_is_named_by_its_address(shell: Shell, pair: tuple[bytes, bytes]) -> None:
    public, path = shell.file("public.pem", pair[1]), shell.folder / "a.kmse"
    address = "tencent:ap-guangzhou/23e80852-1e38-11e9-b129-5cb9019b4b01"
    assert shell("encrypt", "-", path, "-p", f"{address}={public}", stdin=b"data", **OFFLINE).code == 0
    recipient = inspect(path).recipients[0]
    assert str(recipient) == address
    assert recipient.alg == "RSAES_OAEP_SHA_256"


@pytest.mark.parametrize("spec", ["tencent:ap-guangzhou/alias={}", "local:demo", "{}.absent", "local:x={}"])
def test_a_malformed_public_key_is_refused(shell: Shell, pair: tuple[bytes, bytes], spec: str) -> None:
    public = shell.file("public.pem", pair[1])
    outcome = shell("encrypt", "-", shell.folder / "x", "-p", spec.format(public), stdin=b"data")
    assert outcome.code == (1 if "absent" in spec else 2)
    assert outcome.err.count("\n") == 1
    assert shell.names() == {"public.pem"}


def test_the_two_halves_are_not_taken_for_each_other(shell: Shell, pair: tuple[bytes, bytes]) -> None:
    private, public = shell.file("private.pem", pair[0]), shell.file("public.pem", pair[1])
    path = shell.envelope()
    assert shell("encrypt", "-", shell.folder / "x", "-p", private, stdin=b"data").code == 2
    outcome = shell("decrypt", path, "-", "--private-key", public)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
