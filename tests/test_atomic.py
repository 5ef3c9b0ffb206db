"""A file appears under its name only when it is complete."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from kmsenvelope.atomic import AtomicFile


class NamedFile(AtomicFile):
    """As on systems without O_TMPFILE."""

    _no_name = False


@pytest.fixture(params=[AtomicFile, NamedFile], ids=["unnamed", "named"])
def kind(request: pytest.FixtureRequest) -> type[AtomicFile]:
    return request.param


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_nothing_is_there_before_commit_and_all_of_it_after(tmp_path: Path, kind: type[AtomicFile]) -> None:
    with kind(tmp_path / "out", overwrite=False) as file:
        os.write(file.fd, b"data")
        assert "out" not in names(tmp_path)
        file.commit()
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"data"


def test_an_exception_leaves_nothing(tmp_path: Path, kind: type[AtomicFile]) -> None:
    with pytest.raises(RuntimeError), kind(tmp_path / "out", overwrite=True):
        raise RuntimeError
    assert names(tmp_path) == []


@pytest.mark.parametrize("mode", [0o640, 0o600, 0o666])
def test_an_existing_file_stays_until_commit_and_keeps_its_mode(
    tmp_path: Path, kind: type[AtomicFile], mode: int
) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    path.chmod(mode)
    with kind(path, overwrite=True, durable=True) as file:
        os.write(file.fd, b"new")
        assert path.read_bytes() == b"old"
        file.commit()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("char", ["x", "\u6570", "\U0001f511"])
def test_a_name_may_be_as_long_as_the_file_system_allows(
    tmp_path: Path, kind: type[AtomicFile], char: str, overwrite: bool
) -> None:
    path = tmp_path / (char * (255 // len(char.encode())))
    with kind(path, overwrite=overwrite) as file:
        file.commit()
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_may_be_written_to_need_not_be_readable(
    kind: type[AtomicFile], overwrite: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o733)
        path = Path(folder) / "out"
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            with kind(path, overwrite=overwrite) as file:
                file.commit()
            with pytest.raises(PermissionError), kind(path, overwrite=True, durable=True) as file:
                os.write(file.fd, b"it cannot be flushed")
                file.commit()
        finally:
            os.seteuid(user)
        os.chmod(folder, 0o700)
        assert names(Path(folder)) == ["out"]
        assert path.read_bytes() == b""


def test_a_new_file_obeys_the_umask(tmp_path: Path, kind: type[AtomicFile]) -> None:
    with kind(tmp_path / "out", overwrite=False) as file:
        file.commit()
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_without_overwrite_an_existing_file_is_refused_at_once(
    tmp_path: Path, kind: type[AtomicFile]
) -> None:
    (tmp_path / "out").write_bytes(b"old")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        kind(tmp_path / "out", overwrite=False)
    assert names(tmp_path) == ["out"]


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path, kind: type[AtomicFile]) -> None:
    with kind(tmp_path / "out", overwrite=False) as file:
        (tmp_path / "out").write_bytes(b"someone else's")
        with pytest.raises(FileExistsError):
            file.commit()
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"someone else's"


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path, kind: type[AtomicFile]) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with kind(tmp_path / "link", overwrite=True) as file:
        os.write(file.fd, b"new")
        file.commit()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_folders_devices_and_missing_folders_are_refused(tmp_path: Path, kind: type[AtomicFile]) -> None:
    with pytest.raises(IsADirectoryError):
        kind(tmp_path, overwrite=True)
    with pytest.raises(OSError, match="not a regular file"):
        kind("/dev/null", overwrite=True)
    with pytest.raises(FileNotFoundError, match="missing/out"):
        kind(tmp_path / "missing" / "out", overwrite=True)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        kind(tmp_path / "file" / "out", overwrite=True)


def test_a_long_name_still_has_room_for_a_temporary_one(tmp_path: Path, kind: type[AtomicFile]) -> None:
    path = tmp_path / ("n" * 255)
    path.write_bytes(b"old")
    with kind(path, overwrite=True) as file:
        os.write(file.fd, b"new")
        file.commit()
    assert path.read_bytes() == b"new"


def test_discard_twice_and_after_commit_does_no_harm(tmp_path: Path, kind: type[AtomicFile]) -> None:
    file = kind(tmp_path / "out", overwrite=False)
    file.commit()
    file.discard()
    file.discard()
    assert names(tmp_path) == ["out"]
