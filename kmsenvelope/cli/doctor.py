"""``doctor``: what this installation is made of and where it looks, for a first look when something fails."""

from __future__ import annotations

import json
import os
import platform
import stat
import sys
from typing import Annotated

import typer

from kmsenvelope.addresses import KeyAddress, default_store
from kmsenvelope.errors import KmsAccessDenied, KmsError

from .exits import complain
from .options import JsonOption
from .places import open_place, place_of
from .render import Row, panel
from .text import counted

_PACKAGES = (
    "cryptography",
    "tencentcloud-sdk-python-kms",
    "tencentcloud-sdk-python",
    "tenacity",
    "typer",
    "rich",
    "starlette",
    "uvicorn",
    "gmssl",
)
_CREDENTIAL_FILES = ("~/.tencentcloud/credentials", "/etc/tencentcloud/credentials")
_SETTINGS = ("KMSENVELOPE_HOME", "KMSENVELOPE_KEY", "KMSENVELOPE_ENDPOINT", "KMSENVELOPE_SM4")


def doctor(
    kms: Annotated[
        str | None,
        typer.Option("--kms", metavar="KMS", help="Also call this KMS: tencent:REGION, or local:PATH."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show versions, the SM4 library in use, the local key store and whether credentials are found.

    No secret is shown, and nothing is called unless --kms says so.
    """
    place = None if kms is None else place_of(None, kms)
    groups = [_versions(), _sm4(), _store(), _credentials(), _settings()]
    failure = None
    if place is not None:
        answer, failure = _ask(place)
        groups.append([(kms or "", answer)])
    if as_json:
        typer.echo(json.dumps({name: value for group in groups for name, value in group}, indent=2))
    else:
        panel("kmsenvelope doctor", [row for group in groups for row in [("", ""), *group]][1:])
    if failure is not None:
        raise typer.Exit(complain(failure))


def _versions() -> list[Row]:
    from importlib.metadata import PackageNotFoundError, version

    from cryptography.hazmat.backends.openssl import backend

    rows = [
        ("kmsenvelope", version("kmsenvelope")),
        ("python", f"{platform.python_version()}, {sys.executable}"),
        ("system", platform.platform(terse=True)),
    ]
    for package in _PACKAGES:
        try:
            rows.append((package, version(package)))
        except PackageNotFoundError:
            continue
    return [*rows, ("openssl", backend.openssl_version_text())]


def _sm4() -> list[Row]:
    from kmsenvelope.ciphers.select import sm4_status

    try:
        providers = sm4_status()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it is what the reader wants to know
        return [("sm4", str(error))]
    return [(f"sm4 {found.name}", str(found).partition(": ")[2]) for found in providers]


def _store() -> list[Row]:
    path = default_store()
    if not path.exists():
        return [
            ("key store", str(path)),
            ("store state", "not there yet: 'kmsenvelope keys create NAME' makes it"),
        ]
    mode = stat.S_IMODE(path.stat().st_mode)
    access = "only you" if not mode & 0o077 else "others too: chmod 600"
    sealed = "set" if os.environ.get("KMSENVELOPE_PASSPHRASE") else "not set"
    return [
        ("key store", str(path)),
        ("store state", _store_state()),
        ("store access", f"{access} (mode {mode:04o})"),
        ("passphrase", sealed),
    ]


def _store_state() -> str:
    try:
        with open_place(place_of(None, None)) as kms:
            answer = kms.call("ListKeyDetail", {"KeyUsage": "ALL", "Limit": 1})
    except KmsAccessDenied as error:
        return str(error.args[0])
    except (KmsError, OSError) as error:
        return f"not usable: {error}"
    return counted(int(answer["TotalCount"]), "key")


def _credentials() -> list[Row]:
    found = []
    if os.environ.get("TENCENTCLOUD_SECRET_ID") and os.environ.get("TENCENTCLOUD_SECRET_KEY"):
        temporary = ", temporary" if os.environ.get("TENCENTCLOUD_TOKEN") else ""
        found.append(f"environment (TENCENTCLOUD_SECRET_ID{temporary})")
    found += [path for path in _CREDENTIAL_FILES if os.path.exists(os.path.expanduser(path))]
    if os.environ.get("TKE_WEB_IDENTITY_TOKEN_FILE"):
        found.append("role of the pod (TKE)")
    return [("credentials", ", ".join(found) or "none found; the role of the machine is looked up at a call")]


def _settings() -> list[Row]:
    return [(name, value) for name in _SETTINGS if (value := os.environ.get(name))]


def _ask(place: KeyAddress) -> tuple[str, Exception | None]:
    """One harmless call."""
    try:
        with open_place(place) as kms:
            answer = kms.call("ListKeyDetail", {"KeyUsage": "ALL", "Limit": 1})
    except Exception as error:  # noqa: BLE001 - shown, and it sets the exit code
        return "failed, see below", error
    return f"answers, {counted(int(answer['TotalCount']), 'key')}", None
