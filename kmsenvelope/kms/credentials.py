"""Credentials of Tencent Cloud: given, or found where its SDK looks for them."""

from __future__ import annotations

import configparser
import os
from typing import Any, Protocol

from .failures import NO_CREDENTIALS
from .transport import ServiceError

_HELP = (
    "no credentials found: pass secret_id and secret_key, or set TENCENTCLOUD_SECRET_ID and "
    "TENCENTCLOUD_SECRET_KEY (and TENCENTCLOUD_TOKEN for temporary ones), or write secret_id and secret_key "
    "under [default] in ~/.tencentcloud/credentials or /etc/tencentcloud/credentials, or give the machine a "
    "CAM role (CVM), or the pod one (TKE_REGION, TKE_PROVIDER_ID, TKE_WEB_IDENTITY_TOKEN_FILE, TKE_ROLE_ARN)"
)


class Credential(Protocol):
    """Any object that hands out current credentials, such as those of the SDK or a rotating one of yours."""

    def get_credential_info(self) -> tuple[str, str, str | None]:
        """Secret id, secret key, and the token of temporary credentials or ``None``, for one request."""


class FixedCredential:
    """Credentials that do not change. ``ValueError`` if one is empty or has spaces around it."""

    def __init__(self, secret_id: str, secret_key: str, token: str | None = None) -> None:
        for name, value in (("secret_id", secret_id), ("secret_key", secret_key)):
            if not isinstance(value, str) or not value or value.strip() != value:
                raise ValueError(f"{name} is empty or has spaces around it")
        self._info = (secret_id, secret_key, token or None)

    def get_credential_info(self) -> tuple[str, str, str | None]:
        """What was given."""
        return self._info


class CheckedCredential:
    """Turns what a credential object fails with, or hands out incomplete, into a ``ServiceError``."""

    def __init__(self, inner: Credential) -> None:
        self._inner = inner

    def get_credential_info(self) -> tuple[str, str, str | None]:
        """What the inner object hands out, once it is complete."""
        try:
            secret_id, secret_key, token = self._inner.get_credential_info()
        except (OSError, TypeError, ValueError, AttributeError) as error:
            raise ServiceError(
                NO_CREDENTIALS, f"the credential object failed: {type(error).__name__}"
            ) from None
        if not secret_id or not secret_key:
            raise ServiceError(NO_CREDENTIALS, "the credential object has no secret id and key at the moment")
        return secret_id, secret_key, token


def find_credential() -> Credential:
    """What the SDK's own chain finds: environment, file, CVM role, TKE role. Raises ``ServiceError``.

    The chain forgets ``TENCENTCLOUD_TOKEN``, so temporary credentials of the environment are taken here.
    """
    from tencentcloud.common.credential import DefaultCredentialProvider
    from tencentcloud.common.exception import TencentCloudSDKException

    names = ("TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY", "TENCENTCLOUD_TOKEN")
    secret_id, secret_key, token = (os.environ.get(name, "").strip() for name in names)
    if secret_id and secret_key:
        return FixedCredential(secret_id, secret_key, token)
    try:
        found: Any = DefaultCredentialProvider().get_credential()
    except (OSError, AttributeError, configparser.Error, TencentCloudSDKException):
        raise ServiceError(NO_CREDENTIALS, _HELP) from None
    credential: Credential = found
    return credential
