"""The emulator as a process, with the other commands as its clients."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from clikit import Shell

pytest.importorskip("uvicorn")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_the_other_commands_until_a_signal(tmp_path: Path, number: int) -> None:
    shell = Shell(tmp_path)
    keys = tmp_path / "emulated.db"
    process = shell.start(
        *("emulator", "--port", "0", "--data", keys),
        *("--secret-id", "AKIDtest", "--secret-key", "signing-key"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    endpoint = process.stdout.readline().decode().split()[1]
    shell.env |= {
        "KMSENVELOPE_ENDPOINT": endpoint,
        "TENCENTCLOUD_SECRET_ID": "AKIDtest",
        "TENCENTCLOUD_SECRET_KEY": "signing-key",
        "NO_PROXY": "*",
    }
    key = shell("keys", "create", "cloud", "--kms", "tencent:ap-shanghai").out.strip()
    path = shell.envelope(b"data", "-k", key)
    assert shell("decrypt", path, "-", "-k", key).data == b"data"
    outcome = shell("keys", "list", "--kms", "tencent:ap-shanghai", TENCENTCLOUD_SECRET_KEY="another")
    assert outcome.code == 6
    assert "AuthFailure.SignatureFailure" in outcome.err
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    assert keys.exists()


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    import socket

    shell = Shell(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        outcome = shell("emulator", "--port", taken.getsockname()[1])
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1


def test_data_that_is_no_key_store_is_one_line(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    outcome = shell("emulator", "--port", "0", "--data", shell.file("plain", b"not a database" * 100))
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
