"""rewrap: which keys open the envelopes afterwards, and what is said of each file."""

from __future__ import annotations

from pathlib import Path

import pytest
from clikit import Shell
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kmsenvelope import inspect


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    made = Shell(tmp_path)
    assert made("keys", "create", "new").code == 0
    return made


@pytest.fixture
def archive(shell: Shell) -> Path:
    """A folder with three envelopes and a file that is none."""
    folder = shell.folder / "archive"
    (folder / "deep").mkdir(parents=True)
    for name in ("archive/1", "archive/2", "archive/deep/3"):
        shell.envelope(name.encode(), name=name)
    shell.file("archive/plain", b"no envelope")
    return folder


def opens(shell: Shell, path: Path, key: str) -> bool:
    code = shell("decrypt", path, "-", "-k", key).code
    assert code in (0, 5)
    return code == 0


def test_check_lists_what_would_change_and_changes_nothing(shell: Shell, archive: Path) -> None:
    before = {path: path.read_bytes() for path in archive.rglob("*") if path.is_file()}
    outcome = shell("rewrap", "--check", archive, "--to", "local:new", KMSENVELOPE_KEY="")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [f"{archive}/1", f"{archive}/2", f"{archive}/deep/3"]
    assert {path: path.read_bytes() for path in archive.rglob("*") if path.is_file()} == before
    assert shell("rewrap", "--check", archive, "--to", "local:demo").out == ""


def test_to_replaces_the_keys_of_files_and_folders(shell: Shell, archive: Path) -> None:
    outcome = shell("rewrap", archive / "1", archive / "deep", "--to", "local:new", "--key", "local:demo")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"{archive}/1: new file\n{archive}/deep/3: new file\n"
    for name in ("1", "deep/3"):
        assert opens(shell, archive / name, "local:new")
        assert not opens(shell, archive / name, "local:demo")
    assert opens(shell, archive / "2", "local:demo")
    assert shell("rewrap", archive / "1", "--to", "local:new").out == "", "nothing is left to do"


def test_add_and_remove_change_the_list(shell: Shell) -> None:
    path = shell.envelope(b"data")
    old = str(inspect(path).recipients[0])
    assert shell("rewrap", path, "--add", "local:new").code == 0
    assert opens(shell, path, "local:new")
    assert opens(shell, path, "local:demo")
    assert shell("rewrap", path, "--remove", old, "-k", "local:new", "-q").out == ""
    assert not opens(shell, path, "local:demo")
    assert shell("rewrap", path, "--add", "local:demo", "--remove", "local:new", "-k", "local:new").code == 0
    assert opens(shell, path, "local:demo")
    outcome = shell("rewrap", path, "--remove", "local:demo")
    assert outcome.code == 2
    assert outcome.err.startswith(f"kmsenvelope: {path}: no key would be left")


def test_a_public_key_is_added_from_its_file(shell: Shell) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = shell.file(
        "public.pem",
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )
    private = shell.file(
        "private.pem",
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    path = shell.envelope(b"data")
    assert shell("rewrap", path, "--add", public).code == 0
    assert shell("decrypt", path, "-", "--private-key", private, KMSENVELOPE_KEY="").data == b"data"


def test_room_in_the_header_lets_a_key_be_added_in_place(shell: Shell) -> None:
    path = shell.envelope(b"data", "--header-room", 1000)
    inode = path.stat().st_ino
    outcome = shell("rewrap", path, "--add", "local:new", "--in-place")
    assert outcome.out == f"{path}: in place\n"
    assert path.stat().st_ino == inode
    assert shell("rewrap", shell.envelope(), "--add", "local:new", "--in-place").code == 2


def test_the_aad_is_checked_unless_it_is_not_known(shell: Shell) -> None:
    path = shell.envelope(b"data", "--aad", "row 7")
    assert shell("rewrap", path, "--to", "local:new").code == 4
    assert shell("rewrap", path, "--to", "local:new", "--any-aad").code == 0
    assert shell("rewrap", path, "--to", "local:demo", "-k", "local:new", "--aad", "row 7").code == 0


def test_a_failure_does_not_stop_the_others(shell: Shell, archive: Path) -> None:
    plain, absent = archive / "plain", archive / "absent"
    outcome = shell("rewrap", plain, absent, archive / "1", "--to", "local:new")
    assert outcome.code == 3
    assert outcome.out == f"{archive}/1: new file\n"
    lines = outcome.err.splitlines()
    assert [str(plain) in lines[0], str(absent) in lines[1], len(lines)] == [True, True, 2]


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--to", "local:new", "--add", "local:new"),
        ("--to", "local:new", "--remove", "local:demo"),
        ("--to", "new"),
        ("--add", "local:"),
    ],
)
def test_wrong_usage(shell: Shell, options: tuple[str, ...]) -> None:
    path = shell.envelope()
    before = path.read_bytes()
    outcome = shell("rewrap", path, *options)
    assert outcome.code in (1, 2)
    assert outcome.err.count("\n") == 1
    assert path.read_bytes() == before
