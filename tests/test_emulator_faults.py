"""Injected faults, as the real SDK and a plain client see them, and the admin path."""

from __future__ import annotations

import http.client
import json
import time

import pytest
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118 import models
from tencentcloud.kms.v20190118.kms_client import KmsClient

from kmsenvelope.emulator.faults import KINDS, Faults
from kmsenvelope.emulator.server import Emulator


@pytest.fixture(scope="module")
def server():
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(server):
    server.reset()
    return server


@pytest.fixture
def sdk(emulator):
    profile = ClientProfile(httpProfile=HttpProfile(endpoint=emulator.endpoint, reqTimeout=1))
    client = KmsClient(Credential(emulator.secret_id, emulator.secret_key), emulator.region, profile)
    yield client
    client.request.conn._session.close()


def create(sdk: KmsClient, alias: str = "demo") -> str:
    request = models.CreateKeyRequest()
    request.Alias = alias
    return sdk.CreateKey(request).KeyId


def failure(sdk: KmsClient) -> str:
    with pytest.raises(TencentCloudSDKException) as caught:
        create(sdk)
    return caught.value.code


@pytest.mark.parametrize(
    ("kind", "settings", "code", "performed"),
    [
        ("throttle", {}, "RequestLimitExceeded", False),
        ("error", {"code": "UnauthorizedOperation"}, "UnauthorizedOperation", False),
        ("expired_credentials", {}, "AuthFailure.TokenFailure", False),
        ("reset", {}, "ClientNetworkError", False),
        ("lost_answer", {}, "ClientNetworkError", True),
        ("truncate", {}, "ChunkedEncodingError", True),
        ("stall", {"seconds": 5}, "ConnectionError", True),
        ("status", {}, "ServerNetworkError", False),
        ("empty", {}, "JSONDecodeError", True),
    ],
)
def test_each_fault_looks_as_the_real_one_to_the_sdk(emulator, sdk, kind, settings, code, performed):
    fault = emulator.faults.add(kind, **settings)
    assert failure(sdk) == code
    assert fault.hits == 1
    assert emulator.engine.call("ListKeys", {})["TotalCount"] == (1 if performed else 0)
    create(sdk, "next")


def test_another_content_type_hides_the_error_from_the_sdk(emulator, sdk):
    create(sdk)
    emulator.faults.add("content_type")
    assert create(sdk) is None  # AliasAlreadyExists went unnoticed: the trap that clients must not fall into


def test_latency_delays_and_combines(emulator, sdk):
    emulator.faults.add("latency", seconds=0.2)
    emulator.faults.add("throttle")
    start = time.monotonic()
    assert failure(sdk) == "RequestLimitExceeded"
    assert time.monotonic() - start >= 0.2


def test_faults_strike_their_action_as_often_as_told(emulator, sdk):
    emulator.faults.add("throttle", action="Decrypt")
    emulator.faults.add("throttle", action="CreateKey", times=2)
    assert [failure(sdk), failure(sdk)] == ["RequestLimitExceeded"] * 2
    create(sdk)
    emulator.faults.add("throttle", times=None)
    assert [failure(sdk) for _ in range(4)] == ["RequestLimitExceeded"] * 4
    emulator.faults.clear()
    create(sdk, "other")
    assert emulator.calls.count("CreateKey", "RequestLimitExceeded") == 6


def test_probability_is_that_of_each_call():
    faults = Faults(seed=1)
    fault = faults.add("reset", times=None, probability=0.3)
    hits = sum(bool(faults.strike("Encrypt")) for _ in range(1000))
    assert hits == fault.hits
    assert 250 < hits < 350


def test_wrong_faults_are_refused():
    faults = Faults()
    with pytest.raises(ValueError, match="throttle"):
        faults.add("explode")
    with pytest.raises(TypeError):
        faults.add("reset", colour="red")
    with pytest.raises(ValueError, match="probability"):
        faults.add("reset", probability=2)


def test_every_kind_is_documented():
    for kind in KINDS:
        assert f"\n    {kind} " in (Faults.__doc__ or "")


def test_a_reset_is_one():
    with Emulator() as emulator:
        emulator.faults.add("reset")
        connection = http.client.HTTPConnection(emulator.endpoint.removeprefix("http://"), timeout=10)
        connection.request("POST", "/", "{}")
        with pytest.raises(ConnectionResetError):
            connection.sock.recv(1)
        connection.close()


def test_a_stopped_emulator_does_not_wait_for_a_stall():
    with Emulator() as emulator:
        emulator.faults.add("stall", seconds=600)
        connection = http.client.HTTPConnection(emulator.endpoint.removeprefix("http://"), timeout=10)
        connection.request("POST", "/", "{}")
        response = connection.getresponse()
        start = time.monotonic()
    assert time.monotonic() - start < 1.5
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    connection.close()


def admin(emulator: Emulator, method: str, what: str, body: object = None, content_type="application/json"):
    connection = http.client.HTTPConnection(emulator.endpoint.removeprefix("http://"), timeout=10)
    text = json.dumps(body) if body is not None else None
    connection.request(method, f"/_emulator/{what}", text, {"Content-Type": content_type})
    response = connection.getresponse()
    answer = response.status, json.loads(response.read())
    connection.close()
    return answer


def test_faults_and_clock_can_be_set_from_another_process(emulator, sdk):
    status, fault = admin(emulator, "POST", "faults", {"kind": "throttle", "times": 1})
    assert (status, fault["kind"]) == (200, "throttle")
    assert failure(sdk) == "RequestLimitExceeded"
    admin(emulator, "POST", "faults", {"kind": "throttle", "times": None})
    assert admin(emulator, "DELETE", "faults")[0] == 200
    create(sdk)
    status, answer = admin(emulator, "POST", "clock", {"days": 10})
    assert status == 200
    assert answer["now"] > time.time() + 9 * 86400
    assert admin(emulator, "GET", "clock")[0] == 200


def test_the_admin_path_refuses_what_a_web_page_could_send_and_nonsense(emulator):
    assert admin(emulator, "POST", "faults", {"kind": "reset"}, "text/plain")[0] == 415
    assert admin(emulator, "POST", "faults", {"kind": "nope"})[0] == 400
    assert admin(emulator, "POST", "faults", {"no": "kind"})[0] == 400
    assert admin(emulator, "POST", "faults", [1])[0] == 400
    assert admin(emulator, "POST", "nothing", {})[0] == 404
