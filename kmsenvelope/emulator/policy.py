"""The named answers to what the service's documentation leaves open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from . import errors as e


@dataclass(frozen=True)
class Policy:
    """How the engine behaves where no public document says how the service does.

    A field of type ``str | None`` named ``<operation>_<state>`` is the error code that the operation answers
    for a CMK in that state; ``None`` allows it. Defaults take a code from the action's own documented list
    where that list has a fitting one. A test that depends on one of these fields should set it.
    """

    # Operations on a CMK by its state.
    encrypt_pending_delete: str | None = e.CMK_DISABLED
    encrypt_pending_import: str | None = e.CMK_DISABLED
    generate_pending_import: str | None = e.CMK_DISABLED
    generate_archived: str | None = e.CMK_ARCHIVED
    decrypt_pending_delete: str | None = e.CMK_DISABLED
    decrypt_pending_import: str | None = e.CMK_DISABLED
    reencrypt_source_pending_delete: str | None = e.CMK_DISABLED
    reencrypt_source_pending_import: str | None = e.CMK_DISABLED
    reencrypt_source_archived: str | None = None
    reencrypt_destination_pending_delete: str | None = e.CMK_DISABLED
    reencrypt_destination_pending_import: str | None = e.CMK_DISABLED
    reencrypt_destination_archived: str | None = e.CMK_ARCHIVED
    verify_archived: str | None = e.CMK_STATE
    enable_enabled: str | None = None
    disable_disabled: str | None = None
    schedule_deletion_pending_import: str | None = None
    schedule_deletion_archived: str | None = e.CMK_STATE
    archive_disabled: str | None = e.CMK_STATE
    archive_archived: str | None = e.CMK_STATE
    update_pending_delete: str | None = e.CMK_STATE
    parameters_pending_delete: str | None = e.CMK_STATE
    parameters_archived: str | None = e.CMK_STATE
    delete_material_disabled: str | None = None
    delete_material_pending_import: str | None = e.CMK_STATE
    delete_material_archived: str | None = e.CMK_STATE
    bind_disabled: str | None = e.CMK_STATE
    bind_pending_import: str | None = e.CMK_STATE
    bind_archived: str | None = e.CMK_STATE

    # The encryption context.
    context_comparison: Literal["exact", "json"] = "exact"
    """``exact``: the same string, character for character; ``json``: the same members, however written."""
    empty_context_is_absent: bool = True
    """Whether an ``EncryptionContext`` of ``""`` means none at all."""
    wrong_context: str = e.INVALID_CIPHERTEXT
    """Answer of Decrypt for another context than the one at encryption."""
    reencrypt_changed_context: bool = True
    """Whether ReEncrypt to the same CMK and version makes a new blob when only the context changes."""

    # Keys and usages.
    wrong_usage: str = e.INVALID_KEY_USAGE
    """Answer for a CMK of another usage, also where the action's list has no code for it."""
    sm_regions: frozenset[str] = frozenset()
    """Regions of the national-crypto kind: SM4, 16-byte material. All others are FIPS: AES-256, 32 bytes."""
    sm2_in_fips_regions: bool = True
    """Whether SM2 usages exist outside the SM regions."""
    cmk_limit: int = 200
    """CMKs of one region, those pending deletion not counted."""
    data_key_limit: int = 100
    """Hosted data keys of one region. The service's own number depends on what was bought."""

    # Rotation.
    rotation_seconds: int = 0
    """How long a RotateKey task runs; while it does, another one answers RotateTaskRunning."""
    rotate_interval_seconds: int = 24 * 3600
    """Least time between two RotateKey calls for one CMK."""

    # Imported material.
    import_supersession: bool = True
    """Whether GetParametersForImport ends the validity of the CMK's earlier tokens, as the guide says."""
    wrong_material_length: str = e.DECRYPT_MATERIAL
    """Answer of ImportKeyMaterial for material of another length than the region's."""
    superseded_token: str = e.TOKEN_EXPIRED
    """Answer of ImportKeyMaterial for a superseded token."""

    # Asymmetric keys.
    rsa_pem_double_base64: bool = True
    """Whether ``PublicKeyPem`` of an RSA key has the documented oddity: Base64 of Base64 in the armour."""
    pss_salt: Literal["digest", "max"] = "digest"
    """Salt length of RSA_PSS_SHA_256 signatures made here; verification takes any."""
    sm2_raw_prefix: bool = False
    """Whether data enciphered with ``EncryptionAlgorithm=SM2`` begins with the byte 0x04."""

    def is_sm(self, region: str) -> bool:
        """Whether ``region`` is one of the national-crypto kind."""
        return region in self.sm_regions


DEFAULT_POLICY = Policy()
