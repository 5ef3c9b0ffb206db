"""Practice 2: envelope encryption through the real SDK. docs/practices/envelope.md explains it.

It runs against the emulator, so it needs no account: pip install 'kmsenvelope[emulator]'. For the service
leave `endpoint` out and let TencentKms find the credentials; everything below stays as it is.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from kmsenvelope import CachePolicy, EnvelopeClient, TencentKms, inspect
from kmsenvelope.emulator.server import Emulator


def main() -> None:
    with Emulator() as emulator, tempfile.TemporaryDirectory() as folder:
        kms = TencentKms(
            emulator.region,
            secret_id=emulator.secret_id,
            secret_key=emulator.secret_key,
            endpoint=emulator.endpoint,
            protect_in_transit=True,  # data keys are enciphered on their way as well
        )
        with kms:
            key_id = kms.create_key("orders", description="data keys of the order archive")

            # One data key serves many messages for a while; each message still has keys of its own.
            cache = CachePolicy(max_age=300, max_messages=10_000)
            with EnvelopeClient(kms.key(key_id), cache=cache) as client:
                rows = [b"order %d" % number for number in range(100)]
                sealed = [client.encrypt(row, context={"table": "orders"}) for row in rows]
                assert [client.decrypt(blob, context={"table": "orders"}) for blob in sealed] == rows
                print(f"100 rows: KMS calls {client.stats()['kms_calls']}")

                plain = Path(folder, "orders.csv")
                plain.write_bytes(b"id,amount\n" * 100_000)
                client.encrypt_file(plain, Path(folder, "orders.csv.kmse"), context={"table": "orders"})
                client.decrypt_file(Path(folder, "orders.csv.kmse"), Path(folder, "copy.csv"))
                same = Path(folder, "copy.csv").read_bytes() == plain.read_bytes()
                header = inspect(Path(folder, "orders.csv.kmse"))
                print(f"a file:   {header.suite}, for {header.recipients[0]}, comes back: {same}")


if __name__ == "__main__":
    main()
