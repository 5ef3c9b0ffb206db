"""What happens by itself as time passes: deletions, expiry of imported material, rotations."""

from __future__ import annotations

from kmsenvelope.emulator.call import Call, material_name
from kmsenvelope.emulator.records import ENABLED, PENDING_DELETE, PENDING_IMPORT, DataKey, Key
from kmsenvelope.emulator.rotation import add_version


def elapse(call: Call) -> None:
    """Do everything that is due by ``call.now``, in every region. Needs a writing transaction."""
    for data_key in call.tx.due(DataKey, call.now):
        call.tx.remove(data_key)
    for key in call.tx.due(Key, call.now):
        call.region = key.region
        if key.state == PENDING_DELETE and key.deletion_date <= call.now:
            call.tx.remove(key)
            continue
        if key.has_material and 0 < key.valid_to <= call.now:
            drop_material(call, key)
        if key.rotating_until and key.rotating_until <= call.now:
            add_version(call, key)
        if key.rotation_enabled and key.state == ENABLED and key.next_rotation <= call.now:
            add_version(call, key)
        call.tx.save(key)


def drop_material(call: Call, key: Key) -> None:
    """Forget imported material; the caller saves the key. A pending deletion stays pending."""
    call.tx.drop_secret(key.id, material_name(key.version))
    key.has_material = False
    key.valid_to = 0
    if key.state != PENDING_DELETE:
        key.state = PENDING_IMPORT
