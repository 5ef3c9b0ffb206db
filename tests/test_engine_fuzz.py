"""Whatever is asked of it, the engine answers or refuses in the service's words; it never breaks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tencentcloud.kms.v20190118 import errorcodes

from kmsenvelope.emulator.actions import ACTIONS
from kmsenvelope.emulator.engine import Engine, EngineError
from kmsenvelope.emulator.store import Store

CODES = {value for value in vars(errorcodes).values() if isinstance(value, str)}
CODES |= {"InvalidAction", "UnknownParameter"}

TEXTS = st.text(max_size=8) | st.sampled_from(
    [
        "",
        "\ud800",
        "\0",
        "YQ==",
        "YQ==\n",
        "é",
        "-k-",
        "A" * 5000,
        "{}",
        '{"a": "\\ud800"}',
        "[" * 500,
        "AES_256",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=3)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
FITTING = object()
GOOD = {
    "Alias": "fuzz",
    "Plaintext": "YQ==",
    "NumberOfBytes": 16,
    "KeySpec": "AES_256",
    "Message": "YQ==",
    "SignatureValue": "YQ==",
    "Ciphertext": "YQ==",
    "EncryptedKeyMaterial": "YQ==",
    "Algorithm": "ECC_P256_R1",
    "WrappingAlgorithm": "RSAES_OAEP_SHA_256",
    "WrappingKeySpec": "RSA_2048",
    "ImportToken": "YQ==",
    "PendingWindowInDays": 7,
    "DataKeyName": "fuzz",
    "ImportType": 2,
    "EncryptionAlgorithm": "RSAES_OAEP_SHA_256",
}


@pytest.fixture(scope="module")
def engine():
    with Store() as store:
        engine = Engine(store)
        made = engine.call("CreateKey", {"Alias": "one"})
        engine.call("CreateKey", {"Alias": "two", "Type": 2})
        engine.call("CreateKey", {"Alias": "three", "KeyUsage": "ASYMMETRIC_SIGN_VERIFY_ECC"})
        blob = engine.call("Encrypt", {"KeyId": made["KeyId"], "Plaintext": "YQ=="})["CiphertextBlob"]
        GOOD["CiphertextBlob"] = blob
        yield engine


@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_every_request_is_answered_or_refused_in_the_service_s_words(engine, data):
    action = data.draw(st.sampled_from(sorted(ACTIONS)))
    which = data.draw(st.integers(0, 20))
    drawn = {
        name: data.draw(st.just(FITTING) | st.just(FITTING) | JUNK)
        for name, field in ACTIONS[action].fields.items()
        if field.required or data.draw(st.booleans())
    }
    keys = engine.call("ListKeyDetail", {"KeyUsage": "ALL"})["KeyMetadatas"]
    key_id = keys[which % len(keys)]["KeyId"] if keys else "x"
    good = {"KeyId": key_id, "KeyIds": [key_id], **GOOD}
    params = {name: good.get(name) if value is FITTING else value for name, value in drawn.items()}
    refused = None
    try:
        assert isinstance(engine.call(action, params), dict)
    except EngineError as error:
        refused = error
    assert refused is None or (refused.code in CODES and refused.message)
