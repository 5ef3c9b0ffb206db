"""Practice 4: your own key material in a CMK. docs/practices/own-key-material.md explains it.

With Tencent Cloud KMS only `LocalKms()` changes.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

from kmsenvelope import EnvelopeClient, KeyUnavailable, LocalKms, NoUsableKey


def main() -> None:
    with LocalKms() as kms:
        key_id = kms.create_key("ours", external=True)
        try:
            kms.key(key_id).encrypt(b"too early")
        except KeyUnavailable:
            print("the key is empty: nothing works before the import")

        # 32 bytes in FIPS regions, 16 in SM regions. KEEP A COPY, offline: nothing else can ever open the
        # data again once the KMS no longer has the material.
        material = secrets.token_bytes(32)
        kms.import_key_material(key_id, material, valid_to=datetime.now(UTC) + timedelta(days=365))
        client = EnvelopeClient(kms.key(key_id))
        sealed = client.encrypt(b"closed on demand")
        print(f"imported: {client.decrypt(sealed).decode()}")

        kms.delete_key_material(key_id)
        try:
            EnvelopeClient(kms.key(key_id)).decrypt(sealed)
        except NoUsableKey:
            print("deleted: at once nothing opens")

        kms.import_key_material(key_id, material)
        print(f"imported again: {EnvelopeClient(kms.key(key_id)).decrypt(sealed).decode()}")


if __name__ == "__main__":
    main()
