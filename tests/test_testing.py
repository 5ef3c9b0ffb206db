"""What application developers get: the fake, the fixtures, and that the documentation's example runs."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kmsenvelope import EnvelopeClient, KmsAccessDenied, KmsError, KmsThrottled, KmsUnavailable
from kmsenvelope.kms.retry import Retry
from kmsenvelope.testing import FakeKms, connect

DOCS = Path(__file__).parent.parent / "docs"


def test_the_fake_serves_an_envelope_client(fake_kms):
    client = EnvelopeClient(fake_kms.key(fake_kms.create_key("demo")))
    blob = client.encrypt(b"data", context={"tenant": "42"})
    assert client.decrypt(blob, context={"tenant": "42"}) == b"data"
    assert fake_kms.calls.count("GenerateDataKey", "ok") == 1
    assert fake_kms.region == "ap-guangzhou"


@pytest.mark.parametrize(
    ("kind", "error", "performed"),
    [
        ("throttle", KmsThrottled, False),
        ("reset", KmsUnavailable, False),
        ("status", KmsUnavailable, False),
        ("expired_credentials", KmsAccessDenied, False),
        ("error", KmsError, False),
        ("lost_answer", KmsUnavailable, True),
        ("truncate", KmsUnavailable, True),
        ("stall", KmsUnavailable, True),
        ("empty", KmsUnavailable, True),
    ],
)
@pytest.mark.parametrize("socket", [False, True])
def test_fake_and_emulator_fail_alike(request, kind, error, performed, socket):
    settings = {"code": "FailedOperation"} if kind == "error" else {"seconds": 5.0} if kind == "stall" else {}
    never = Retry(deadline=0)
    if socket:
        side = request.getfixturevalue("kms_emulator")
        kms = connect(side, retry=never, read_timeout=0.5)
    else:
        side = kms = FakeKms(retry=never)
    with kms:
        fault = side.faults.add(kind, **settings)
        with pytest.raises(error) as caught:
            kms.call("CreateKey", {"Alias": "demo"})
        assert type(caught.value) is error
        assert fault.hits == 1
        assert side.engine.call("ListKeys", {})["TotalCount"] == (1 if performed else 0)


@pytest.mark.parametrize("kms_fixture", ["fake_kms", "tencent_kms"])
def test_lost_answers_and_throttling_are_survived(request, kms_fixture):
    kms = request.getfixturevalue(kms_fixture)
    side = kms if kms_fixture == "fake_kms" else request.getfixturevalue("kms_emulator")
    side.clock.advance(days=-100)
    side.faults.add("lost_answer", action="CreateKey")
    side.faults.add("throttle", action="GenerateDataKey", times=2)
    side.faults.add("latency", seconds=0.01, times=None)
    client = EnvelopeClient(kms.key(kms.create_key("demo")))
    assert client.decrypt(client.encrypt(b"data")) == b"data"
    assert side.engine.call("ListKeys", {})["TotalCount"] == 1


@pytest.mark.parametrize("kms_fixture", ["fake_kms", "tencent_kms"])
def test_answers_can_be_patched(request, kms_fixture):
    kms = request.getfixturevalue(kms_fixture)
    side = kms if kms_fixture == "fake_kms" else request.getfixturevalue("kms_emulator")
    side.faults.add("patch", action="GetRegions", members={"Regions": ["moon"], "New": 1})
    assert kms.call("GetRegions")["Regions"] == ["moon"]
    assert kms.call("GetRegions")["Regions"] != ["moon"]
    side.faults.add("patch", action="GetRegions", members={"Regions": None})
    assert "Regions" not in kms.call("GetRegions")


def test_the_fake_s_back_off_takes_no_time_and_ends(fake_kms):
    fake_kms.faults.add("throttle", times=None)
    with pytest.raises(KmsThrottled):
        fake_kms.create_key("demo")
    assert len(fake_kms.calls) > 5


def test_the_fake_cannot_be_pickled(fake_kms):
    with pytest.raises(TypeError, match="emulator"):
        pickle.dumps(fake_kms)


def test_each_test_gets_an_empty_emulator(kms_emulator, tencent_kms):
    tencent_kms.create_key("same-alias-every-time")
    kms_emulator.clock.advance(days=1)
    kms_emulator.faults.add("reset", action="Decrypt", times=None)
    assert len(kms_emulator.calls) == 1


test_and_the_next_one_too = test_each_test_gets_an_empty_emulator


def test_a_short_fault_run_loses_and_doubles_nothing():
    command = [sys.executable, str(DOCS.parent / "benchmarks" / "faults.py"), "20", "0.2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = done.stdout.splitlines()[4:]
    assert len(rows) == 9
    assert all("20 ok;" in row for row in rows)


def test_the_documentation_s_example_runs(tmp_path):
    blocks = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", (DOCS / "testing.md").read_text(), re.DOTALL)
    assert [name for name, _ in blocks] == ["vault.py", "test_vault.py"]
    for name, text in blocks:
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{blocks[1][1].count('def test_')} passed" in done.stdout


def test_the_documentation_s_policies_exist():
    blocks = re.findall(r"```python\n(from .*?)```", (DOCS / "testing.md").read_text(), re.DOTALL)
    assert len(blocks) == 1
    names: dict[str, FakeKms] = {}
    exec(blocks[0], names)
    names["kms"].close()
