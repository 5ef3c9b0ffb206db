"""TencentKms through the real SDK over a socket: every fault, what is repeated, and what comes of it."""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
import pickle
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kmswire import Fault, KmsWire

from kmsenvelope.errors import KeyUnavailable, KmsAccessDenied, KmsError, KmsThrottled, KmsUnavailable
from kmsenvelope.kms.retry import Retry
from kmsenvelope.kms.tencent import TencentKms
from kmsenvelope.suites import Suite

FAST = Retry(deadline=1.0, first_wait=0.001, max_wait=0.002)
ONCE = Retry(deadline=0)


@pytest.fixture
def wire() -> Iterator[KmsWire]:
    with KmsWire() as server:
        yield server


def connected(wire: KmsWire, **options: Any) -> TencentKms:
    settings: dict[str, Any] = {"secret_id": "AKIDtest", "secret_key": "secret-of-test", "retry": FAST}
    if "credential" in options:
        settings = {"retry": FAST}
    return TencentKms("ap-guangzhou", **{**settings, "endpoint": wire.endpoint, **options})


@pytest.fixture
def kms(wire: KmsWire) -> Iterator[TencentKms]:
    with connected(wire, read_timeout=0.3) as client:
        yield client


@pytest.fixture
def key_id(wire: KmsWire) -> str:
    return str(wire.engine.call("CreateKey", {"Alias": "app"})["KeyId"])


@pytest.mark.parametrize("suite", Suite)
def test_a_data_key_makes_the_round_trip(kms: TencentKms, key_id: str, suite: Suite) -> None:
    key = kms.key(key_id)
    dek, recipient = key.generate(suite, '{"tenant":"42"}')
    assert len(dek) == suite.key_size
    assert (recipient.kms, recipient.region, recipient.key_id) == ("tencent", "ap-guangzhou", key_id)
    assert key.unwrap(recipient, '{"tenant":"42"}') == dek
    assert key.unwrap(key.wrap(dek, None), None) == dek


def test_requests_are_what_the_service_expects(kms: TencentKms, key_id: str, wire: KmsWire) -> None:
    kms.key(key_id).encrypt(b"x", {"a": "ü"})
    action, headers, body = wire.seen[0]
    assert action == "Encrypt"
    assert headers["X-TC-Version"] == "2019-01-18"
    assert headers["X-TC-Region"] == "ap-guangzhou"
    assert headers["Host"] == wire.endpoint.removeprefix("http://")
    assert headers["Authorization"].startswith("TC3-HMAC-SHA256 Credential=AKIDtest/")
    assert body == {"KeyId": key_id, "Plaintext": "eA==", "EncryptionContext": '{"a":"\\u00fc"}'}


PASSING: list[Fault] = [
    "reset",
    "lost",
    "truncated",
    "stalled",
    "empty",
    "html",
    ("status", 502),
    ("status", 301),
    ("error", "RequestLimitExceeded"),
    ("error", "RequestLimitExceeded.UinLimitExceeded"),
    ("error", "RequestLimitExceeded.GlobalRegionUinLimitExceeded"),
    ("error", "RequestLimitExceeded.IPLimitExceeded"),
    ("error", "InternalError"),
    ("error", "UnsupportedOperation.ServiceTemporaryUnavailable"),
]


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_a_passing_fault_is_repeated_and_forgotten(
    kms: TencentKms, key_id: str, wire: KmsWire, fault: Fault
) -> None:
    dek, recipient = kms.key(key_id).generate(Suite.AES_256_GCM, None)
    wire.seen.clear()
    wire.faults.extend([fault, fault])
    assert kms.key(key_id).unwrap(recipient, None) == dek
    assert wire.actions == ["Decrypt"] * 3
    assert kms.stats()["repeats"] == 2
    assert sum(kms.stats()["failures"].values()) == 2


LASTING: list[tuple[Fault, type[KmsError], str]] = [
    ("no-response", KmsUnavailable, "KeyError"),
    (("patch", {"Plaintext": None}), KmsUnavailable, "IncompleteAnswer"),
    (("patch", {"KeyId": None}), KmsUnavailable, "IncompleteAnswer"),
    (("patch", {"KeyId": "00000000-0000-0000-0000-000000000000"}), KmsError, "UnexpectedAnswer"),
    (("patch", {"Plaintext": "?"}), KmsError, "UnexpectedAnswer"),
    (("patch", {"Plaintext": "AAAA"}), KmsError, "UnexpectedAnswer"),
    (("error", "RequestLimitExceeded.RotateRateLimited"), KmsThrottled, ""),
    (("error", "AuthFailure.SignatureFailure"), KmsAccessDenied, ""),
    (("error", "AuthFailure.SignatureExpire"), KmsAccessDenied, ""),
    (("error", "AuthFailure.SecretIdNotFound"), KmsAccessDenied, ""),
    (("error", "AuthFailure.TokenFailure"), KmsAccessDenied, ""),
    (("error", "UnauthorizedOperation"), KmsAccessDenied, ""),
    (("error", "ResourceUnavailable.CmkDisabled"), KeyUnavailable, ""),
    (("error", "ResourceUnavailable.CmkNotFound"), KeyUnavailable, ""),
    (("error", "ResourceUnavailable.CmkArchived"), KeyUnavailable, ""),
    (("error", "ResourceUnavailable.KeyPendingDelete"), KeyUnavailable, ""),
    (("error", "ResourceUnavailable.CmkStateNotSupport"), KeyUnavailable, ""),
    (("error", "InvalidParameterValue.InvalidCiphertext"), KmsError, ""),
    (("error", "LimitExceeded"), KmsError, ""),
    (("error", "SomethingNew.InTheFuture"), KmsError, ""),
]


@pytest.mark.parametrize(("fault", "error", "code"), LASTING, ids=str)
def test_a_lasting_fault_is_raised_at_once_with_its_class_and_code(
    kms: TencentKms, key_id: str, wire: KmsWire, fault: Fault, error: type[KmsError], code: str
) -> None:
    _, recipient = kms.key(key_id).generate(Suite.AES_256_GCM, None)
    wire.seen.clear()
    wire.faults.append(fault)
    with pytest.raises(KmsError) as caught:
        kms.key(key_id).unwrap(recipient, None)
    assert type(caught.value) is error
    assert caught.value.code == (code or fault[1])
    assert caught.value.action == "Decrypt"
    assert not caught.value.retryable
    assert wire.actions == ["Decrypt"]


def test_an_error_names_its_request_and_survives_a_pickle(kms: TencentKms, wire: KmsWire) -> None:
    wire.faults.append(("error", "ResourceUnavailable.CmkDisabled"))
    with pytest.raises(KeyUnavailable, match="EnableKey") as caught:
        kms.call("GenerateRandom", {"NumberOfBytes": 1})
    assert caught.value.request_id == "r-1"
    assert "r-1" in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).request_id == "r-1"


def test_an_error_that_the_sdk_overlooks_is_still_an_error(kms: TencentKms, wire: KmsWire) -> None:
    wire.faults.append("unknown-type")
    with pytest.raises(KeyUnavailable):
        kms.call("DescribeKey", {"KeyId": "00000000-0000-0000-0000-000000000000"})


@pytest.mark.parametrize(
    ("fault", "error"),
    [(("error", "RequestLimitExceeded"), KmsThrottled), ("reset", KmsUnavailable), ("html", KmsUnavailable)],
    ids=str,
)
def test_after_the_deadline_the_last_failure_is_raised(
    wire: KmsWire, fault: Fault, error: type[KmsError]
) -> None:
    with connected(wire, retry=Retry(deadline=0.05, first_wait=0.001, max_wait=0.01)) as kms:
        wire.faults.extend([fault] * 1000)
        with pytest.raises(error) as caught:
            kms.call("GenerateRandom", {"NumberOfBytes": 1})
    assert caught.value.retryable
    assert len(wire.seen) > 2


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "https://no-such-host.invalid"])
def test_no_server_and_no_such_host_are_unavailable(endpoint: str) -> None:
    kms = TencentKms("ap-guangzhou", secret_id="a", secret_key="b", endpoint=endpoint, retry=ONCE)
    with kms, pytest.raises(KmsUnavailable) as caught:
        kms.call("GenerateRandom", {"NumberOfBytes": 1})
    assert caught.value.code == "ClientNetworkError"


def test_a_silent_server_is_given_up_after_the_read_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        options = {"secret_id": "a", "secret_key": "b", "endpoint": endpoint, "retry": ONCE}
        with TencentKms("ap-guangzhou", read_timeout=0.2, **options) as kms, pytest.raises(KmsUnavailable):  # type: ignore[arg-type]
            kms.call("GenerateRandom", {"NumberOfBytes": 1})


def test_a_body_that_is_not_the_apis_does_not_get_into_the_error(kms: TencentKms, wire: KmsWire) -> None:
    wire.faults.extend([("status", 502)] * 2000)
    with pytest.raises(KmsUnavailable) as caught:
        kms.call("GenerateRandom", {"NumberOfBytes": 1})
    assert "SECRET BODY" not in str(caught.value)


# Actions that must not be done twice.


@pytest.mark.parametrize("fault", ["lost", "reset", "truncated", ("status", 502)], ids=str)
def test_create_key_with_a_lost_answer_creates_one_key(kms: TencentKms, wire: KmsWire, fault: Fault) -> None:
    wire.faults.append(fault)
    created = kms.create_key("invoices", description="of 2026")
    keys = wire.engine.call("ListKeys", {})["Keys"]
    assert [key["KeyId"] for key in keys] == [created]


def test_create_key_whose_look_up_is_disturbed_as_well_creates_one_key(
    kms: TencentKms, wire: KmsWire
) -> None:
    wire.faults.extend(["lost", "reset", ("error", "RequestLimitExceeded")])
    created = kms.create_key("invoices", usage="ENCRYPT_DECRYPT", external=True)
    assert wire.engine.call("ListKeys", {})["Keys"][0]["KeyId"] == created
    assert wire.actions == ["CreateKey", "ListKeyDetail", "ListKeyDetail", "ListKeyDetail"]


def test_create_key_does_not_take_a_key_of_somebody_else_for_its_own(kms: TencentKms, wire: KmsWire) -> None:
    wire.engine.call("CreateKey", {"Alias": "invoices", "Description": "of another team"})
    wire.faults.append("reset")
    with pytest.raises(KmsError) as caught:
        kms.create_key("invoices", description="ours")
    assert caught.value.code == "InvalidParameterValue.AliasAlreadyExists"


def test_create_key_takes_no_older_key_for_its_own(wire: KmsWire) -> None:
    wire.engine.call("CreateKey", {"Alias": "invoices"})
    later = replace(FAST, wall=lambda: 4_000_000_000.0)
    wire.faults.append("reset")
    with connected(wire, retry=later) as kms, pytest.raises(KmsError, match="AliasAlreadyExists"):
        kms.create_key("invoices")


def test_create_key_that_was_throttled_is_repeated_without_a_look_up(kms: TencentKms, wire: KmsWire) -> None:
    wire.faults.append(("error", "RequestLimitExceeded"))
    kms.create_key("invoices")
    assert wire.actions == ["CreateKey", "CreateKey"]


@pytest.mark.parametrize(
    ("action", "before", "extra"),
    [
        ("DisableKey", [], {}),
        ("EnableKey", ["DisableKey"], {}),
        ("ArchiveKey", [], {}),
        ("CancelKeyArchive", ["ArchiveKey"], {}),
        ("ScheduleKeyDeletion", ["DisableKey"], {"PendingWindowInDays": 7}),
    ],
)
def test_a_change_of_state_with_a_lost_answer_is_found_done(
    kms: TencentKms, key_id: str, wire: KmsWire, action: str, before: list[str], extra: dict[str, int]
) -> None:
    for step in before:
        wire.engine.call(step, {"KeyId": key_id})
    wire.faults.append("lost")
    answer = kms.call(action, {"KeyId": key_id, **extra})
    assert wire.actions == [action, "DescribeKey"]
    if action == "ScheduleKeyDeletion":
        assert answer["DeletionDate"] > 0


def test_a_look_up_that_is_not_allowed_leaves_the_action_in_doubt(kms: TencentKms, wire: KmsWire) -> None:
    wire.faults.extend(["lost", ("error", "UnauthorizedOperation")])
    with pytest.raises(KmsAccessDenied, match="may have been done") as caught:
        kms.create_key("invoices")
    assert caught.value.action == "ListKeyDetail"


def test_cancel_key_deletion_with_a_lost_answer_is_found_done(
    kms: TencentKms, key_id: str, wire: KmsWire
) -> None:
    wire.engine.call("DisableKey", {"KeyId": key_id})
    wire.engine.call("ScheduleKeyDeletion", {"KeyId": key_id, "PendingWindowInDays": 7})
    wire.faults.append("lost")
    assert kms.call("CancelKeyDeletion", {"KeyId": key_id}) == {"KeyId": key_id}


def test_a_change_of_state_that_was_not_done_is_repeated(kms: TencentKms, key_id: str, wire: KmsWire) -> None:
    wire.faults.append("reset")
    kms.call("DisableKey", {"KeyId": key_id})
    assert wire.actions == ["DisableKey", "DescribeKey", "DisableKey"]


@pytest.mark.parametrize(
    ("action", "params"),
    [
        ("RotateKey", {}),
        ("ImportDataKey", {}),
        ("GenerateDataKey", {"KeySpec": "AES_128", "IsHostedByKms": 1, "DataKeyName": "d"}),
        ("AnActionOfTheFuture", {}),
    ],
)
def test_what_can_be_neither_repeated_nor_looked_up_is_left_in_doubt(
    kms: TencentKms, key_id: str, wire: KmsWire, action: str, params: dict[str, Any]
) -> None:
    wire.faults.append("reset")
    with pytest.raises(KmsUnavailable, match="may have been done") as caught:
        kms.call(action, {"KeyId": key_id, **params})
    assert not caught.value.retryable
    assert wire.actions == [action]


# Credentials.


class Rotating:
    def __init__(self) -> None:
        self.calls = 0

    def get_credential_info(self) -> tuple[str, str, str | None]:
        self.calls += 1
        return f"AKID{self.calls}", "key", f"token{self.calls}"


class Broken:
    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    def get_credential_info(self) -> Any:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def test_a_credential_object_is_asked_for_each_request(wire: KmsWire) -> None:
    credential = Rotating()
    with connected(wire, credential=credential) as kms:
        for _ in range(2):
            kms.call("GenerateRandom", {"NumberOfBytes": 1})
    assert [headers["X-TC-Token"] for _, headers, _ in wire.seen] == ["token1", "token2"]
    assert "Credential=AKID2/" in wire.seen[1][1]["Authorization"]


@pytest.mark.parametrize("outcome", [(None, None, None), ("id", "", None), OSError("no metadata"), None])
def test_a_credential_object_without_credentials_is_access_denied(wire: KmsWire, outcome: Any) -> None:
    with connected(wire, credential=Broken(outcome)) as kms, pytest.raises(KmsAccessDenied):
        kms.call("GenerateRandom", {"NumberOfBytes": 1})


def test_a_token_is_sent(wire: KmsWire) -> None:
    with connected(wire, token="temporary") as kms:
        kms.call("GenerateRandom", {"NumberOfBytes": 1})
    assert wire.seen[0][1]["X-TC-Token"] == "temporary"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"secret_id": "a"}, ValueError),
        ({"secret_key": "a"}, ValueError),
        ({"token": "a"}, ValueError),
        ({"secret_id": "", "secret_key": "b"}, ValueError),
        ({"secret_id": " a", "secret_key": "b"}, ValueError),
        ({"secret_id": "a", "secret_key": "b", "credential": Rotating()}, ValueError),
        ({"credential": object()}, TypeError),
        ({"endpoint": "http://host/path"}, ValueError),
        ({"endpoint": "http://user:pw@host"}, ValueError),
        ({"endpoint": "ftp://host"}, ValueError),
        ({"endpoint": ""}, ValueError),
        ({"read_timeout": 0}, ValueError),
        ({"pool_size": 0}, ValueError),
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        TencentKms("ap-guangzhou", **arguments)


@pytest.mark.parametrize("region", ["", "guangzhou", "AP-GUANGZHOU", "ap guangzhou", None])
def test_a_missing_or_malformed_region_is_refused(region: Any) -> None:
    with pytest.raises(ValueError, match="ap-guangzhou"):
        TencentKms(region)


NO_CREDENTIALS_CODE = """
import socket
from kmsenvelope import TencentKms
from kmsenvelope.kms.retry import Retry
try:
    TencentKms("ap-guangzhou", endpoint="http://127.0.0.1:1", retry=Retry(deadline=0)).call("GetRegions")
except Exception as error:
    print(type(error).__name__, error)
"""


def in_process(code: str, home: Path, **environment: str) -> str:
    import subprocess
    import sys

    kept = {"PATH": os.environ["PATH"], "HOME": str(home), "http_proxy": "http://127.0.0.1:9", **environment}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=kept
    ).stdout


def test_no_credentials_at_all_says_what_to_set(tmp_path: Path) -> None:
    printed = in_process(NO_CREDENTIALS_CODE, tmp_path)
    assert printed.startswith("KmsAccessDenied")
    assert "TENCENTCLOUD_SECRET_ID" in printed
    assert "~/.tencentcloud/credentials" in printed


def test_a_credential_file_without_a_default_section_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / ".tencentcloud").mkdir()
    (tmp_path / ".tencentcloud" / "credentials").write_text("[other]\nsecret_id=a\nsecret_key=b\n")
    assert in_process(NO_CREDENTIALS_CODE, tmp_path).startswith("KmsAccessDenied")


ONE_CALL_CODE = """
import sys
from kmsenvelope import TencentKms
with TencentKms("ap-guangzhou", endpoint=sys.argv[1] if len(sys.argv) > 1 else ENDPOINT) as kms:
    kms.call("GenerateRandom", {"NumberOfBytes": 1})
"""


def test_credentials_of_the_environment_are_used_with_their_token(wire: KmsWire, tmp_path: Path) -> None:
    in_process(
        ONE_CALL_CODE.replace("ENDPOINT", repr(wire.endpoint)),
        tmp_path,
        TENCENTCLOUD_SECRET_ID="AKIDenv",
        TENCENTCLOUD_SECRET_KEY="k",
        TENCENTCLOUD_TOKEN="t",
    )
    assert wire.seen[0][1]["X-TC-Token"] == "t"
    assert "Credential=AKIDenv/" in wire.seen[0][1]["Authorization"]


def test_credentials_of_the_file_are_used(wire: KmsWire, tmp_path: Path) -> None:
    (tmp_path / ".tencentcloud").mkdir()
    (tmp_path / ".tencentcloud" / "credentials").write_text("[default]\nsecret_id=AKIDfile\nsecret_key=b\n")
    in_process(
        ONE_CALL_CODE.replace("ENDPOINT", repr(wire.endpoint)),
        tmp_path,
    )
    assert "Credential=AKIDfile/" in wire.seen[0][1]["Authorization"]


# Secrets stay in.


def test_the_sdks_debug_log_holds_no_key_and_no_plaintext(wire: KmsWire, key_id: str) -> None:
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logger = logging.getLogger("tencentcloud_sdk_common")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        with connected(wire, token="TEMPORARY") as kms:
            key = kms.key(key_id)
            _, recipient = key.generate(Suite.AES_256_GCM, None)
            key.unwrap(recipient, None)
            key.encrypt(b"PLAINTEXT")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    text = log.getvalue()
    assert "SendRequest" in text
    assert "GetResponse" in text
    sent = [body for _, _, body in wire.seen]
    secrets = ["TEMPORARY", sent[-1]["Plaintext"], recipient.wrapped]
    dek = wire.engine.call("Decrypt", {"CiphertextBlob": recipient.wrapped})["Plaintext"]
    signatures = [headers["Authorization"].rpartition("=")[2] for _, headers, _ in wire.seen]
    for secret in (*secrets, dek, *signatures):
        assert secret not in text


def test_nothing_shows_the_secret_key(wire: KmsWire) -> None:
    with connected(wire) as kms:
        for shown in (repr(kms), str(kms), repr(kms.key("app")), repr(kms._transport)):
            assert "secret-of-test" not in shown


@pytest.mark.parametrize("suite", Suite)
def test_protected_in_transit_no_data_key_is_readable_on_the_wire(
    wire: KmsWire, key_id: str, suite: Suite
) -> None:
    with connected(wire, protect_in_transit=True) as kms:
        key = kms.key(key_id)
        dek, recipient = key.generate(suite, '{"a":"b"}')
        assert key.unwrap(recipient, '{"a":"b"}') == dek
    for _, _, body in wire.seen:
        assert body["EncryptionAlgorithm"] == "RSAES_OAEP_SHA_256"
        assert body["EncryptionPublicKey"].startswith("-----BEGIN PUBLIC KEY-----")


def test_protected_in_transit_a_readable_data_key_is_refused(wire: KmsWire, key_id: str) -> None:
    with connected(wire, protect_in_transit=True) as kms:
        wire.faults.append(("patch", {"Plaintext": "AAAAAAAAAAAAAAAAAAAAAA=="}))
        with pytest.raises(KmsError, match="not enciphered as asked"):
            kms.key(key_id).generate(Suite.AES_128_GCM, None)


# Threads and processes.


def test_threads_share_one_client_and_its_connections(wire: KmsWire, key_id: str) -> None:
    with connected(wire, pool_size=8) as kms, ThreadPoolExecutor(8) as pool:
        key = kms.key(key_id)
        results = list(pool.map(lambda n: kms.decrypt(key.encrypt(b"%d" % n)), range(64)))
    assert results == [b"%d" % n for n in range(64)]
    assert wire.connections <= 8
    assert kms.stats()["calls"] == {"Encrypt": 64, "Decrypt": 64}


def _in_child(kms: TencentKms, key_id: str, results: Any) -> None:
    results.put(kms.decrypt(kms.key(key_id).encrypt(b"in the child")))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_process_opens_its_own_connection(wire: KmsWire, key_id: str, method: str) -> None:
    context = multiprocessing.get_context(method)
    results = context.Queue()
    with connected(wire, protect_in_transit=True) as kms:
        kms.key(key_id).generate(Suite.AES_128_GCM, None)
        process = context.Process(target=_in_child, args=(kms, key_id, results))
        process.start()
        assert results.get(timeout=30) == b"in the child"
        process.join(30)
        kms.key(key_id).encrypt(b"still good here")
    assert wire.connections == 2
    results.close()
    results.join_thread()


def test_a_pickle_holds_configuration_but_no_key(wire: KmsWire, key_id: str) -> None:
    with connected(wire, protect_in_transit=True) as kms:
        dek, recipient = kms.key(key_id).generate(Suite.AES_256_GCM, None)
        pickled = pickle.dumps(kms.key(key_id))
    assert bytes(dek) not in pickled
    assert b"RSA" not in pickled
    with pickle.loads(pickled).kms as copy:
        assert copy.key(key_id).unwrap(recipient, None) == dek


def test_a_closed_client_opens_new_connections(wire: KmsWire) -> None:
    with connected(wire) as kms:
        kms.call("GenerateRandom", {"NumberOfBytes": 1})
        kms.close()
        kms.close()
        kms.call("GenerateRandom", {"NumberOfBytes": 1})
    assert wire.connections == 2


def test_parameters_that_json_cannot_say_are_the_callers_mistake(kms: TencentKms) -> None:
    with pytest.raises(TypeError):
        kms.call("Encrypt", {"Plaintext": b"bytes"})
    for action in ("", "Encrypt; DROP", None):
        with pytest.raises(ValueError, match="action"):
            kms.call(action)  # type: ignore[arg-type]


@pytest.mark.parametrize("endpoint", ["http://10.0.0.7:8440", "http://kms.example"])
def test_plain_http_to_another_machine_is_warned_of(endpoint: str) -> None:
    with pytest.warns(UserWarning, match="travel readably"):
        TencentKms("ap-guangzhou", endpoint=endpoint)


@pytest.mark.parametrize(
    "endpoint", [None, "kms.example", "https://kms.example", "http://127.0.0.1:8440", "http://localhost"]
)
def test_tls_and_this_machine_are_not_warned_of(endpoint: str | None) -> None:
    assert TencentKms("ap-guangzhou", endpoint=endpoint).region == "ap-guangzhou"
