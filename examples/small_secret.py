"""Practice 1: a password, encrypted by the KMS itself. docs/practices/small-secrets.md explains it.

With Tencent Cloud KMS only the first line of `main` changes: `TencentKms("ap-guangzhou")`.
"""

from __future__ import annotations

from kmsenvelope import EnvelopeClient, KmsError, LocalKms


def main() -> None:
    with LocalKms() as kms:
        key = kms.key(kms.create_key("settings"))

        # The context is bound to the secret: it opens for this use and no other.
        context = {"app": "billing", "name": "db-password"}
        blob = key.encrypt(b"correct horse battery staple", context)
        print(f"store this: {blob[:40]}... ({len(blob)} characters)")
        print(f"read back:  {kms.decrypt(blob, context).decode()}")

        try:
            kms.decrypt(blob, {"app": "billing", "name": "api-token"})
        except KmsError as error:
            print(f"elsewhere:  {error.code}")

        try:
            key.encrypt(bytes(5000))
        except ValueError as error:
            print(f"too large:  {error}")
        sealed = EnvelopeClient(key).encrypt(bytes(5000), context=context)
        print(f"envelope:   {len(sealed)} bytes for 5000")


if __name__ == "__main__":
    main()
