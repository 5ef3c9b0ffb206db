"""Practice 3: whoever has the public key can encrypt; only the KMS can decrypt.

docs/practices/asymmetric.md explains it. SM2 needs an extra: pip install 'kmsenvelope[gm]'. With
Tencent Cloud KMS only `LocalKms()` changes.
"""

from __future__ import annotations

from kmsenvelope import EnvelopeClient, LocalKms, NoUsableKey, PublicKey

USAGES = ("ASYMMETRIC_DECRYPT_RSA_2048", "ASYMMETRIC_DECRYPT_SM2")


def owner_hands_out(kms: LocalKms, usage: str) -> tuple[str, str, str]:
    """Key id, public key and fingerprint: what a sender needs. None of it is secret."""
    key_id = kms.create_key(usage.rpartition("DECRYPT_")[2], usage=usage)
    public = kms.public_key(key_id)
    return key_id, public.to_pem(), public.fingerprint


def sender_encrypts(key_id: str, pem: str, fingerprint: str) -> tuple[bytes, bytes]:
    """Without credentials and without a network."""
    public = PublicKey.from_pem(pem, key_id=key_id, kms="local", fingerprint=fingerprint)
    note = public.encrypt(b"a short note")  # at most 190 bytes with RSA-2048, 146 with SM2

    client = EnvelopeClient(public)  # anything larger: the envelope's data key is encrypted to the key
    report = client.encrypt(b"a long report " * 1000, context={"from": "branch 7"})
    try:
        client.decrypt(report)
    except NoUsableKey:
        print("            the sender cannot read it back")
    return note, report


def main() -> None:
    with LocalKms() as kms:
        for usage in USAGES:
            key_id, pem, fingerprint = owner_hands_out(kms, usage)
            print(f"{usage}: fingerprint {fingerprint[:16]}...")
            note, report = sender_encrypts(key_id, pem, fingerprint)
            print(f"            note:   {kms.asymmetric_decrypt(key_id, note).decode()}")
            data = EnvelopeClient(kms.key(key_id)).decrypt(report, context={"from": "branch 7"})
            print(f"            report: {len(data)} bytes")


if __name__ == "__main__":
    main()
