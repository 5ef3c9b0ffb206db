"""Tencent Cloud KMS over its own SDK (``tencentcloud-sdk-python-kms``, or the full SDK)."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .credentials import CheckedCredential, Credential, FixedCredential, find_credential
from .forks import ForkLock
from .retry import Retry
from .service import Kms
from .transport import ServiceError

_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+", re.ASCII)
_LOOPBACK = re.compile(r"(127(\.\d+){3}|localhost|\[::1\])(:\d+)?", re.ASCII)
_SERVER_ERROR = "the server, or a proxy before it, answered with an HTTP status other than 200"
_NOT_THE_API = "the answer is not one of the KMS API: check the endpoint"


class SdkTransport:
    """One SDK client in each process, made at its first call and so after a ``fork``."""

    name = "tencent"

    def __init__(
        self,
        region: str,
        credential: Credential | None,
        endpoint: str | None,
        timeouts: tuple[float, float],
        pool_size: int,
    ) -> None:
        self.region = region
        self._credential = credential
        self._endpoint = None if endpoint is None else _split_endpoint(endpoint)
        self._timeouts = timeouts
        self._pool_size = pool_size
        self._lock = ForkLock()
        self._made: tuple[int, Any] | None = None

    def call(self, action: str, params: Mapping[str, object]) -> dict[str, Any]:
        """Send one signed request. Raises ``ServiceError``; ``TypeError`` for what JSON cannot say.

        The client's generic call is used, not its models: those take a misspelt member without a word. No
        headers are passed, because the SDK writes into the dict that it is given.
        """
        try:
            json.dumps(params)
        except TypeError as error:
            raise TypeError(f"{action}: {error}; bytes are given as Base64 text") from None
        answer, failure = self._attempt(self._client(), action, dict(params))
        if failure is not None:
            raise failure  # here, where no other exception holds on to requests and answers
        return _content(answer)

    def is_readable_on_the_way(self) -> bool:
        """Whether requests leave this machine without TLS."""
        protocol, host = self._endpoint or ("https", "")
        return protocol == "http" and not _LOOPBACK.fullmatch(host)

    def _attempt(
        self, client: Any, action: str, params: dict[str, object]
    ) -> tuple[Any, ServiceError | None]:
        from requests.exceptions import RequestException
        from tencentcloud.common.exception import TencentCloudSDKException

        try:
            return client.call_json(action, params), None
        except TencentCloudSDKException as error:
            return None, _service_error(error)
        except RequestException as error:
            code = "ConnectionError" if "Timeout" in repr(error) else "ChunkedEncodingError"
            return None, ServiceError(code, "the answer broke off on the way")
        except ValueError:
            return None, ServiceError("JSONDecodeError", "the answer is not JSON, or not all of it")
        except (KeyError, TypeError, AttributeError):
            return None, ServiceError("KeyError", _NOT_THE_API)

    def close(self) -> None:
        """Close this process's connections; another call opens new ones."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None and made[0] == os.getpid():
            made[1].request.conn._session.close()

    def _client(self) -> Any:
        with self._lock:
            if self._made is None or self._made[0] != os.getpid():
                self._made = (os.getpid(), self._new_client())
            return self._made[1]

    def _new_client(self) -> Any:
        from requests.adapters import HTTPAdapter
        from tencentcloud.common.profile.client_profile import ClientProfile
        from tencentcloud.common.profile.http_profile import HttpProfile
        from tencentcloud.kms.v20190118.kms_client import KmsClient

        from . import sdklog

        sdklog.install()
        protocol, host = self._endpoint or ("https", None)
        http = HttpProfile(protocol=protocol, endpoint=host, reqTimeout=self._timeouts)
        profile = ClientProfile(httpProfile=http, language="en-US")
        credential = CheckedCredential(self._credential or find_credential())
        client = KmsClient(credential, self.region, profile)
        session = client.request.conn._session
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=self._pool_size))
        if host is not None and _LOOPBACK.fullmatch(host):  # the emulator is behind no proxy
            session.trust_env = False
            client.request.conn.proxy = None
        return client

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_made")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = ForkLock()
        self._made = None


class TencentKms(Kms):
    """Tencent Cloud KMS in one region, such as ``TencentKms("ap-guangzhou")``.

    Credentials: ``secret_id`` and ``secret_key`` (with ``token`` if they are temporary), or ``credential``,
    any object with ``get_credential_info()``; without them the SDK's chain looks in the environment, in
    ``~/.tencentcloud/credentials`` and for the role of the machine or pod, at the first call.

    ``endpoint`` is a host, such as ``kms.internal.tencentcloudapi.com`` inside the cloud, or
    ``http://127.0.0.1:8440`` for the emulator; plain ``http`` to another machine is warned of. A request
    gives up after ``connect_timeout`` seconds without a connection or ``read_timeout`` seconds without data;
    ``retry`` says how it is repeated. Up to ``pool_size`` connections are kept open.

    With ``protect_in_transit`` data keys are delivered enciphered to an RSA-2048 key of this process, so that
    no TLS proxy or log between holds one; it does not cover ``Encrypt`` or small secrets.

    Errors: ``ValueError`` and ``TypeError`` here for wrong arguments; from a call ``KmsAccessDenied`` (also
    for no credentials at all), ``KmsThrottled``, ``KmsUnavailable``, ``KeyUnavailable`` or ``KmsError``.
    """

    def __init__(
        self,
        region: str,
        *,
        secret_id: str | None = None,
        secret_key: str | None = None,
        token: str | None = None,
        credential: Credential | None = None,
        endpoint: str | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 15.0,
        retry: Retry | None = None,
        pool_size: int = 32,
        protect_in_transit: bool = False,
    ) -> None:
        if not isinstance(region, str) or not _REGION.fullmatch(region):
            raise ValueError("region is missing or malformed: give one such as 'ap-guangzhou'")
        if connect_timeout <= 0 or read_timeout <= 0 or pool_size < 1:
            raise ValueError("timeouts must be above 0 seconds and pool_size at least 1")
        transport = SdkTransport(
            region,
            _given_credential(secret_id, secret_key, token, credential),
            endpoint,
            (connect_timeout, read_timeout),
            pool_size,
        )
        if transport.is_readable_on_the_way():
            warnings.warn(
                f"{endpoint} is plain HTTP to another machine: data keys and small secrets travel readably. "
                "Use https://",
                stacklevel=2,
            )
        super().__init__(transport, retry=retry, protect_in_transit=protect_in_transit)


def _given_credential(
    secret_id: str | None, secret_key: str | None, token: str | None, credential: Credential | None
) -> Credential | None:
    if credential is not None:
        if secret_id or secret_key or token:
            raise ValueError("give either credential or secret_id and secret_key, not both")
        if not callable(getattr(credential, "get_credential_info", None)):
            raise TypeError("credential must have a method get_credential_info()")
        return credential
    if secret_id is None and secret_key is None:
        if token is not None:
            raise ValueError("token needs secret_id and secret_key")
        return None
    if secret_id is None or secret_key is None:
        raise ValueError("secret_id and secret_key belong together: give both")
    return FixedCredential(secret_id, secret_key, token)


def _split_endpoint(endpoint: str) -> tuple[str, str]:
    """Protocol and host with port. The SDK signs a clean host only if it gets the two apart."""
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.username is not None
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
    ):
        raise ValueError("endpoint is a host with an optional http:// or https:// before and :port after it")
    return parts.scheme, parts.netloc


def _service_error(error: Any) -> ServiceError:
    code, message = str(error.code), error.message
    if code == "ServerNetworkError":  # its message is the whole body, of whatever answered
        message = _SERVER_ERROR
    if code == "ClientNetworkError":
        message = f"no answer: {message}"
        if "WRONG_VERSION_NUMBER" in message:
            message += "; the endpoint does not speak TLS: write http:// before that of an emulator"
    return ServiceError(code, str(message), error.requestId)


def _content(answer: Any) -> dict[str, Any]:
    """The content of ``Response``. The SDK overlooks an error unless Content-Type is what it expects."""
    content = answer.get("Response") if isinstance(answer, dict) else None
    if not isinstance(content, dict):
        raise ServiceError("KeyError", _NOT_THE_API)
    error = content.get("Error")
    if error is None:
        return content
    if not isinstance(error, dict) or "Code" not in error:
        raise ServiceError("KeyError", "the answer is an error without a code")
    raise ServiceError(str(error["Code"]), str(error.get("Message", "")), content.get("RequestId"))
