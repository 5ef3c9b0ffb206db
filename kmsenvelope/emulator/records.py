"""What the store keeps: CMKs, hosted data keys and import tokens, without any key material."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

DAY = 24 * 3600

ENABLED = "Enabled"
DISABLED = "Disabled"
PENDING_DELETE = "PendingDelete"
PENDING_IMPORT = "PendingImport"
ARCHIVED = "Archived"

KMS_MADE = "TENCENT_KMS"
EXTERNAL = "EXTERNAL"

ENCRYPT_DECRYPT = "ENCRYPT_DECRYPT"
DECRYPT_RSA = "ASYMMETRIC_DECRYPT_RSA_2048"
DECRYPT_SM2 = "ASYMMETRIC_DECRYPT_SM2"
SIGN_SM2 = "ASYMMETRIC_SIGN_VERIFY_SM2"
SIGN_ECC = "ASYMMETRIC_SIGN_VERIFY_ECC"
SIGN_RSA_2048 = "ASYMMETRIC_SIGN_VERIFY_RSA_2048"
SIGN_RSA_3072 = "ASYMMETRIC_SIGN_VERIFY_RSA_3072"
SIGN_ECDSA384 = "ASYMMETRIC_SIGN_VERIFY_ECDSA384"


@dataclass
class Key:
    """A CMK. Times are unix seconds; 0 means none. ``version`` counts the material versions, from 1."""

    kind: ClassVar[str] = "key"

    region: str
    id: str
    name: str  # the alias
    description: str
    usage: str
    origin: str
    state: str
    created: int
    version: int = 1
    rotation_enabled: bool = False
    rotate_days: int = 365
    rotated_at: int = 0
    rotating_until: int = 0
    rotate_requested: int = 0
    deletion_date: int = 0
    valid_to: int = 0
    has_material: bool = True
    tags: dict[str, str] = field(default_factory=dict)
    bindings: list[list[str]] = field(default_factory=list)  # [product id, resource id]

    @property
    def next_rotation(self) -> int:
        """When periodic rotation is due (counted from the last one), whether it is on or not."""
        return max(self.rotated_at, self.created) + self.rotate_days * DAY

    @property
    def due(self) -> int | None:
        """The next time at which something happens to this key by itself, if anything ever does."""
        moments = []
        if self.state == PENDING_DELETE:
            moments.append(self.deletion_date)
        if self.valid_to and self.has_material:
            moments.append(self.valid_to)
        if self.rotating_until:
            moments.append(self.rotating_until)
        if self.rotation_enabled and self.state == ENABLED:
            moments.append(self.next_rotation)
        return min(moments, default=None)


@dataclass
class DataKey:
    """A data key hosted by the KMS; ``blob`` is its wrapped form, ``inner`` the service's own."""

    kind: ClassVar[str] = "datakey"

    region: str
    id: str
    name: str
    key_id: str
    blob: str
    inner: str
    size: int
    description: str
    origin: str
    state: str
    created: int
    deletion_date: int = 0
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def due(self) -> int | None:
        """When it disappears, if its deletion is scheduled."""
        return self.deletion_date if self.state == PENDING_DELETE else None


@dataclass
class ImportToken:
    """A token of GetParametersForImport; its RSA private key is a secret of the same owner id."""

    kind: ClassVar[str] = "token"

    region: str
    id: str
    name: str  # the same as the id: names must be unique
    key_id: str
    algorithm: str
    valid_to: int
    superseded: bool = False

    @property
    def due(self) -> int | None:
        """Never: an expired token is still told apart from one that never was."""
        return None
