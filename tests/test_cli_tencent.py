"""The commands over the real SDK and a socket: key addresses of the service, and what it may refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from clikit import Outcome, Shell
from kmswire import KmsWire


@pytest.fixture
def wire() -> Iterator[KmsWire]:
    with KmsWire() as server:
        yield server


@pytest.fixture
def shell(tmp_path: Path, wire: KmsWire) -> Shell:
    made = Shell(tmp_path)
    made.env |= {
        "KMSENVELOPE_ENDPOINT": wire.endpoint,
        "TENCENTCLOUD_SECRET_ID": "AKIDexample",
        "TENCENTCLOUD_SECRET_KEY": "not-to-be-shown",
        "NO_PROXY": "*",
    }
    return made


def create(shell: Shell, *options: str) -> str:
    made = shell("keys", "create", "cloud", "--kms", "tencent:ap-guangzhou", *options)
    assert made.code == 0, made.err
    assert made.err == ""
    return made.out.strip()


def test_an_address_that_create_prints_encrypts_and_decrypts(shell: Shell, wire: KmsWire) -> None:
    key = create(shell)
    assert key.startswith("tencent:ap-guangzhou/")
    path = shell.envelope(b"data", "-k", key, "-k", "local:demo")
    assert "GenerateDataKey" in wire.actions
    assert shell("decrypt", path, "-", "-k", key).data == b"data"
    assert shell("decrypt", path, "-", "-k", "tencent:ap-guangzhou/cloud").data == b"data"
    assert shell("decrypt", path, "-", "-k", "local:demo").data == b"data"
    assert shell("decrypt", path, "-", "-k", key.replace("guangzhou", "shanghai")).code == 5


def test_the_other_commands_reach_the_service(shell: Shell) -> None:
    key = create(shell)
    assert "cloud\tEnabled" in shell("keys", "list", "--kms", "tencent:ap-guangzhou").out
    assert shell("keys", "disable", "cloud", "--kms", "tencent:ap-guangzhou").code == 0
    assert shell("keys", "enable", key).code == 0
    blob = shell("secret", "encrypt", "-k", key, stdin=b"secret").data
    assert shell("secret", "decrypt", "-k", key, stdin=blob).data == b"secret"
    report = json.loads(shell("doctor", "--json", "--kms", "tencent:ap-guangzhou").out)
    assert report["tencent:ap-guangzhou"] == "answers, 1 key"


REFUSALS = {
    "AuthFailure.SignatureFailure": 6,
    "UnauthorizedOperation": 6,
    "InvalidParameter": 6,
    "ResourceUnavailable.CmkNotFound": 5,
    "ResourceUnavailable.KeyPendingDelete": 5,
}


def test_a_refusal_is_one_line_with_its_code(shell: Shell, wire: KmsWire) -> None:
    key = create(shell)
    for refusal, code in REFUSALS.items():
        wire.faults.append(("error", refusal))
        outcome = shell("encrypt", shell.file("plain"), shell.folder / "new", "-k", key)
        assert outcome.code == code
        assert refusal in only_line(outcome)
        assert "not-to-be-shown" not in outcome.err
        assert shell.names() == {"plain"}


def test_missing_credentials_say_what_to_set(shell: Shell) -> None:
    shell.env |= {"TENCENTCLOUD_SECRET_ID": "", "TENCENTCLOUD_SECRET_KEY": ""}
    outcome = shell("doctor", "--json", KMSENVELOPE_HOME=str(shell.folder / "home"))
    assert "none found" in json.loads(outcome.out)["credentials"]


def only_line(outcome: Outcome) -> str:
    assert outcome.err.count("\n") == 1
    return outcome.err
