"""Your own key material: import, expiry, deletion, the same material again, and everything refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kmswire import KmsWire

from kmsenvelope.emulator.engine import Engine
from kmsenvelope.emulator.policy import Policy
from kmsenvelope.emulator.store import Store
from kmsenvelope.errors import KeyUnavailable, KmsError
from kmsenvelope.kms.local import LocalKms
from kmsenvelope.kms.retry import Retry
from kmsenvelope.kms.tencent import TencentKms

MATERIAL = bytes(range(32))


@pytest.fixture
def kms() -> Iterator[LocalKms]:
    with LocalKms() as opened:
        opened.create_key("mine", external=True)
        yield opened


@pytest.mark.parametrize("algorithm", ["RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1", "RSAES_PKCS1_V1_5"])
def test_a_key_with_imported_material_works_like_any_other(kms: LocalKms, algorithm: str) -> None:
    with pytest.raises(KeyUnavailable):
        kms.key("mine").encrypt(b"too early")
    kms.import_key_material("mine", MATERIAL, algorithm=algorithm)
    assert kms.decrypt(kms.key("mine").encrypt(b"data")) == b"data"


def test_deleted_material_closes_the_data_until_the_same_is_imported_again(kms: LocalKms) -> None:
    kms.import_key_material("mine", bytearray(MATERIAL))
    blob = kms.key("mine").encrypt(b"data")
    kms.delete_key_material("mine")
    with pytest.raises(KeyUnavailable):
        kms.decrypt(blob)
    with pytest.raises(KmsError, match="only ever takes the material") as caught:
        kms.import_key_material("mine", os.urandom(32))
    assert caught.value.code == "InvalidParameterValue.MaterialNotMatch"
    kms.import_key_material("mine", memoryview(MATERIAL))
    assert kms.decrypt(blob) == b"data"


@pytest.mark.parametrize("as_datetime", [True, False])
def test_the_validity_ends_when_asked(kms: LocalKms, as_datetime: bool) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    kms.import_key_material("mine", MATERIAL, valid_to=until if as_datetime else int(until.timestamp()))
    metadata = kms.key("mine").call("DescribeKey")["KeyMetadata"]
    assert metadata["ValidTo"] == int(until.timestamp())
    kms.import_key_material("mine", MATERIAL)
    assert kms.key("mine").call("DescribeKey")["KeyMetadata"]["ValidTo"] == 0


@pytest.mark.parametrize("size", [0, 1, 16, 31, 33, 64])
def test_material_of_the_wrong_length_is_never_sent(kms: LocalKms, size: int) -> None:
    with pytest.raises(ValueError, match=rf"{size} bytes.*takes 32 \(256 bits\)"):
        kms.import_key_material("mine", bytes(size))
    assert "GetParametersForImport" not in kms.stats()["calls"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"material": "text"}, TypeError),
        ({"algorithm": "RSA"}, ValueError),
        ({"valid_to": 1}, ValueError),
        ({"valid_to": 2_147_443_201}, ValueError),
        ({"valid_to": True}, TypeError),
        ({"valid_to": 1.5}, TypeError),
        ({"valid_to": datetime(2030, 1, 1)}, ValueError),
        ({"valid_to": datetime(2000, 1, 1, tzinfo=UTC)}, ValueError),
    ],
)
def test_wrong_arguments_are_refused_before_any_call(
    kms: LocalKms, arguments: dict[str, Any], error: type[Exception]
) -> None:
    before = kms.stats()["calls"]
    with pytest.raises(error):
        kms.import_key_material("mine", **{"material": MATERIAL, **arguments})
    assert kms.stats()["calls"] == before


def test_a_key_with_material_of_its_own_takes_none(kms: LocalKms) -> None:
    kms.create_key("ordinary")
    with pytest.raises(ValueError, match="external=True"):
        kms.import_key_material("ordinary", MATERIAL)


def test_sm_regions_take_16_bytes() -> None:
    with KmsWire() as wire, Store() as store:
        wire.engine = Engine(
            store, region="ap-guangzhou", policy=Policy(sm_regions=frozenset({"ap-guangzhou"}))
        )
        settings = {"secret_id": "a", "secret_key": "b", "endpoint": wire.endpoint}
        with TencentKms("ap-guangzhou", **settings) as kms:  # type: ignore[arg-type]
            key_id = kms.create_key("mine", external=True)
            with pytest.raises(ValueError, match=r"takes 16 \(128 bits\)"):
                kms.import_key_material(key_id, bytes(32))
            kms.import_key_material(key_id, bytes(16))
            assert kms.decrypt(kms.key(key_id).encrypt(b"x")) == b"x"


@pytest.mark.parametrize("fault", ["lost", "reset", ("status", 502), ("error", "InternalError")], ids=str)
def test_an_import_with_a_lost_answer_is_simply_done_again(fault: Any) -> None:
    fast = Retry(first_wait=0.001, max_wait=0.002)
    with KmsWire() as wire:
        settings: dict[str, Any] = {"secret_id": "a", "secret_key": "b", "endpoint": wire.endpoint}
        with TencentKms("ap-guangzhou", retry=fast, **settings) as kms:
            key_id = kms.create_key("mine", external=True)
            wire.faults.extend(["", "", fault])
            wire.seen.clear()
            kms.import_key_material(key_id, MATERIAL)
            assert wire.actions[-2:] == ["ImportKeyMaterial"] * 2
            assert kms.decrypt(kms.key(key_id).encrypt(b"x")) == b"x"


@pytest.mark.parametrize("patch", [{"PublicKey": "AAAA"}, {"PublicKey": "?"}, {"KeyId": "x"}])
def test_import_parameters_that_make_no_sense_are_refused(patch: dict[str, Any]) -> None:
    with KmsWire() as wire:
        settings: dict[str, Any] = {"secret_id": "a", "secret_key": "b", "endpoint": wire.endpoint}
        with TencentKms("ap-guangzhou", **settings) as kms:
            key_id = kms.create_key("mine", external=True)
            wire.faults.extend(["", ("patch", patch)])
            with pytest.raises(KmsError) as caught:
                kms.import_key_material(key_id, MATERIAL)
            assert caught.value.code == "UnexpectedAnswer"
            assert "ImportKeyMaterial" not in wire.actions
