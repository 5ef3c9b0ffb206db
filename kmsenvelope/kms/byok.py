"""Your own key material in an external CMK (BYOK).

Source: KMS best practice "import of external keys"; GetParametersForImport, ImportKeyMaterial.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ..buffers import BytesLike, byte_view
from ..errors import KmsError
from .answers import decode
from .failures import UNEXPECTED_ANSWER

if TYPE_CHECKING:
    from .service import Kms

MATERIAL_SIZES = {2: 32, 4: 16}
"""Bytes of material by the ``Type`` in a CMK's metadata: FIPS regions 2, SM regions 4."""

MAX_VALID_TO = 2_147_443_200

_SHA1 = hashes.SHA1()  # noqa: S303 - one of the API's three wrapping algorithms

_PADDINGS: dict[str, Callable[[], padding.AsymmetricPadding]] = {
    "RSAES_OAEP_SHA_256": lambda: padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
    "RSAES_OAEP_SHA_1": lambda: padding.OAEP(padding.MGF1(_SHA1), _SHA1, None),
    "RSAES_PKCS1_V1_5": padding.PKCS1v15,
}


def import_material(
    kms: Kms,
    key_id: str,
    material: BytesLike,
    valid_to: datetime | int | None = None,
    algorithm: str = "RSAES_OAEP_SHA_256",
) -> None:
    """Import ``material`` into the external CMK ``key_id`` (id or alias), which then works like any other.

    KEEP A COPY OF THE MATERIAL, for as long as anything encrypted under the key must open: the KMS never
    gives it back, and once it has expired or been deleted only the very same material opens the data again.

    ``material`` is 32 bytes in FIPS regions, 16 in SM regions: ``ValueError`` otherwise, before anything is
    sent. ``valid_to`` ends its validity: an aware ``datetime`` or seconds since 1970, ``None`` for never.
    ``algorithm`` is how it travels: ``RSAES_OAEP_SHA_256``, ``RSAES_OAEP_SHA_1`` or ``RSAES_PKCS1_V1_5``.
    Each import fetches new parameters, which makes those of an import under way elsewhere invalid.
    """
    if algorithm not in _PADDINGS:
        raise ValueError(f"unknown algorithm {algorithm!r}: choose one of {', '.join(_PADDINGS)}")
    expiry = _expiry(valid_to)
    view = byte_view(material, "material")
    key = kms.key(key_id)
    metadata = key.call("DescribeKey")["KeyMetadata"]
    if metadata.get("Origin") != "EXTERNAL":
        raise ValueError(f"{key} has its own material: only a key made with external=True takes yours")
    size = MATERIAL_SIZES.get(metadata.get("Type"))
    if size is not None and view.nbytes != size:
        raise ValueError(f"the material has {view.nbytes} bytes; {key} takes {size} ({size * 8} bits)")
    answer = key.call(
        "GetParametersForImport", {"WrappingAlgorithm": algorithm, "WrappingKeySpec": "RSA_2048"}
    )
    public = _wrapping_key(bytes(decode("GetParametersForImport", answer, "PublicKey")))
    wrapped = public.encrypt(bytes(view), _PADDINGS[algorithm]())
    params: dict[str, object] = {
        "EncryptedKeyMaterial": base64.b64encode(wrapped).decode("ascii"),
        "ImportToken": answer["ImportToken"],
    }
    if expiry:
        params["ValidTo"] = expiry
    key.call("ImportKeyMaterial", params)


def _expiry(valid_to: datetime | int | None) -> int:
    if valid_to is None:
        return 0
    if isinstance(valid_to, datetime):
        if valid_to.tzinfo is None:
            raise ValueError("valid_to has no time zone: use an aware datetime, such as datetime.now(UTC)")
        valid_to = int(valid_to.timestamp())
    if isinstance(valid_to, bool) or not isinstance(valid_to, int):
        raise TypeError(f"valid_to must be a datetime or int seconds, not {type(valid_to).__name__}")
    if not time.time() < valid_to <= MAX_VALID_TO:
        raise ValueError(f"valid_to must be in the future and at most {MAX_VALID_TO} (seconds since 1970)")
    return valid_to


def _wrapping_key(der: bytes) -> rsa.RSAPublicKey:
    try:
        public = serialization.load_der_public_key(der)
    except ValueError:
        public = None
    if not isinstance(public, rsa.RSAPublicKey):
        raise KmsError(
            "the wrapping key is not an RSA public key",
            code=UNEXPECTED_ANSWER,
            action="GetParametersForImport",
        )
    return public
