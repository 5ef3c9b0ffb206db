"""Every action of the engine: its fields with their limits, its handler, its documented rate.

Source: the API's action pages (KMS API 2019-01-18). This table is the specification that requests are checked
against; what a table cannot say is in the handlers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import asymmetric, hosted, importing, lifecycle, rotation, service, signing, symmetric
from . import errors as e
from .call import Call
from .fields import Base64, Field, ListOf, Struct, Text, Uint
from .records import EXTERNAL, KMS_MADE

Handler = Callable[[Call, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Action:
    """One API action. ``rate`` is calls per second; ``group`` names a rate shared with other actions.

    ``writes`` says whether it changes the store; a string is the field that makes it do so.
    """

    handler: Handler
    fields: Mapping[str, Field]
    rate: int = 100
    writes: bool | str = False
    group: str | None = None


UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ALIAS = r"(?!kms-)[A-Za-z0-9][A-Za-z0-9_-]{0,59}"
USAGES = (
    "ENCRYPT_DECRYPT",
    "ASYMMETRIC_DECRYPT_RSA_2048",
    "ASYMMETRIC_DECRYPT_SM2",
    "ASYMMETRIC_SIGN_VERIFY_SM2",
    "ASYMMETRIC_SIGN_VERIFY_ECC",
    "ASYMMETRIC_SIGN_VERIFY_RSA_2048",
    "ASYMMETRIC_SIGN_VERIFY_RSA_3072",
    "ASYMMETRIC_SIGN_VERIFY_ECDSA384",
    "ASYMMETRIC_Encrypt_Decrypt_Kyber_AES",
    "ASYMMETRIC_SIGN_VERIFY_DILITHIUM",
)

KEY_ID = Text(required=True, pattern=UUID, code=e.INVALID_KEY_ID)
KEY_IDS = ListOf(Text(pattern=UUID, code=e.INVALID_KEY_ID), required=True, duplicate=e.DUPLICATED_KEY_ID)
ALIAS = Text(required=True, pattern=_ALIAS, code=e.INVALID_ALIAS)
CONTEXT = Text(max_chars=1024, keep_empty=True)
BLOB = Text(required=True, max_chars=8192, code=e.INVALID_CIPHERTEXT)
ALGORITHMS_OF_DELIVERY = Text(
    choices=("SM2", "SM2_C1C3C2_ASN1", "RSAES_PKCS1_V1_5", "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256")
)
DELIVERY: dict[str, Field] = {"EncryptionPublicKey": Text(), "EncryptionAlgorithm": ALGORITHMS_OF_DELIVERY}
TAGS = ListOf(
    Struct({"TagKey": Text(required=True, max_chars=127), "TagValue": Text(required=True, max_chars=255)}),
    duplicate=e.TAG_KEYS_DUPLICATED,
    identity="TagKey",
)
_TAG_FILTER: dict[str, Field] = {"TagKey": Text(required=True), "TagValue": ListOf(Text())}
TAG_FILTERS = ListOf(Struct(_TAG_FILTER))
SHARED_CLUSTER = Text(choices=("default",), code=e.INVALID_HSM_CLUSTER)
ROLE = Uint(default=0, high=1)
PAGE: dict[str, Field] = {"Offset": Uint(default=0), "Limit": Uint(default=10, low=1, high=200), "Role": ROLE}
FILTERS: dict[str, Field] = {
    "OrderType": Uint(default=0, high=1),
    "KeyState": Uint(default=0, high=5),
    "SearchKeyAlias": Text(),
    "Origin": Text(default="ALL", choices=(KMS_MADE, EXTERNAL, "ALL")),
    "TagFilters": TAG_FILTERS,
    "HsmClusterId": SHARED_CLUSTER,
}
NO_CLUSTER = Text(choices=(), code=e.INVALID_HSM_CLUSTER)
WINDOW = Uint(required=True, low=7, high=30, code=e.INVALID_WINDOW)
_MEMBER_ACCOUNT = Struct({"MemberAppId": Uint(), "MemberUin": Uint()})
MEMBER: dict[str, Field] = {"MemberAccount": _MEMBER_ACCOUNT}
MEMBERS: dict[str, Field] = {"MemberAccounts": ListOf(_MEMBER_ACCOUNT)}
ONE_KEY: dict[str, Field] = {"KeyId": KEY_ID} | MEMBER

_LIFECYCLE: dict[str, Action] = {
    "CreateKey": Action(
        lifecycle.create_key,
        {
            "Alias": ALIAS,
            "Description": Text(max_bytes=1024),
            "KeyUsage": Text(default="ENCRYPT_DECRYPT", choices=USAGES, code=e.INVALID_KEY_USAGE),
            "Type": Uint(default=1, low=1, high=2, code=e.INVALID_TYPE),
            "Tags": TAGS,
            "HsmClusterId": NO_CLUSTER,
        },
        writes=True,
    ),
    "DescribeKey": Action(lifecycle.describe_key, ONE_KEY),
    "DescribeKeys": Action(lifecycle.describe_keys, {"KeyIds": KEY_IDS} | MEMBER),
    "ListKeys": Action(lifecycle.list_keys, PAGE | {"HsmClusterId": SHARED_CLUSTER}),
    "ListKeyDetail": Action(
        lifecycle.list_key_detail, PAGE | MEMBERS | FILTERS | {"KeyUsage": Text(choices=("ALL", *USAGES))}
    ),
    "EnableKey": Action(lifecycle.enable_key, ONE_KEY, writes=True),
    "EnableKeys": Action(lifecycle.enable_keys, {"KeyIds": KEY_IDS} | MEMBER, writes=True),
    "DisableKey": Action(lifecycle.disable_key, ONE_KEY, writes=True),
    "DisableKeys": Action(lifecycle.disable_keys, {"KeyIds": KEY_IDS} | MEMBER, writes=True),
    "ScheduleKeyDeletion": Action(
        lifecycle.schedule_key_deletion, ONE_KEY | {"PendingWindowInDays": WINDOW}, writes=True
    ),
    "CancelKeyDeletion": Action(lifecycle.cancel_key_deletion, ONE_KEY, writes=True),
    "ArchiveKey": Action(lifecycle.archive_key, ONE_KEY, writes=True),
    "CancelKeyArchive": Action(lifecycle.cancel_key_archive, ONE_KEY, writes=True),
    "UpdateAlias": Action(lifecycle.update_alias, ONE_KEY | {"Alias": ALIAS}, writes=True),
    "UpdateKeyDescription": Action(
        lifecycle.update_description,
        ONE_KEY | {"Description": Text(required=True, max_bytes=1024)},
        writes=True,
    ),
    "BindCloudResource": Action(
        lifecycle.bind_resource,
        {"KeyId": KEY_ID, "ProductId": Text(required=True), "ResourceId": Text(required=True)},
        writes=True,
    ),
    "UnbindCloudResource": Action(
        lifecycle.unbind_resource,
        {"KeyId": KEY_ID, "ProductId": Text(required=True), "ResourceId": Text(required=True)},
        writes=True,
    ),
}

_ROTATION: dict[str, Action] = {
    "EnableKeyRotation": Action(
        rotation.enable_rotation,
        ONE_KEY | {"RotateDays": Uint(default=365, low=7, high=365, code=e.INVALID_VALUE)},
        writes=True,
    ),
    "DisableKeyRotation": Action(rotation.disable_rotation, ONE_KEY, writes=True),
    "GetKeyRotationStatus": Action(rotation.rotation_status, ONE_KEY),
    "RotateKey": Action(rotation.rotate_key, ONE_KEY, rate=20, writes=True),
}

_SYMMETRIC: dict[str, Action] = {
    "Encrypt": Action(
        symmetric.encrypt,
        {
            "KeyId": KEY_ID,
            "Plaintext": Base64(max_bytes=4096, code=e.INVALID_PLAINTEXT),
            "EncryptionContext": CONTEXT,
        },
        rate=300,
        group="symmetric",
    ),
    "Decrypt": Action(
        symmetric.decrypt,
        {"CiphertextBlob": BLOB, "EncryptionContext": CONTEXT, **DELIVERY},
        rate=300,
        group="symmetric",
    ),
    "ReEncrypt": Action(
        symmetric.reencrypt,
        {
            "CiphertextBlob": BLOB,
            "DestinationKeyId": Text(pattern=UUID, code=e.INVALID_KEY_ID),
            "SourceEncryptionContext": CONTEXT,
            "DestinationEncryptionContext": CONTEXT,
        },
        group="symmetric",
    ),
    "GenerateDataKey": Action(
        symmetric.generate_data_key,
        {
            "KeyId": KEY_ID,
            "KeySpec": Text(choices=("AES_128", "AES_256")),
            "NumberOfBytes": Uint(low=1, high=1024),
            "EncryptionContext": CONTEXT,
            "IsHostedByKms": Uint(default=0, high=1),
            "DataKeyName": Text(pattern=_ALIAS, code=e.INVALID_DATA_KEY_NAME),
            "Description": Text(max_bytes=100),
            "HsmClusterId": NO_CLUSTER,
            "Tags": TAGS,
            **DELIVERY,
        },
        rate=150,
        writes="IsHostedByKms",
        group="symmetric",
    ),
    "GenerateRandom": Action(
        symmetric.generate_random, {"NumberOfBytes": Uint(required=True, low=1, high=1024)}, rate=150
    ),
}

_PLAIN_KEY: dict[str, Field] = {"KeyId": KEY_ID}
_WRAPPINGS = ("RSAES_PKCS1_V1_5", "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256")
_SIGNATURE: dict[str, Field] = {
    "KeyId": KEY_ID,
    "Algorithm": Text(required=True, choices=signing.ALGORITHMS),
    "Message": Base64(max_bytes=4096),
    "MessageType": Text(default="RAW", choices=("RAW", "DIGEST")),
}

_ASYMMETRIC: dict[str, Action] = {
    "GetPublicKey": Action(asymmetric.get_public_key, _PLAIN_KEY),
    "AsymmetricRsaDecrypt": Action(
        asymmetric.rsa_decrypt,
        {"KeyId": KEY_ID, "Ciphertext": Base64(), "Algorithm": Text(required=True, choices=_WRAPPINGS)},
        rate=200,
    ),
    "AsymmetricSm2Decrypt": Action(
        asymmetric.sm2_decrypt, {"KeyId": KEY_ID, "Ciphertext": Base64(max_bytes=256)}, rate=200
    ),
    "SignByAsymmetricKey": Action(signing.sign, _SIGNATURE),
    "VerifyByAsymmetricKey": Action(signing.verify, _SIGNATURE | {"SignatureValue": Base64()}),
    "PostQuantumCryptoEncrypt": Action(
        asymmetric.post_quantum,
        {"KeyId": KEY_ID, "PlainText": Base64(max_bytes=4096, code=e.INVALID_PLAINTEXT)},
        rate=20,
    ),
    "PostQuantumCryptoDecrypt": Action(
        asymmetric.post_quantum, {"CiphertextBlob": BLOB, **DELIVERY}, rate=20
    ),
    "PostQuantumCryptoSign": Action(
        asymmetric.post_quantum, {"KeyId": KEY_ID, "Message": Base64(max_bytes=4096)}, rate=20
    ),
    "PostQuantumCryptoVerify": Action(
        asymmetric.post_quantum,
        {"KeyId": KEY_ID, "Message": Base64(max_bytes=4096), "SignatureValue": Base64()},
        rate=20,
    ),
}

_IMPORT: dict[str, Action] = {
    "GetParametersForImport": Action(
        importing.get_parameters,
        {
            "KeyId": KEY_ID,
            "WrappingAlgorithm": Text(required=True, choices=_WRAPPINGS),
            "WrappingKeySpec": Text(required=True, choices=("RSA_2048",)),
        },
        writes=True,
    ),
    "ImportKeyMaterial": Action(
        importing.import_material,
        {
            "KeyId": KEY_ID,
            "EncryptedKeyMaterial": Base64(),
            "ImportToken": Text(required=True, pattern=r"[A-Za-z0-9+/=]{1,256}"),
            "ValidTo": Uint(default=0, high=importing.LATEST_VALID_TO),
        },
        writes=True,
    ),
    "DeleteImportedKeyMaterial": Action(importing.delete_material, _PLAIN_KEY, writes=True),
}

_DATA_KEY_ID = Text(required=True, pattern=UUID, code=e.INVALID_DATA_KEY_ID)
_DATA_KEY_IDS = ListOf(
    Text(pattern=UUID, code=e.INVALID_DATA_KEY_ID), required=True, duplicate=e.DUPLICATED_DATA_KEY_ID
)
_ONE: dict[str, Field] = {"DataKeyId": _DATA_KEY_ID, **MEMBER}
_SEVERAL: dict[str, Field] = {"DataKeyIds": _DATA_KEY_IDS, **MEMBER}
_NAME = Text(required=True, pattern=_ALIAS, code=e.INVALID_DATA_KEY_NAME)
_SHORT = Text(max_bytes=100)
_OPTIONAL_KEY_ID = Text(pattern=UUID, code=e.INVALID_KEY_ID)

_HOSTED: dict[str, Action] = {
    "ImportDataKey": Action(
        hosted.import_data_key,
        {
            "DataKeyName": _NAME,
            "ImportKeyMaterial": Text(required=True, max_chars=8192, code=e.INVALID_IMPORT),
            "ImportType": Uint(required=True, low=1, high=2, code=e.INVALID_TYPE),
            "Description": _SHORT,
            "KeyId": _OPTIONAL_KEY_ID,
            "HsmClusterId": NO_CLUSTER,
            "Tags": TAGS,
        },
        writes=True,
    ),
    "GetDataKeyPlaintext": Action(
        hosted.get_plaintext, {"DataKeyId": _DATA_KEY_ID, **DELIVERY}, rate=300, group="symmetric"
    ),
    "GetDataKeyCiphertextBlob": Action(hosted.get_blob, _ONE),
    "DescribeDataKey": Action(hosted.describe, _ONE),
    "DescribeDataKeys": Action(hosted.describe_many, _SEVERAL),
    "ListDataKeys": Action(hosted.list_ids, PAGE | {"HsmClusterId": SHARED_CLUSTER}),
    "ListDataKeyDetail": Action(
        hosted.list_detail, PAGE | MEMBERS | FILTERS | {"KeyId": _OPTIONAL_KEY_ID, "DataKeyLen": Uint()}
    ),
    "EnableDataKey": Action(hosted.enable, _ONE, writes=True),
    "EnableDataKeys": Action(hosted.enable, _SEVERAL, writes=True),
    "DisableDataKey": Action(hosted.disable, _ONE, writes=True),
    "DisableDataKeys": Action(hosted.disable, _SEVERAL, writes=True),
    "ScheduleDataKeyDeletion": Action(
        hosted.schedule_deletion, _ONE | {"PendingWindowInDays": WINDOW}, writes=True
    ),
    "CancelDataKeyDeletion": Action(hosted.cancel_deletion, _ONE, rate=20, writes=True),
    "UpdateDataKeyName": Action(hosted.update_name, _ONE | {"DataKeyName": _NAME}, writes=True),
    "UpdateDataKeyDescription": Action(
        hosted.update_description, _ONE | {"Description": Text(required=True, max_bytes=100)}, writes=True
    ),
}

_SERVICE: dict[str, Action] = {
    "ListAlgorithms": Action(service.list_algorithms, {}),
    "GetServiceStatus": Action(service.service_status, {}),
    "GetRegions": Action(service.regions, {}),
}

ACTIONS: dict[str, Action] = _LIFECYCLE | _ROTATION | _SYMMETRIC | _ASYMMETRIC | _IMPORT | _HOSTED | _SERVICE
"""All actions of the API but those of white-box keys."""
