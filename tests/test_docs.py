"""The documentation: links lead somewhere, every page is found, snippets run, commands and errors exist."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main

import kmsenvelope
from kmsenvelope import EnvelopeClient, KmsError, LocalKms, TencentKms
from kmsenvelope.cli import exits
from kmsenvelope.cli.app import app
from kmsenvelope.emulator.server import Emulator

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=named)


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def links(page: Path) -> list[str]:
    text = without_code(page.read_text())
    found = re.findall(r"\]\(\s*([^)\s]+)\s*\)", text) + re.findall(
        r"^\[[^\]]+\]:\s*(\S+)", text, re.MULTILINE
    )
    return [target for target in found if not target.startswith(("http://", "https://", "mailto:"))]


def anchors(page: Path) -> set[str]:
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def snippets(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@each_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_and_picture_is_reachable_from_the_readme() -> None:
    seen, left = set(), [README]
    while left:
        page = left.pop()
        if page in seen:
            continue
        seen.add(page)
        if page.suffix == ".md":
            left += [
                (page.parent / link.partition("#")[0]).resolve() for link in links(page) if link[0] != "#"
            ]
    tracked = {path for path in (ROOT / "docs").rglob("*") if path.suffix in {".md", ".png", ".svg"}}
    assert sorted(map(named, tracked - seen)) == []


@pytest.mark.parametrize(
    "path", [*PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "examples").glob("*.py"))], ids=named
)
def test_no_path_of_one_machine(path: Path) -> None:
    assert re.findall(r"(?<![\w.~])/(?:work|tmp|root|home|Users|mnt|opt)/\w[\w/.-]*", path.read_text()) == []


@each_page
def test_python_snippets_compile(page: Path) -> None:
    for code in snippets(page):
        compile(code, named(page), "exec")


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def names(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """What the pages take as given: services, keys and files of these names."""
    monkeypatch.chdir(tmp_path)
    emulator.reset()

    def connected(region: str, **options: object) -> TencentKms:
        made = TencentKms(
            region,
            secret_id=emulator.secret_id,
            secret_key=emulator.secret_key,
            endpoint=emulator.endpoint,
            **options,  # type: ignore[arg-type]
        )
        opened.append(made)
        return made

    opened: list[TencentKms] = []
    kms, other = connected("ap-guangzhou"), connected("ap-shanghai")
    a, old, new = (kms.create_key(alias) for alias in ("a", "old", "new"))
    b = other.create_key("b")
    rsa = kms.create_key("rsa", usage="ASYMMETRIC_DECRYPT_RSA_2048")
    Path("archive").mkdir()
    for name in ("orders.csv", "video.mp4"):
        Path(name).write_bytes(b"id,amount\n" * 1000)
    blob = EnvelopeClient(kms.key(old)).encrypt(b"data")
    for name in ("a.kmse", "archive/b.kmse"):
        Path(name).write_bytes(blob)
    public = {name: getattr(kmsenvelope, name) for name in kmsenvelope.__all__}
    given = {"Path": Path, "kms": kms, "other": other, "a": a, "b": b, "old": old, "new": new, "blob": blob}
    yield {**public, **given, "TencentKms": connected, "key": kms.key(a), "key_id": rsa, "pin": None}
    for service in opened:
        service.close()


def run(code: str, names: dict[str, object]) -> None:
    """Run a snippet whose ``TencentKms`` is connected to the emulator, also where it imports that name."""
    code = re.sub(r"^(from kmsenvelope import .*?),? ?\bTencentKms\b", r"\1", code, flags=re.MULTILINE)
    exec(code, names)


def test_the_readme_runs(names: dict[str, object]) -> None:
    (code,) = snippets(README)
    run(code.replace("<key id or alias>", "a"), names)
    assert names["data"] == b"card 6222..."
    assert names["tail"] == Path("orders.csv").read_bytes()[-100:]


def test_the_page_on_recipients_runs(names: dict[str, object]) -> None:
    for code in snippets(ROOT / "docs" / "recipients.md"):
        run(code.replace('.kmse", "video.mp4"', '.kmse", "copy.mp4"'), names)
    assert Path("copy.mp4").read_bytes() == Path("video.mp4").read_bytes()


def test_each_line_of_the_page_on_rewrapping_runs(names: dict[str, object]) -> None:
    sealed = Path("a.kmse").read_bytes()
    for code in snippets(ROOT / "docs" / "rewrap.md"):
        for statement in ast.parse(code).body:  # each shows another way, from the same start
            Path("a.kmse").write_bytes(sealed)
            exec(compile(ast.Module([statement], []), "rewrap.md", "exec"), names)


class Counter:
    """Stands in for the one of prometheus_client where that is not installed."""

    def __init__(self, *_: object) -> None:
        self.counted: list[tuple[object, ...]] = []

    def labels(self, *labels: object) -> Counter:
        self.counted.append(labels)
        return self

    def inc(self) -> None:
        pass


def test_the_page_on_caching_runs(names: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = types.ModuleType("prometheus_client")
    stand_in.Counter = Counter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "prometheus_client", stand_in)
    for code in snippets(ROOT / "docs" / "caching.md"):
        run(code, names)
    names["client"].encrypt(b"data")  # type: ignore[attr-defined]
    assert names["calls"].counted == [("GenerateDataKey", "ok")]  # type: ignore[attr-defined]


def test_the_recipes_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in snippets(ROOT / "docs" / "recipes.md"):
        if "qcloud_cos" in code or ("sqlalchemy" in code and importlib.util.find_spec("sqlalchemy") is None):
            continue
        exec(code, names)
    assert names["rows"] == [["id", "amount"], ["1", "20"]]
    assert names["number"] == b"6222..."
    assert len(names["frame"]) == 1  # type: ignore[arg-type]
    names["kms"].close()  # type: ignore[attr-defined]


def test_the_page_on_errors_runs_and_has_every_error() -> None:
    page = ROOT / "docs" / "errors.md"
    names: dict[str, object] = {}
    for code in snippets(page):
        exec(code, names)
    with LocalKms() as kms:
        client = EnvelopeClient(kms.key(kms.create_key("demo")))
        assert client.decrypt(names["seal"](client, b"data")) == b"data"  # type: ignore[operator]
    errors = [
        name
        for name in kmsenvelope.__all__
        if isinstance(kind := getattr(kmsenvelope, name), type) and issubclass(kind, Exception)
    ]
    assert [name for name in errors if f"`{name}`" not in page.read_text()] == []


def test_the_page_on_errors_has_the_exit_codes_of_the_command_line() -> None:
    rows = re.findall(r"^\| `(\w+)`[^|]*\| (\d) \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    for name, code in rows:
        kind = getattr(kmsenvelope, name, None) or getattr(__import__("builtins"), name)
        error = kind("why", code="Code", action="Action") if issubclass(kind, KmsError) else kind("why")
        assert exits.code_of(error) == int(code), name
    assert len(rows) > 12


def command(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that ``words`` call, and its own words."""
    found: click.Command = typer.main.get_command(app)
    while words and (inner := getattr(found, "commands", {}).get(words[0])):
        found, words = inner, words[1:]
    return found, words


def calls(page: Path) -> list[str]:
    """The calls of the command that a page shows, in blocks and between backticks."""
    text = page.read_text().replace("\\\n", " ")
    shown = re.findall(r"^ {4}.*|`[^`\n]+`", text, re.MULTILINE)
    shown += [
        line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
    ]
    return [
        call for code in shown for call in re.findall(r"\bkmsenvelope ((?!emulator:)[a-z][^|`#;&)]*)", code)
    ]


@each_page
def test_commands_and_options_exist(page: Path) -> None:
    unknown = []
    for call in calls(page):
        found, words = command(call.split())
        known = {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)}
        if hasattr(found, "commands") and words:
            unknown.append(call)
        unknown += [
            f"{call}: {word}" for word in words if re.fullmatch("--[a-z-]+", word) and word not in known
        ]
    assert unknown == []


def test_the_first_round_on_the_command_line_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    (section,) = re.findall(r"## A first round\n(.*?)\n\n[A-Z]", text, re.DOTALL)
    script = "set -euo pipefail\n" + section.replace("ssh host 'cat > data.tar.kmse'", "cat > data.tar.kmse")
    (tmp_path / "orders.csv").write_bytes(b"id,amount\n" * 1000)
    (tmp_path / "data").mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("KMSENV")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy.csv").read_bytes() == (tmp_path / "orders.csv").read_bytes()
    assert done.stdout.endswith("id,amount\n" * 10)
