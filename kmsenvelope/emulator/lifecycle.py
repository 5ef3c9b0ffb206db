"""The life of a CMK: creation, description, states, aliases, deletion, archive, bindings to products."""

from __future__ import annotations

from typing import Any

from . import asymmetric
from . import errors as e
from .call import PUBLIC_KEY, Call, material_name
from .errors import EngineError
from .records import (
    ARCHIVED,
    DAY,
    DISABLED,
    ENABLED,
    ENCRYPT_DECRYPT,
    EXTERNAL,
    KMS_MADE,
    PENDING_DELETE,
    PENDING_IMPORT,
    Key,
)
from .store import NameTaken

ACCOUNT_UIN = 100000000001
"""The one account of the emulator."""

_TYPE_EXTERNAL = 2
_LISTED_STATES = (ENABLED, DISABLED, PENDING_IMPORT)
STATE_FILTER = {1: ENABLED, 2: DISABLED, 3: PENDING_DELETE, 4: PENDING_IMPORT, 5: ARCHIVED}


def create_key(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """A new CMK, Enabled, or PendingImport for Type 2 (API: CreateKey)."""
    usage, external = p["KeyUsage"], p["Type"] == _TYPE_EXTERNAL
    asymmetric.check_usage_offered(call, usage)
    if external and usage != ENCRYPT_DECRYPT:
        raise EngineError(e.INVALID_TYPE, "only a symmetric key can have imported material")
    in_use = sum(key.state != PENDING_DELETE for key in call.tx.all(Key, call.region))
    if in_use >= call.policy.cmk_limit:
        raise EngineError(e.CMK_LIMIT, f"the limit of {call.policy.cmk_limit} keys is reached")
    key = Key(
        region=call.region,
        id=call.new_id(),
        name=p["Alias"],
        description=p["Description"] or "",
        usage=usage,
        origin=EXTERNAL if external else KMS_MADE,
        state=PENDING_IMPORT if external else ENABLED,
        created=call.now,
        has_material=not external,
        tags=tags_of(p),
    )
    try:
        call.tx.add(key)
    except NameTaken:
        raise EngineError(e.ALIAS_EXISTS, f"the alias {key.name} is taken") from None
    if not external:
        _make_material(call, key)
    return {
        "KeyId": key.id,
        "Alias": key.name,
        "CreateTime": key.created,
        "Description": key.description,
        "KeyState": key.state,
        "KeyUsage": key.usage,
        "TagCode": 0,
        "TagMsg": "",
        "HsmClusterId": "",
    }


def _make_material(call: Call, key: Key) -> None:
    if key.usage == ENCRYPT_DECRYPT:
        material = call.random(material_size(call))
    else:
        material, public = asymmetric.new_key_pair(key.usage)
        call.tx.set_secret(key.id, PUBLIC_KEY, public)
    call.tx.set_secret(key.id, material_name(key.version), material)


def material_size(call: Call) -> int:
    """Bytes of symmetric CMK material: 16 in SM regions, 32 in FIPS regions."""
    return 16 if call.policy.is_sm(call.region) else 32


def tags_of(p: dict[str, Any]) -> dict[str, str]:
    """The ``Tags`` of a request as a mapping."""
    return {tag["TagKey"]: tag["TagValue"] for tag in p["Tags"] or []}


def describe_key(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """KeyMetadata of one CMK (API: DescribeKey)."""
    return {"KeyMetadata": metadata(call, call.key(p["KeyId"], "Describe"))}


def describe_keys(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """KeyMetadata of up to 100 CMKs (API: DescribeKeys)."""
    return {"KeyMetadatas": [metadata(call, call.key(key_id, "Describe")) for key_id in p["KeyIds"]]}


def metadata(call: Call, key: Key) -> dict[str, Any]:
    """The KeyMetadata object. Its ``Type`` is the region's kind (2 FIPS, 4 SM), not CreateKey's ``Type``."""
    return {
        "KeyId": key.id,
        "Alias": key.name,
        "CreateTime": key.created,
        "Description": key.description,
        "KeyState": key.state,
        "KeyUsage": key.usage,
        "Type": 4 if call.policy.is_sm(call.region) else 2,
        "CreatorUin": ACCOUNT_UIN,
        "CreatorUinString": str(ACCOUNT_UIN),
        "KeyRotationEnabled": key.rotation_enabled,
        "Owner": "user",
        "NextRotateTime": key.next_rotation,
        "RotateDays": key.rotate_days,
        "LastRotateTime": key.rotated_at,
        "DeletionDate": key.deletion_date,
        "Origin": key.origin,
        "ValidTo": key.valid_to,
        "ResourceId": f"creatorUin/{ACCOUNT_UIN}/{key.id}",
        "HsmClusterId": "",
        "IsSyncReplica": 0,
        "SourceRegion": "",
        "SyncStatus": 0,
        "SyncMessages": "",
        "SyncStartTime": 0,
        "SyncEndTime": 0,
        "SourceHsmClusterId": "",
        "AccountAppId": 0,
        "AccountUin": ACCOUNT_UIN,
        "AccountName": "",
    }


def list_keys(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Ids of the CMKs that are Enabled, Disabled or PendingImport, newest first (API: ListKeys)."""
    keys = [key for key in reversed(_created_by_role(call, p)) if key.state in _LISTED_STATES]
    return {"Keys": [{"KeyId": key.id} for key in page(keys, p)], "TotalCount": len(keys)}


def list_key_detail(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """KeyMetadata of the CMKs that pass the filters (API: ListKeyDetail)."""
    usage = p["KeyUsage"] or ENCRYPT_DECRYPT
    state, origin, text = STATE_FILTER.get(p["KeyState"]), p["Origin"], p["SearchKeyAlias"] or ""
    keys = [
        key
        for key in _created_by_role(call, p)
        if usage in ("ALL", key.usage)
        and state in (None, key.state)
        and origin in ("ALL", key.origin)
        and (text in key.id or text in key.name)
        and has_tags(key.tags, p["TagFilters"])
    ]
    if p["OrderType"] == 0:
        keys.reverse()
    return {"KeyMetadatas": [metadata(call, key) for key in page(keys, p)], "TotalCount": len(keys)}


def _created_by_role(call: Call, p: dict[str, Any]) -> list[Key]:
    # Role 1 asks for keys that a cloud product created: there are none here.
    return [] if p["Role"] else call.tx.all(Key, call.region)


def page(records: list[Any], p: dict[str, Any]) -> list[Any]:
    """The part of ``records`` that Offset and Limit ask for."""
    return records[p["Offset"] : p["Offset"] + p["Limit"]]


def has_tags(tags: dict[str, str], filters: list[dict[str, Any]] | None) -> bool:
    """Whether ``tags`` pass all filters: each names a key and, perhaps, the values that it may have."""
    return all(
        item["TagKey"] in tags and (not item["TagValue"] or tags[item["TagKey"]] in item["TagValue"])
        for item in filters or []
    )


def enable_key(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Disabled to Enabled (API: EnableKey)."""
    return _set_state(call, call.key(p["KeyId"], "EnableKey"), ENABLED)


def enable_keys(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """All of them, or none if one cannot be enabled (API: EnableKeys)."""
    for key_id in p["KeyIds"]:
        _set_state(call, call.key(key_id, "EnableKey"), ENABLED)
    return {}


def disable_key(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Enabled to Disabled (API: DisableKey)."""
    return _set_state(call, check_unbound(call.key(p["KeyId"], "DisableKey")), DISABLED)


def disable_keys(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """All of them, or none if one cannot be disabled (API: DisableKeys)."""
    for key_id in p["KeyIds"]:
        _set_state(call, check_unbound(call.key(key_id, "DisableKey")), DISABLED)
    return {}


def _set_state(call: Call, key: Key, state: str) -> dict[str, Any]:
    key.state = state
    call.tx.save(key)
    return {}


def check_unbound(key: Key) -> Key:
    """``key``, if no product uses it. Raises ``EngineError`` (CmkUsedByCloudProduct)."""
    if key.bindings:
        product, _ = key.bindings[0]
        raise EngineError(e.CMK_USED, f"the key {key.id} is in use by the product {product}", key.id)
    return key


def schedule_key_deletion(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Disabled to PendingDelete, for 7 to 30 days (API: ScheduleKeyDeletion)."""
    key = check_unbound(call.key(p["KeyId"], "ScheduleKeyDeletion"))
    key.deletion_date = call.now + p["PendingWindowInDays"] * DAY
    _set_state(call, key, PENDING_DELETE)
    return {"KeyId": key.id, "DeletionDate": key.deletion_date}


def cancel_key_deletion(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """PendingDelete to Disabled; without material, back to PendingImport (API: CancelKeyDeletion)."""
    key = call.key(p["KeyId"], "CancelKeyDeletion")
    key.deletion_date = 0
    _set_state(call, key, DISABLED if key.has_material else PENDING_IMPORT)
    return {"KeyId": key.id}


def archive_key(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Enabled to Archived: the CMK only decrypts (API: ArchiveKey)."""
    return _set_state(call, check_unbound(call.key(p["KeyId"], "ArchiveKey")), ARCHIVED)


def cancel_key_archive(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Archived to Enabled (API: CancelKeyArchive)."""
    return _set_state(call, call.key(p["KeyId"], "CancelKeyArchive"), ENABLED)


def update_alias(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Another alias (API: UpdateAlias)."""
    key = call.key(p["KeyId"], "Update")
    key.name = p["Alias"]
    try:
        call.tx.save(key)
    except NameTaken:
        raise EngineError(e.ALIAS_EXISTS, f"the alias {key.name} is taken", key.id) from None
    return {}


def update_description(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Another description (API: UpdateKeyDescription)."""
    key = call.key(p["KeyId"], "Update")
    key.description = p["Description"]
    call.tx.save(key)
    return {}


def bind_resource(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Record that a product uses the CMK; repeating it succeeds; ends expiry (API: BindCloudResource)."""
    key = call.key(p["KeyId"], "BindCloudResource")
    binding = [p["ProductId"], p["ResourceId"]]
    if binding not in key.bindings:
        key.bindings.append(binding)
    key.valid_to = 0
    call.tx.save(key)
    return {}


def unbind_resource(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Remove that record (API: UnbindCloudResource)."""
    key = call.key(p["KeyId"], "Describe")
    binding = [p["ProductId"], p["ResourceId"]]
    if binding not in key.bindings:
        raise EngineError(e.BINDING_NOT_FOUND, "the key is not bound to this resource", key.id)
    key.bindings.remove(binding)
    call.tx.save(key)
    return {}
