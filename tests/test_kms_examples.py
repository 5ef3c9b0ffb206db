"""The examples of the four practices run, and every block on their pages does what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmsenvelope.emulator.server import Emulator

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "practices").glob("*.md"))
WARNINGS = ("-W", "error", "-W", "ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")
EXAMPLES = {
    "small_secret": "read back:  correct horse battery staple",
    "tencent_envelope": "comes back: True",
    "asymmetric": "report: 14000 bytes",
    "byok": "imported again: closed on demand",
}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        for alias in ("settings", "orders"):
            running.engine.call("CreateKey", {"Alias": alias})
        yield running


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_runs(name: str) -> None:
    done = subprocess.run(
        [sys.executable, *WARNINGS, str(ROOT / "examples" / f"{name}.py")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert EXAMPLES[name] in done.stdout


def blocks(page: Path, language: str) -> str:
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("orders.csv").write_bytes(b"id,amount\n" * 1000)
    Path("note.txt").write_bytes(b"a short note")
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_on_the_page_runs(page: Path, emulator: Emulator, folder: Path) -> None:
    connection = (
        f'TencentKms("ap-guangzhou", endpoint="{emulator.endpoint}", '
        f'secret_id="{emulator.secret_id}", secret_key="{emulator.secret_key}"'
    )
    code = blocks(page, "python")
    assert 'TencentKms("ap-guangzhou"' in code
    names: dict[str, object] = {}
    exec(code.replace('TencentKms("ap-guangzhou"', connection), names)
    expected = {"password": b"correct horse", "row": b"one row", "text": b"a short note"}
    for name, value in expected.items():
        assert names.get(name, value) == value
    names["kms"].close()  # type: ignore[attr-defined]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_shell_commands_on_the_page_run(page: Path, emulator: Emulator, folder: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("KMSENV", "TENCENT"))},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "KMSENVELOPE_ENDPOINT": emulator.endpoint,
        "TENCENTCLOUD_SECRET_ID": emulator.secret_id,
        "TENCENTCLOUD_SECRET_KEY": emulator.secret_key,
        "DB_PASSWORD": "correct horse",
    }
    script = "set -euo pipefail\n" + blocks(page, "bash")
    assert "kmsenvelope" in script
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = {"small-secrets": "correct horse", "asymmetric": "a short note" * 2}
    assert done.stdout.endswith(expected.get(page.stem, ""))
    if page.stem == "envelope":
        assert (folder / "copy.csv").read_bytes() == (folder / "orders.csv").read_bytes()
