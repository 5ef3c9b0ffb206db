"""The emulator's protocol, by a client of plain http.client and its own TC3 signature."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import socket
import stat
import time
import uuid
from datetime import UTC, datetime

import pytest

from kmsenvelope.emulator.clock import MovableClock
from kmsenvelope.emulator.policy import Policy
from kmsenvelope.emulator.server import Emulator


def signature(secret_key: str, date: str, timestamp: str, canonical: str) -> str:
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"TC3-HMAC-SHA256\n{timestamp}\n{date}/kms/tc3_request\n{digest}"
    key = ("TC3" + secret_key).encode()
    for part in (date, "kms", "tc3_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


class Client:
    """One connection; every part of a request can be made wrong."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.address = emulator.endpoint.removeprefix("http://")
        self.connection = http.client.HTTPConnection(self.address, timeout=20)

    def close(self) -> None:
        self.connection.close()

    def send(
        self,
        action: str | None = "GetRegions",
        params: object = None,
        *,
        body: bytes | None = None,
        method: str = "POST",
        query: str = "",
        path: str = "/",
        host: str | None = None,
        credential: tuple[str, str] | None = None,
        token: str | None = None,
        timestamp: int | None = None,
        date: str | None = None,
        service: str = "kms",
        signed: str = "content-type;host",
        lower: bool = False,
        tamper: bool = False,
        drop: tuple[str, ...] = (),
        extra: dict[str, str] | None = None,
        unsigned_payload: bool = False,
    ) -> http.client.HTTPResponse:
        secret_id, secret_key = credential or (self.emulator.secret_id, self.emulator.secret_key)
        body = body if body is not None else b"" if method == "GET" else json.dumps(params or {}).encode()
        stamp = str(timestamp if timestamp is not None else int(time.time()))
        headers = {
            "Host": host or self.address,
            "Content-Type": "application/x-www-form-urlencoded" if method == "GET" else "application/json",
            "X-TC-Action": action or "",
            "X-TC-Version": "2019-01-18",
            "X-TC-Region": "ap-guangzhou",
            "X-TC-Timestamp": stamp,
        }
        headers |= {"X-TC-Token": token} if token else {}
        headers |= {"X-TC-Content-SHA256": "UNSIGNED-PAYLOAD"} if unsigned_payload else {}
        headers |= extra or {}
        values = {name.lower(): value for name, value in headers.items()}
        lines = "".join(
            f"{name}:{values.get(name, '').lower() if lower else values.get(name, '')}\n"
            for name in signed.split(";")
        )
        payload = b"UNSIGNED-PAYLOAD" if unsigned_payload else body
        canonical = f"{method}\n/\n{query}\n{lines}\n{signed}\n{hashlib.sha256(payload).hexdigest()}"
        day = date or datetime.fromtimestamp(int(stamp), UTC).strftime("%Y-%m-%d")
        signed_with = signature(secret_key, day, stamp, canonical)
        if tamper:
            signed_with = ("0" if signed_with[0] != "0" else "1") + signed_with[1:]
        headers["Authorization"] = (
            f"TC3-HMAC-SHA256 Credential={secret_id}/{day}/{service}/tc3_request, "
            f"SignedHeaders={signed}, Signature={signed_with}"
        )
        for name in drop:
            del headers[name]
        target = f"{path}?{query}" if query else path
        self.connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            self.connection.putheader(name, value)
        self.connection.putheader("Content-Length", str(len(body)))
        self.connection.endheaders(body)
        return self.connection.getresponse()

    def call(
        self, action: str | None = "GetRegions", params: object = None, **how: object
    ) -> dict[str, object]:
        response = self.send(action, params, **how)
        assert response.status == 200
        assert response.getheader("Content-Type") == "application/json"
        content = json.loads(response.read())["Response"]
        uuid.UUID(content["RequestId"])
        return content

    def code(self, action: str | None = "GetRegions", params: object = None, **how: object) -> str:
        return self.call(action, params, **how)["Error"]["Code"]


@pytest.fixture(scope="module")
def server():
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(server):
    server.reset()
    return server


@pytest.fixture
def client(emulator):
    client = Client(emulator)
    yield client
    client.close()


def test_a_signed_call_is_answered(client):
    made = client.call("CreateKey", {"Alias": "demo"})
    assert made["KeyState"] == "Enabled"
    assert client.emulator.engine.call("DescribeKey", {"KeyId": made["KeyId"]})


def test_errors_come_with_status_200_and_a_request_id(client):
    content = client.call("DescribeKey", {"KeyId": "x"})
    assert content["Error"]["Code"] == "InvalidParameterValue.InvalidKeyId"
    assert content["Error"]["Message"]
    assert set(content) == {"Error", "RequestId"}


def test_many_calls_share_a_connection(client):
    socket_before = None
    for _ in range(5):
        client.call("GetRegions")
        assert client.connection.sock is not None
        socket_before = socket_before or client.connection.sock
        assert client.connection.sock is socket_before


def test_the_odd_host_of_tccli_passes(client):
    assert client.call(host=client.emulator.endpoint)["Regions"]


def test_more_headers_may_be_signed_in_either_case(client):
    signed = "content-type;host;x-tc-action"
    assert client.call(signed=signed)["Regions"]
    assert client.call(signed=signed, lower=True)["Regions"]


def test_unsigned_payload_passes(client):
    assert client.call("CreateKey", {"Alias": "demo"}, unsigned_payload=True)["KeyId"]


def test_get_requests_pass_with_flattened_lists(client):
    ids = [client.call("CreateKey", {"Alias": f"k{n}"})["KeyId"] for n in range(2)]
    query = f"KeyIds.1={ids[1]}&KeyIds.0={ids[0]}"
    found = client.call("DescribeKeys", method="GET", query=query)["KeyMetadatas"]
    assert [each["KeyId"] for each in found] == ids
    query = "Alias=tagged&Type=2&Tags.0.TagKey=env&Tags.0.TagValue=a%26b"
    assert client.call("CreateKey", method="GET", query=query)["KeyState"] == "PendingImport"
    filters = {"TagFilters": [{"TagKey": "env", "TagValue": ["a&b"]}]}
    assert client.call("ListKeyDetail", filters)["TotalCount"] == 1


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"drop": ("Authorization",)}, "AuthFailure.InvalidAuthorization"),
        ({"service": "cvm"}, "AuthFailure.InvalidAuthorization"),
        ({"signed": "host"}, "AuthFailure.InvalidAuthorization"),
        ({"signed": "content-type;host;x-not-sent"}, "AuthFailure.InvalidAuthorization"),
        ({"credential": ("AKIDnobody", "x")}, "AuthFailure.SecretIdNotFound"),
        ({"timestamp": 1}, "AuthFailure.SignatureExpire"),
        ({"drop": ("X-TC-Timestamp",)}, "AuthFailure.SignatureExpire"),
        ({"tamper": True}, "AuthFailure.SignatureFailure"),
        ({"date": "2019-01-18"}, "AuthFailure.SignatureFailure"),
        ({"token": "needless"}, "AuthFailure.TokenFailure"),
        ({"extra": {"X-TC-Action": "Nope"}}, "InvalidAction"),
        ({"drop": ("X-TC-Action",)}, "MissingParameter"),
        ({"extra": {"X-TC-Version": "2018-01-18"}}, "NoSuchVersion"),
        ({"drop": ("X-TC-Version",)}, "MissingParameter"),
        ({"drop": ("X-TC-Region",)}, "MissingParameter"),
        ({"extra": {"X-TC-Region": "moon"}}, "UnsupportedRegion"),
        ({"body": b"{"}, "InvalidParameter"),
        ({"body": b"[]"}, "InvalidParameter"),
        ({"body": b""}, "InvalidParameter"),
        ({"body": b"[" * 100_000}, "InvalidParameter"),
        ({"params": {"Region": "x"}}, "UnknownParameter"),
        ({"action": "DescribeKey"}, "MissingParameter"),
    ],
)
def test_what_is_wrong_is_said_in_the_service_s_words(client, how, code):
    assert client.code(**how) == code


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"credential": ("AKIDnobody", "x"), "timestamp": 1}, "AuthFailure.SecretIdNotFound"),
        ({"timestamp": 1, "tamper": True}, "AuthFailure.SignatureExpire"),
        ({"tamper": True, "extra": {"X-TC-Action": "Nope"}}, "AuthFailure.SignatureFailure"),
        ({"extra": {"X-TC-Action": "Nope", "X-TC-Version": "x"}}, "InvalidAction"),
        ({"extra": {"X-TC-Version": "x"}, "drop": ("X-TC-Region",)}, "NoSuchVersion"),
        ({"drop": ("X-TC-Region",), "body": b"{"}, "MissingParameter"),
        ({"action": "DescribeKey", "params": {"Key": "x"}}, "UnknownParameter"),
    ],
)
def test_checks_come_in_the_documented_order(client, how, code):
    assert client.code(**how) == code


def test_a_changed_body_breaks_the_signature(client):
    wrong = client.emulator.secret_key + "x"
    assert client.code(credential=(client.emulator.secret_id, wrong)) == "AuthFailure.SignatureFailure"


@pytest.mark.parametrize("skew", [-299, 299])
def test_five_minutes_of_skew_pass(client, skew):
    assert client.call(timestamp=int(time.time()) + skew)["Regions"]


@pytest.mark.parametrize("skew", [-302, 302])
def test_more_than_five_minutes_do_not(client, skew):
    assert client.code(timestamp=int(time.time()) + skew) == "AuthFailure.SignatureExpire"


def test_moving_the_kms_clock_leaves_signatures_valid(client):
    client.emulator.clock.advance(days=400)
    made = client.call("CreateKey", {"Alias": "demo"})
    assert made["CreateTime"] > time.time() + 399 * 86400


def test_temporary_credentials_need_their_token_and_end(client):
    client.emulator.clock.freeze()
    secret_id, secret_key, token = client.emulator.accounts.temporary(60)
    credential = (secret_id, secret_key)
    assert client.call(credential=credential, token=token)["Regions"]
    assert client.code(credential=credential) == "AuthFailure.TokenFailure"
    assert client.code(credential=credential, token="x") == "AuthFailure.TokenFailure"
    client.emulator.clock.advance(59)
    assert client.call(credential=credential, token=token)["Regions"]
    client.emulator.clock.advance(1)
    assert client.code(credential=credential, token=token) == "AuthFailure.TokenFailure"


def test_removed_credentials_are_unknown(client):
    secret_id, secret_key, _ = client.emulator.accounts.add()
    assert client.call(credential=(secret_id, secret_key))["Regions"]
    client.emulator.accounts.remove(secret_id)
    assert client.code(credential=(secret_id, secret_key)) == "AuthFailure.SecretIdNotFound"


def test_regions_have_their_own_keys(client):
    made = client.call("CreateKey", {"Alias": "demo"})
    elsewhere = {"extra": {"X-TC-Region": "ap-shanghai"}}
    assert client.code("DescribeKey", {"KeyId": made["KeyId"]}, **elsewhere) == (
        "ResourceUnavailable.CmkNotFound"
    )
    assert client.call("CreateKey", {"Alias": "demo"}, **elsewhere)["KeyId"]


def test_an_oversized_body_is_refused(client):
    assert client.code("Encrypt", body=b" " * (10 * 2**20 + 1)) == "RequestSizeLimitExceeded"


def test_an_oversized_query_is_refused(client):
    query = "Alias=" + "x" * 32 * 1024
    assert client.code("CreateKey", method="GET", query=query) == "RequestSizeLimitExceeded"


def test_other_paths_and_methods_are_not_the_api(client):
    response = client.send(path="/other")
    assert response.status == 404
    response.read()
    response = client.send(method="PUT")
    assert response.status == 405
    response.read()


def test_calls_are_recorded_without_plaintext(client):
    made = client.call("CreateKey", {"Alias": "demo"})
    sealed = client.call("Encrypt", {"KeyId": made["KeyId"], "Plaintext": "c2VjcmV0"})
    client.call("Decrypt", {"CiphertextBlob": sealed["CiphertextBlob"]})
    client.call("DisableKey", {"KeyId": made["KeyId"]})
    client.call("Decrypt", {"CiphertextBlob": sealed["CiphertextBlob"]})
    calls = client.emulator.calls
    seen = [(each.action, each.key_id == made["KeyId"], each.outcome) for each in calls]
    assert seen == [
        ("CreateKey", True, "ok"),
        ("Encrypt", True, "ok"),
        ("Decrypt", True, "ok"),
        ("DisableKey", True, "ok"),
        ("Decrypt", True, "ResourceUnavailable.CmkDisabled"),
    ]
    assert calls.count("Decrypt") == 2
    assert calls.count("Decrypt", "ok") == 1
    assert {each.who for each in calls} == {client.emulator.secret_id}
    assert "c2VjcmV0" not in repr(list(calls))
    calls.clear()
    assert len(calls) == 0


def test_only_ids_get_into_the_journal(client):
    ids = [client.call("CreateKey", {"Alias": f"k{n}"})["KeyId"] for n in range(2)]
    client.call("DescribeKeys", {"KeyIds": ids})
    client.code("Encrypt", {"KeyId": "my secret by mistake", "Plaintext": "YQ=="})
    client.code("DescribeKeys", {"KeyIds": [ids[0], "my secret by mistake", 1]})
    *_, both, none, one = client.emulator.calls
    assert (both.key_id, none.key_id, one.key_id) == (",".join(ids), None, ids[0])


def test_a_reset_emulator_is_as_new(client):
    emulator = client.emulator
    secret_id, secret_key, _ = emulator.accounts.add()
    emulator.faults.add("throttle", times=None)
    emulator.clock.advance(days=1)
    client.code("GetRegions")
    emulator.reset()
    assert len(emulator.calls) == 0
    assert emulator.clock() < time.time() + 10
    assert client.code(credential=(secret_id, secret_key)) == "AuthFailure.SecretIdNotFound"
    assert client.call("ListKeys")["TotalCount"] == 0


def test_the_audit_log_has_a_line_for_each_call(tmp_path):
    with Emulator(audit=tmp_path / "audit.jsonl") as emulator:
        client = Client(emulator)
        key_id = client.call("CreateKey", {"Alias": "demo"})["KeyId"]
        client.call("Encrypt", {"KeyId": key_id, "Plaintext": "c2VjcmV0"})
        client.code("GetRegions", tamper=True)
        client.close()
    text = (tmp_path / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["action"], line["key_id"], line["outcome"]) for line in lines] == [
        ("CreateKey", key_id, "ok"),
        ("Encrypt", key_id, "ok"),
        (None, None, "AuthFailure.SignatureFailure"),
    ]
    assert all(line["time"] and line["request_id"] for line in lines)
    assert "c2VjcmV0" not in text
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


def test_keys_survive_a_restart_and_need_the_passphrase(tmp_path):
    with Emulator(data=tmp_path / "k.db", passphrase="pw") as emulator:
        client = Client(emulator)
        key_id = client.call("CreateKey", {"Alias": "demo"})["KeyId"]
        blob = client.call("Encrypt", {"KeyId": key_id, "Plaintext": "YQ=="})["CiphertextBlob"]
        client.close()
    with Emulator(data=tmp_path / "k.db", passphrase="pw") as emulator:
        client = Client(emulator)
        assert client.call("Decrypt", {"CiphertextBlob": blob})["Plaintext"] == "YQ=="
        client.close()


def test_documented_rates_apply_when_switched_on():
    clock = MovableClock()
    clock.freeze()
    with Emulator(rate_limits={"GetRegions": 2, "symmetric": 3}, clock=clock) as emulator:
        client = Client(emulator)
        outcomes = [client.call("GetRegions").get("Error", {}).get("Code") for _ in range(3)]
        assert outcomes == [None, None, "RequestLimitExceeded"]
        clock.advance(0.5)
        assert client.call("GetRegions")["Regions"]
        message = client.call("GetRegions")["Error"]["Message"]
        assert "`2`" in message
        # The symmetric actions share their rate; another region has its own.
        codes = [
            client.code("Encrypt"),
            client.code("Decrypt"),
            client.code("Encrypt"),
            client.code("Decrypt"),
        ]
        assert codes == ["MissingParameter"] * 3 + ["RequestLimitExceeded"]
        assert client.code("Decrypt", extra={"X-TC-Region": "ap-shanghai"}) == "MissingParameter"
        client.close()


def test_policies_reach_the_engine():
    with Emulator(policy=Policy(sm_regions=frozenset({"ap-guangzhou"}))) as emulator:
        client = Client(emulator)
        assert client.call("ListAlgorithms")["SymmetricAlgorithms"][0]["Algorithm"] == "SM4"
        client.close()


def test_a_taken_port_is_an_error_and_leaves_nothing_open(emulator):
    port = int(emulator.endpoint.rsplit(":", 1)[1])
    with pytest.raises(OSError, match=f"port {port}: .* in use"):
        Emulator(port=port).start()


def test_stopping_closes_the_port():
    with Emulator() as emulator:
        address = ("127.0.0.1", int(emulator.endpoint.rsplit(":", 1)[1]))
        socket.create_connection(address, 5).close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(address, 5)
