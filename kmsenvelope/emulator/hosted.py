"""Data keys that the KMS hosts: kept wrapped by their CMK, found by id, with a small life of their own."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from . import errors as e
from .blobs import NO_CONTEXT
from .call import Call
from .delivery import deliver
from .errors import EngineError
from .lifecycle import ACCOUNT_UIN, STATE_FILTER, has_tags, page, tags_of
from .records import DAY, DISABLED, ENABLED, ENCRYPT_DECRYPT, EXTERNAL, KMS_MADE, PENDING_DELETE, DataKey, Key
from .store import NameTaken
from .wrapping import unwrap, wrap

_BINDING = b"hosted"  # the service opens hosted keys without the caller's encryption context
_CIPHERTEXT_IMPORT = 1


def keep(call: Call, p: dict[str, Any], key: Key, data_key: bytes, blob: str) -> dict[str, Any]:
    """Host a data key that GenerateDataKey has made."""
    record = _add(call, p, key, data_key, blob, origin=KMS_MADE)
    return {"DataKeyId": record.id, "TagCode": 0, "TagMsg": ""}


def import_data_key(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Host a data key of the caller: a blob (type 1) or the key itself (type 2) (API: ImportDataKey)."""
    if p["ImportType"] == _CIPHERTEXT_IMPORT:
        blob = p["ImportKeyMaterial"]
        key, data_key, _ = unwrap(call, blob, NO_CONTEXT, "Decrypt")
        if p["KeyId"] not in (None, key.id):
            raise EngineError(e.INVALID_KEY_ID, "the data key was wrapped by another CMK", key.id)
    else:
        if p["KeyId"] is None:
            raise EngineError(e.INVALID_KEY_ID, "KeyId is needed to import a plaintext data key")
        key = call.key(p["KeyId"], "Encrypt", ENCRYPT_DECRYPT)
        data_key = _plaintext(p["ImportKeyMaterial"])
        blob = wrap(call, key, data_key)
    record = _add(call, p, key, data_key, blob, origin=EXTERNAL)
    return {"KeyId": key.id, "DataKeyId": record.id, "TagCode": 0, "TagMsg": ""}


def _plaintext(text: str) -> bytes:
    try:
        data_key = base64.b64decode(text, validate=True)
    except binascii.Error:
        data_key = b""
    if not 1 <= len(data_key) <= 1024:
        raise EngineError(e.INVALID_IMPORT, "ImportKeyMaterial must be Base64 of 1 to 1024 bytes")
    return data_key


def _add(call: Call, p: dict[str, Any], key: Key, data_key: bytes, blob: str, *, origin: str) -> DataKey:
    if not p["DataKeyName"]:
        raise EngineError(e.INVALID_DATA_KEY_NAME, "a hosted data key needs a DataKeyName", key.id)
    if len(call.tx.all(DataKey, call.region)) >= call.policy.data_key_limit:
        raise EngineError(e.DATA_KEY_LIMIT, "the limit of hosted data keys is reached", key.id)
    record = DataKey(
        region=call.region,
        id=call.new_id(),
        name=p["DataKeyName"],
        key_id=key.id,
        blob=blob,
        inner=wrap(call, key, data_key, _BINDING),
        size=len(data_key),
        description=p["Description"] or "",
        origin=origin,
        state=ENABLED,
        created=call.now,
        tags=tags_of(p),
    )
    try:
        call.tx.add(record)
    except NameTaken:
        raise EngineError(e.DATA_KEY_NAME_EXISTS, f"the name {record.name} is taken", key.id) from None
    return record


def get_plaintext(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """The data key itself, perhaps enciphered to the caller's public key (API: GetDataKeyPlaintext)."""
    record = _find(call, p["DataKeyId"])
    if record.state == DISABLED:
        raise EngineError(e.DATA_KEY_DISABLED, f"the data key {record.id} is disabled", record.key_id)
    if record.state == PENDING_DELETE:
        raise EngineError(
            e.DATA_KEY_PENDING_DELETE, f"the data key {record.id} will be deleted", record.key_id
        )
    _, data_key, _ = unwrap(call, record.inner, _BINDING, "Decrypt")
    return {"Plaintext": deliver(call, p, data_key)}


def get_blob(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """The wrapped data key (API: GetDataKeyCiphertextBlob)."""
    return {"CiphertextBlob": _in_state(_find(call, p["DataKeyId"]), ENABLED, DISABLED).blob}


def describe(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """DataKeyMetadata of one (API: DescribeDataKey)."""
    return {"DataKeyMetadata": _metadata(call, _find(call, p["DataKeyId"]))}


def describe_many(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """DataKeyMetadata of up to 100 (API: DescribeDataKeys)."""
    return {"DataKeyMetadatas": [_metadata(call, _find(call, each)) for each in p["DataKeyIds"]]}


def list_ids(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Ids, newest first (API: ListDataKeys)."""
    records = [] if p["Role"] else call.tx.all(DataKey, call.region)[::-1]
    return {"DataKeys": [{"DataKeyId": each.id} for each in page(records, p)], "TotalCount": len(records)}


def list_detail(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """DataKeyMetadata of those that pass the filters (API: ListDataKeyDetail)."""
    state, text = STATE_FILTER.get(p["KeyState"]), p["SearchKeyAlias"] or ""
    records = [
        each
        for each in ([] if p["Role"] else call.tx.all(DataKey, call.region))
        if state in (None, each.state)
        and p["Origin"] in ("ALL", each.origin)
        and (text in each.id or text in each.name)
        and p["KeyId"] in (None, each.key_id)
        and p["DataKeyLen"] in (None, each.size)
        and has_tags(each.tags, p["TagFilters"])
    ]
    if p["OrderType"] == 0:
        records.reverse()
    metadata = [_metadata(call, each) for each in page(records, p)]
    return {"DataKeyMetadatas": metadata, "TotalCount": len(records)}


def enable(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Disabled to Enabled: one, or several or none (API: EnableDataKey, EnableDataKeys)."""
    return _set_states(call, p, ENABLED)


def disable(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Enabled to Disabled: one, or several or none (API: DisableDataKey, DisableDataKeys)."""
    return _set_states(call, p, DISABLED)


def _set_states(call: Call, p: dict[str, Any], state: str) -> dict[str, Any]:
    for data_key_id in p.get("DataKeyIds") or [p["DataKeyId"]]:
        record = _in_state(_find(call, data_key_id), ENABLED, DISABLED)
        record.state = state
        call.tx.save(record)
    return {}


def schedule_deletion(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Disabled to PendingDelete, for 7 to 30 days (API: ScheduleDataKeyDeletion)."""
    record = _in_state(_find(call, p["DataKeyId"]), DISABLED)
    record.state = PENDING_DELETE
    record.deletion_date = call.now + p["PendingWindowInDays"] * DAY
    call.tx.save(record)
    return {"DataKeyId": record.id, "DeletionDate": record.deletion_date}


def cancel_deletion(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """PendingDelete to Disabled (API: CancelDataKeyDeletion)."""
    record = _find(call, p["DataKeyId"])
    if record.state != PENDING_DELETE:
        raise EngineError(
            e.DATA_KEY_NOT_PENDING_DELETE, f"no deletion of {record.id} is scheduled", record.key_id
        )
    record.state, record.deletion_date = DISABLED, 0
    call.tx.save(record)
    return {"DataKeyId": record.id}


def update_name(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Another name (API: UpdateDataKeyName)."""
    record = _find(call, p["DataKeyId"])
    record.name = p["DataKeyName"]
    try:
        call.tx.save(record)
    except NameTaken:
        raise EngineError(e.DATA_KEY_NAME_EXISTS, f"the name {record.name} is taken", record.key_id) from None
    return {}


def update_description(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Another description (API: UpdateDataKeyDescription)."""
    record = _find(call, p["DataKeyId"])
    record.description = p["Description"]
    call.tx.save(record)
    return {}


def _find(call: Call, data_key_id: str) -> DataKey:
    record = call.tx.get(DataKey, call.region, data_key_id)
    if record is None:
        raise EngineError(e.DATA_KEY_NOT_FOUND, f"there is no data key {data_key_id} in {call.region}")
    return record


def _in_state(record: DataKey, *states: str) -> DataKey:
    if record.state not in states:
        raise EngineError(e.DATA_KEY_STATE, f"the data key {record.id} is {record.state}", record.key_id)
    return record


def _metadata(call: Call, record: DataKey) -> dict[str, Any]:
    key = call.tx.get(Key, call.region, record.key_id)
    return {
        "DataKeyId": record.id,
        "KeyId": record.key_id,
        "KeyName": key.name if key else "",
        "DataKeyName": record.name,
        "NumberOfBytes": record.size,
        "CreateTime": record.created,
        "Description": record.description,
        "KeyState": record.state,
        "CreatorUin": ACCOUNT_UIN,
        "CreatorUinString": str(ACCOUNT_UIN),
        "Owner": "user",
        "DeletionDate": record.deletion_date,
        "Origin": record.origin,
        "HsmClusterId": "",
        "ResourceId": f"creatorUin/{ACCOUNT_UIN}/{record.id}",
    }
