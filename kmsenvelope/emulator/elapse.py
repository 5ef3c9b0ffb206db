"""What happens by itself as time passes: deletions, expiry of imported material, rotations."""

from __future__ import annotations

from .call import Call
from .importing import drop_material
from .records import ENABLED, PENDING_DELETE, DataKey, ImportToken, Key
from .rotation import add_version


def elapse(call: Call) -> None:
    """Do everything that is due by ``call.now``, in every region. Needs a writing transaction."""
    for data_key in call.tx.due(DataKey, call.now):
        call.tx.remove(data_key)
    for key in call.tx.due(Key, call.now):
        call.region = key.region
        if key.state == PENDING_DELETE and key.deletion_date <= call.now:
            _remove(call, key)
            continue
        if key.has_material and 0 < key.valid_to <= call.now:
            drop_material(call, key)
        if key.rotating_until and key.rotating_until <= call.now:
            add_version(call, key)
        if key.rotation_enabled and key.state == ENABLED and key.next_rotation <= call.now:
            add_version(call, key)
        call.tx.save(key)


def _remove(call: Call, key: Key) -> None:
    for token in call.tx.all(ImportToken, key.region):
        if token.key_id == key.id:
            call.tx.remove(token)
    call.tx.remove(key)
