"""``emulator``: the KMS on this machine, for tests and offline work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def emulator(
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="0 takes a free one.")
    ] = 8440,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FILE", help="Keep keys in this SQLite file.  [default: in memory]"),
    ] = None,
    passphrase_file: Annotated[
        str | None,
        typer.Option(
            "--passphrase-file", metavar="FILE", help="Protect --data by the first line of this file."
        ),
    ] = None,
    region: Annotated[
        str, typer.Option("--region", metavar="REGION", help="The region to start with; any works.")
    ] = "ap-guangzhou",
    sm_region: Annotated[
        list[str] | None,
        typer.Option("--sm-region", metavar="REGION", help="A region with SM material; repeatable."),
    ] = None,
    secret_id: Annotated[
        str | None,
        typer.Option("--secret-id", metavar="ID", envvar="TENCENTCLOUD_SECRET_ID", help="Made if missing."),
    ] = None,
    secret_key: Annotated[
        str | None,
        typer.Option(
            "--secret-key", metavar="KEY", envvar="TENCENTCLOUD_SECRET_KEY", help="Made if missing."
        ),
    ] = None,
    rate_limits: Annotated[bool, typer.Option("--rate-limits", help="Apply the documented rates.")] = False,
    audit: Annotated[
        str | None, typer.Option("--audit", metavar="FILE", help="Append a line of JSON for each call.")
    ] = None,
) -> None:
    """Serve the Tencent Cloud KMS API on this machine until SIGINT or SIGTERM.

    The SDK, tccli and this command (KMSENVELOPE_ENDPOINT) accept it as the service. It prints the endpoint
    and the credentials that it takes. Keys are in software, and HTTP is plain: for tests only.
    """
    try:
        from kmsenvelope.emulator.server import Emulator
    except ModuleNotFoundError:
        raise ImportError("the emulator needs an extra: pip install 'kmsenvelope[emulator]'") from None
    from kmsenvelope.emulator.__main__ import serve_until_signal
    from kmsenvelope.emulator.policy import Policy
    from kmsenvelope.emulator.store import StoreError

    passphrase = (
        None if passphrase_file is None else Path(passphrase_file).read_text("utf-8").partition("\n")[0]
    )
    try:
        served = Emulator(
            host=host,
            port=port,
            data=data,
            passphrase=passphrase,
            region=region,
            secret_id=secret_id,
            secret_key=secret_key,
            policy=Policy(sm_regions=frozenset(sm_region or ())),
            rate_limits=rate_limits,
            audit=audit,
        )
    except StoreError as error:
        raise OSError(0, str(error), data) from None
    serve_until_signal(served)
