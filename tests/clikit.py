"""The command line under test: in this process for speed, as a real process for signals and pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from kmsenvelope.cli.app import app

COMMAND = [sys.executable, "-m", "kmsenvelope"]


@dataclass
class Outcome:
    """What a command left: exit code, stdout as bytes and text, stderr as text."""

    code: int
    data: bytes
    err: str

    @property
    def out(self) -> str:
        return self.data.decode()


class Shell:
    """Runs commands with a home folder of their own and one key, ``local:demo``, as the default key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            "KMSENVELOPE_HOME": str(folder / "home"),
            "KMSENVELOPE_KEY": "local:demo",
            "KMSENVELOPE_DEBUG": "",
            "KMSENVELOPE_PASSPHRASE": "",
            "KMSENVELOPE_ENDPOINT": "",
            "HOME": str(folder),
            "COLUMNS": "100",
        }
        assert self("keys", "create", "demo").code == 0

    def __call__(self, *args: object, stdin: bytes = b"", **env: str) -> Outcome:
        """Run in this process."""
        result = CliRunner().invoke(app, list(map(str, args)), input=stdin, env={**self.env, **env})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Outcome(result.exit_code, result.stdout_bytes, result.stderr)

    def run(self, *args: object, stdin: bytes = b"", **env: str) -> Outcome:
        """Run as a process."""
        done = subprocess.run(
            [*COMMAND, *map(str, args)],
            input=stdin,
            capture_output=True,
            env=self.environ(**env),
            timeout=60,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr.decode())

    def start(self, *args: object, **streams: int) -> subprocess.Popen[bytes]:
        """Start a process."""
        return subprocess.Popen([*COMMAND, *map(str, args)], env=self.environ(), **streams)

    def environ(self, **env: str) -> dict[str, str]:
        return {**os.environ, **self.env, **env}

    def file(self, name: str, content: bytes = b"some plaintext") -> Path:
        """A file in the test's folder."""
        path = self.folder / name
        path.write_bytes(content)
        return path

    def envelope(self, content: bytes = b"some plaintext", *options: object, name: str = "a.kmse") -> Path:
        """An envelope of ``content``."""
        path = self.folder / name
        outcome = self("encrypt", "-", path, "--force", *options, stdin=content)
        assert outcome.code == 0, outcome.err
        return path

    def names(self) -> set[str]:
        """What is in the test's folder, hidden files included."""
        return set(os.listdir(self.folder)) - {"home"}
