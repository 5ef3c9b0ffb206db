"""The emulator as a process: ``python -m kmsenvelope.emulator --port 8440 --data keys.db``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .policy import Policy

if TYPE_CHECKING:
    from .server import Emulator

DEFAULT_PORT = 8440


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(
        prog="python -m kmsenvelope.emulator",
        description="Serve the Tencent Cloud KMS API on this machine, for tests and offline work.",
    )
    add = options.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one (default: %(default)s)")
    add("--data", metavar="FILE", help="keep keys in this SQLite file (default: in memory)")
    add("--passphrase-file", metavar="FILE", help="protect the key material with the first line of this file")
    add("--region", default="ap-guangzhou", help="region printed as an example (default: %(default)s)")
    add("--sm-region", action="append", default=[], metavar="REGION", help="a national-crypto region")
    add("--secret-id", default=os.environ.get("TENCENTCLOUD_SECRET_ID"), help="default: environment, or new")
    add(
        "--secret-key", default=os.environ.get("TENCENTCLOUD_SECRET_KEY"), help="default: environment, or new"
    )
    add("--rate-limits", action="store_true", help="apply the documented request rates")
    add("--audit", metavar="FILE", help="append a JSON line for each call")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM. 0 after that, 1 with a line on stderr if it cannot start."""
    args = parser().parse_args(argv)
    try:
        from .server import Emulator
    except ImportError:
        sys.stderr.write("the emulator needs its extra: pip install 'kmsenvelope[emulator]'\n")
        return 1
    from .store import StoreError

    try:
        emulator = Emulator(
            host=args.host,
            port=args.port,
            data=args.data,
            passphrase=_first_line(args.passphrase_file),
            region=args.region,
            secret_id=args.secret_id,
            secret_key=args.secret_key,
            policy=Policy(sm_regions=frozenset(args.sm_region)),
            rate_limits=args.rate_limits,
            audit=args.audit,
        )
        serve_until_signal(emulator)
    except (OSError, StoreError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def serve_until_signal(emulator: Emulator) -> None:
    """Start, print what a client needs, and stop on SIGINT or SIGTERM. For the main thread."""
    signals = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # the server's thread inherits it
    try:
        with emulator:
            lines = {"endpoint": emulator.endpoint, "region": emulator.region}
            lines |= {"secret id": emulator.secret_id, "secret key": emulator.secret_key}
            sys.stdout.write("".join(f"{name}: {value}\n" for name, value in lines.items()))
            sys.stdout.flush()
            signal.sigwait(signals)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _first_line(path: str | None) -> str | None:
    if path is None:
        return None
    return Path(path).read_text(encoding="utf-8").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
