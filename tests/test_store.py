"""The key store: persistence, privacy, passphrase, several processes and threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kmsenvelope.emulator.records import Key
from kmsenvelope.emulator.store import NameTaken, Store, StoreError, WrongPassphrase

FAST = 2**10  # scrypt cost for tests


def key(number: int, region: str = "local") -> Key:
    return Key(
        region=region,
        id=f"00000000-0000-1000-8000-{number:012d}",
        name=f"alias-{number}",
        description="",
        usage="ENCRYPT_DECRYPT",
        origin="TENCENT_KMS",
        state="Enabled",
        created=1,
    )


def aliases(store: Store, region: str = "local") -> list[str]:
    with store.transaction(write=False) as tx:
        return [record.name for record in tx.all(Key, region)]


def test_records_and_secrets_survive_reopening(tmp_path):
    with Store(tmp_path / "k.db") as store, store.transaction(write=True) as tx:
        tx.add(key(1))
        tx.set_secret("a", "v1", b"material")
    with Store(tmp_path / "k.db") as store, store.transaction(write=False) as tx:
        assert tx.get(Key, "local", key(1).id) == key(1)
        assert tx.secret("a", "v1") == b"material"
        assert tx.secret("a", "v2") is None


def test_memory_store_has_no_file_and_is_alone():
    with Store() as one, Store() as two:
        with one.transaction(write=True) as tx:
            tx.add(key(1))
        assert aliases(one) == ["alias-1"]
        assert aliases(two) == []


def test_files_are_private_whatever_the_umask(tmp_path):
    old = os.umask(0)
    try:
        store = Store(tmp_path / "k.db")
    finally:
        os.umask(old)
    with store, store.transaction(write=True) as tx:
        tx.add(key(1))
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_readable_file_is_made_private(tmp_path):
    Store(tmp_path / "k.db").close()
    (tmp_path / "k.db").chmod(0o644)
    Store(tmp_path / "k.db").close()
    assert stat.S_IMODE((tmp_path / "k.db").stat().st_mode) == 0o600


def test_an_exception_undoes_the_transaction():
    with Store() as store:
        with pytest.raises(RuntimeError), store.transaction(write=True) as tx:
            tx.add(key(1))
            raise RuntimeError
        assert aliases(store) == []


def test_names_are_unique_per_region_and_kind():
    with Store() as store, store.transaction(write=True) as tx:
        tx.add(key(1))
        tx.add(key(1, region="elsewhere"))
        twin = key(2)
        twin.name = "alias-1"
        with pytest.raises(NameTaken):
            tx.add(twin)
        tx.add(key(3))
        renamed = key(3)
        renamed.name = "alias-1"
        with pytest.raises(NameTaken):
            tx.save(renamed)


def test_removing_a_record_removes_its_secrets():
    with Store() as store, store.transaction(write=True) as tx:
        tx.add(key(1))
        tx.set_secret(key(1).id, "v1", b"x")
        tx.remove(key(1))
        assert tx.get(Key, "local", key(1).id) is None
        assert tx.secret(key(1).id, "v1") is None


def test_passphrase_keeps_material_out_of_the_file(tmp_path):
    path = tmp_path / "k.db"
    secret = os.urandom(32)
    with Store(path, "correct horse", scrypt_n=FAST) as store, store.transaction(write=True) as tx:
        tx.set_secret("a", "v1", secret)
    with Store(path, b"correct horse") as store, store.transaction(write=False) as tx:
        assert tx.secret("a", "v1") == secret
    assert secret not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_without_a_passphrase_the_file_holds_the_material(tmp_path):
    secret = os.urandom(32)
    with Store(tmp_path / "k.db") as store, store.transaction(write=True) as tx:
        tx.set_secret("a", "v1", secret)
    assert secret in (tmp_path / "k.db").read_bytes()


def test_deleted_material_is_overwritten(tmp_path):
    secret = os.urandom(32)
    with Store(tmp_path / "k.db") as store:
        with store.transaction(write=True) as tx:
            tx.set_secret("a", "v1", secret)
        with store.transaction(write=True) as tx:
            tx.drop_secret("a", "v1")
    assert secret not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("made_with", "opened_with", "message"),
    [
        ("right", "wrong", "wrong passphrase"),
        ("right", None, "passphrase is needed"),
        (None, "any", "has no passphrase"),
    ],
)
def test_another_passphrase_is_a_clear_error(tmp_path, made_with, opened_with, message):
    Store(tmp_path / "k.db", made_with, scrypt_n=FAST).close()
    with pytest.raises(WrongPassphrase, match=message):
        Store(tmp_path / "k.db", opened_with)


def test_an_empty_passphrase_is_refused(tmp_path):
    with pytest.raises(ValueError, match="empty"):
        Store(tmp_path / "k.db", "")


def test_sealed_material_cannot_be_moved_to_another_key(tmp_path):
    path = tmp_path / "k.db"
    with Store(path, "pw", scrypt_n=FAST) as store, store.transaction(write=True) as tx:
        tx.set_secret("a", "v1", b"material of a")
        tx.set_secret("b", "v1", b"material of b")
    connection = sqlite3.connect(path)
    connection.execute(
        "UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE owner = 'a') WHERE owner = 'b'"
    )
    connection.commit()
    connection.close()
    with Store(path, "pw") as store, store.transaction(write=False) as tx:
        assert tx.secret("a", "v1") == b"material of a"
        with pytest.raises(StoreError, match="altered"):
            tx.secret("b", "v1")


@pytest.mark.parametrize("content", [b"not a database, but long enough to be read as one" * 100, b"SQLite"])
def test_another_file_is_a_clear_error_and_stays_as_it_was(tmp_path, content):
    path = tmp_path / "k.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"k\.db"):
        Store(path)
    assert path.read_bytes() == content


def test_another_sqlite_database_is_refused(tmp_path):
    connection = sqlite3.connect(tmp_path / "k.db")
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    before = (tmp_path / "k.db").read_bytes()
    with pytest.raises(StoreError, match="not a key store"):
        Store(tmp_path / "k.db")
    assert (tmp_path / "k.db").read_bytes() == before


def test_a_newer_store_is_a_clear_error(tmp_path):
    Store(tmp_path / "k.db").close()
    connection = sqlite3.connect(tmp_path / "k.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="newer"):
        Store(tmp_path / "k.db")


def test_missing_folder_and_folder_as_file_are_clear_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        Store(tmp_path / "no" / "k.db")
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path)


def test_a_closed_store_says_so():
    store = Store()
    store.close()
    store.close()
    with pytest.raises(ValueError, match="closed"), store.transaction(write=False):
        pass


def _add(path: str, start: int, count: int) -> None:
    with Store(path) as store:
        for number in range(start, start + count):
            with store.transaction(write=True) as tx:
                tx.add(key(number))


def test_processes_that_create_and_fill_one_store_lose_nothing(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    path = str(tmp_path / "k.db")
    workers = [spawn.Process(target=_add, args=(path, 100 * n, 20)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    with Store(path) as store:
        assert len(aliases(store)) == 80


@pytest.mark.parametrize("in_file", [True, False])
def test_threads_share_a_store(tmp_path, in_file):
    with Store(tmp_path / "k.db" if in_file else None) as store:

        def add(start: int) -> None:
            for number in range(start, start + 25):
                with store.transaction(write=True) as tx:
                    tx.add(key(number))

        threads = [threading.Thread(target=add, args=(100 * n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(aliases(store)) == 200


@pytest.mark.parametrize("in_file", [True, False])
def test_a_child_forked_while_another_thread_reads_is_not_blocked(tmp_path, in_file):
    with Store(tmp_path / "k.db" if in_file else None) as store:
        reading, done = threading.Event(), threading.Event()

        def read() -> None:
            with store.transaction(write=False):
                reading.set()
                done.wait(60)

        thread = threading.Thread(target=read)
        thread.start()
        reading.wait(60)
        pid = os.fork()
        if pid == 0:
            signal.alarm(10)  # kills the child if it waits for the parent's thread
            try:
                with store.transaction(write=True) as tx:
                    tx.add(key(2))
            finally:
                os._exit(0 if aliases(store) == ["alias-2"] else 1)
        _, status = os.waitpid(pid, 0)
        done.set()
        thread.join()
        assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("in_file", [True, False])
def test_a_forked_child_can_use_the_store(tmp_path, in_file):
    with Store(tmp_path / "k.db" if in_file else None) as store:
        with store.transaction(write=True) as tx:
            tx.add(key(1))
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                with store.transaction(write=True) as tx:
                    tx.add(key(2))
                code = 0 if aliases(store) == ["alias-1", "alias-2"] else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        with store.transaction(write=True) as tx:
            tx.add(key(3))
        expected = ["alias-1", "alias-2", "alias-3"] if in_file else ["alias-1", "alias-3"]
        assert aliases(store) == expected


def exit_code_of_child(work: Callable[[], bool]) -> int:
    return exit_code(forked(work))


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def forked(work: Callable[[], bool]) -> int:
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    return pid


@pytest.mark.parametrize("in_file", [True, False])
def test_a_child_forked_while_another_thread_reads_can_close_the_store(tmp_path, in_file):
    with Store(tmp_path / "k.db" if in_file else None) as store:
        reading, done = threading.Event(), threading.Event()

        def read() -> None:
            with store.transaction(write=False):
                reading.set()
                done.wait(60)

        thread = threading.Thread(target=read)
        thread.start()
        reading.wait(60)

        def close() -> bool:
            store.close()
            with pytest.raises(ValueError, match="closed"):
                aliases(store)
            return True

        code = exit_code_of_child(close)
        done.set()
        thread.join()
        assert code == 0
        assert aliases(store) == []


@pytest.mark.parametrize("in_file", [True, False])
def test_a_store_that_was_closed_is_closed_in_a_child_too(tmp_path, in_file):
    store = Store(tmp_path / "k.db" if in_file else None)
    store.close()

    def use() -> bool:
        with pytest.raises(ValueError, match="closed"):
            aliases(store)
        return True

    assert exit_code_of_child(use) == 0


def test_threads_that_are_first_in_a_child_share_one_new_connection(tmp_path):
    with Store(tmp_path / "k.db") as store:
        parents = store._connection

        def use() -> bool:
            start, used = threading.Barrier(8), []

            def read() -> None:
                start.wait()
                with store.transaction(write=False) as tx:
                    used.append(tx._connection)

            threads = [threading.Thread(target=read) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return len(used) == 8 and len(set(map(id, used))) == 1 and used[0] is not parents

        for _ in range(5):
            assert exit_code_of_child(use) == 0


def test_processes_that_create_one_store_at_the_same_moment_all_get_it(tmp_path):
    for number in range(30):
        path, start = tmp_path / f"{number}.db", time.monotonic() + 0.01

        def create(path: Path = path, start: float = start) -> bool:
            time.sleep(max(0.0, start - time.monotonic()))
            Store(path).close()
            return True

        children = [forked(create) for _ in range(4)]
        assert [exit_code(child) for child in children] == [0] * 4
