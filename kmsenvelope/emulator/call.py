"""What one call works with: the open transaction, the time, the policy, and the CMKs that it uses."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from . import errors as e
from .errors import EngineError
from .policy import Policy
from .records import Key
from .states import check_state
from .store import Transaction


@dataclass
class Call:
    """The surroundings of one action."""

    tx: Transaction
    now: int
    region: str
    policy: Policy
    random: Callable[[int], bytes]

    def key(self, key_id: str, operation: str, *usages: str) -> Key:
        """The CMK, if it exists, has one of the usages (any, without) and its state permits ``operation``.

        Raises ``EngineError``: CmkNotFound, the policy's ``wrong_usage``, or the state's own code.
        """
        key = self.tx.get(Key, self.region, key_id)
        if key is None:
            raise EngineError(e.CMK_NOT_FOUND, f"there is no key {key_id} in {self.region}", key_id)
        if usages and key.usage not in usages:
            raise EngineError(self.policy.wrong_usage, f"the key {key_id} is for {key.usage}", key_id)
        check_state(operation, key, self.policy)
        return key

    def new_id(self) -> str:
        """A time-based UUID with a random node, as the service's ids look."""
        return str(uuid.uuid1(node=int.from_bytes(self.random(6), "big") | 1 << 40))


PUBLIC_KEY = "public"
"""The name under which an asymmetric CMK's public key is kept."""


def material_name(version: int) -> str:
    """The name of the secret that holds a CMK's material of this version."""
    return f"v{version}"
