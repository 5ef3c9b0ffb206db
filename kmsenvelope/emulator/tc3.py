"""TC3-HMAC-SHA256: checks the signature of a request. Source: Tencent Cloud API 3.0, "Signature v3"."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from .errors import EngineError

ALGORITHM = "TC3-HMAC-SHA256"
SERVICE = "kms"
MAX_SKEW = 300
"""Seconds that the timestamp of a request may differ from the server's time."""

_AUTHORIZATION = re.compile(
    rf"{ALGORITHM}\s+Credential=(?P<id>[^/\s]+)/(?P<date>\d{{4}}-\d\d-\d\d)/(?P<service>[a-z0-9]+)/tc3_request,\s*"
    r"SignedHeaders=(?P<headers>[a-z0-9;-]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
_UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True)
class HttpRequest:
    """What of an HTTP request is signed. Header names in lower case, values as received."""

    method: str
    query: str
    headers: Mapping[str, str]
    body: bytes


def verify(request: HttpRequest, secret_key_of: Callable[[str], str | None], now: float) -> str:
    """The secret id that signed the request.

    Raises ``EngineError``, in this order: InvalidAuthorization, SecretIdNotFound, SignatureExpire,
    SignatureFailure (all below AuthFailure).
    """
    fields = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if fields is None or fields["service"] != SERVICE:
        message = f"the Authorization header is missing or not of the form of {ALGORITHM} for {SERVICE}"
        raise EngineError("AuthFailure.InvalidAuthorization", message)
    signed = fields["headers"].split(";")
    if not {"content-type", "host"} <= set(signed) <= set(request.headers):
        message = "SignedHeaders must name content-type, host, and only headers that are sent"
        raise EngineError("AuthFailure.InvalidAuthorization", message)
    secret_key = secret_key_of(fields["id"])
    if secret_key is None:
        raise EngineError("AuthFailure.SecretIdNotFound", "the secret id does not exist")
    timestamp = request.headers.get("x-tc-timestamp", "")
    if not re.fullmatch(r"[0-9]{1,11}", timestamp) or abs(now - int(timestamp)) > MAX_SKEW:
        message = f"the timestamp differs from the server's time by more than {MAX_SKEW} seconds"
        raise EngineError("AuthFailure.SignatureExpire", message)
    date = datetime.fromtimestamp(int(timestamp), UTC).date().isoformat()
    candidates = (
        sign(secret_key, date, timestamp, canonical_request(request, signed, lower=lower))
        for lower in (False, True)
    )
    matches = [hmac.compare_digest(each, fields["signature"]) for each in candidates]
    if not any(matches):
        raise EngineError("AuthFailure.SignatureFailure", "the signature is not that of this request")
    return fields["id"]


def canonical_request(request: HttpRequest, signed: list[str], *, lower: bool) -> str:
    """The text whose digest is signed.

    The documentation puts header values in lower case; the SDK signs them as it sends them. Both pass.
    """
    if request.headers.get("x-tc-content-sha256") == _UNSIGNED:
        payload = _UNSIGNED.encode()
    else:
        payload = b"" if request.method == "GET" else request.body
    values = {name: request.headers[name].strip() for name in signed}
    headers = "".join(f"{name}:{value.lower() if lower else value}\n" for name, value in values.items())
    digest = hashlib.sha256(payload).hexdigest()
    return "\n".join((request.method, "/", request.query, headers, ";".join(signed), digest))


def sign(secret_key: str, date: str, timestamp: str, canonical: str) -> str:
    """The signature, in lower-case hex, of a canonical request."""
    scope = f"{date}/{SERVICE}/tc3_request"
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    text = "\n".join((ALGORITHM, timestamp, scope, digest))
    key = ("TC3" + secret_key).encode()
    for part in (date, SERVICE, "tc3_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()
