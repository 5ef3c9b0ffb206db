"""Every error that this package defines.

    EnvelopeError
    ├── FormatError             not an envelope, a version or suite unknown here, a damaged header
    ├── AuthenticationError     wrong DEK, wrong aad or altered data: one opaque message
    │   └── TruncatedError      the data provably ends before the message does
    ├── ContextMismatch         the caller's encryption context is not the one in the header
    ├── NoUsableKey             no recipient of the envelope could be unwrapped; says why, for each
    └── KmsError                the KMS refused or failed (code, action, request_id, retryable)
        ├── KmsThrottled        the request limit was exceeded for longer than the deadline
        ├── KmsUnavailable      no answer, or half of one
        ├── KmsAccessDenied     credentials missing, wrong, expired or without permission
        └── KeyUnavailable      the CMK is disabled, pending deletion or import, archived or not found

``RecipientSkipped`` is a warning. A caller's mistake is a ``TypeError`` or ``ValueError``; a file's is an
``OSError``. No message holds a key or plaintext.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class EnvelopeError(Exception):
    """Base of every error defined by this package; never raised itself."""


class FormatError(EnvelopeError):
    """The input is not an envelope, or one whose header this version cannot read."""


class AuthenticationError(EnvelopeError):
    """The data was not sealed under this DEK, encryption context and aad, or was altered since."""

    def __init__(
        self, message: str = "not authentic: wrong DEK, wrong aad or context, or altered data"
    ) -> None:
        super().__init__(message)


class TruncatedError(AuthenticationError):
    """The data ends before the message does."""

    def __init__(self, message: str = "truncated: the data ends before the message does") -> None:
        super().__init__(message)


class ContextMismatch(EnvelopeError):
    """The encryption context given by the caller differs from the one in the header."""


class NoUsableKey(EnvelopeError):
    """No recipient of the envelope could be unwrapped with the keys of this client.

    ``reasons`` has one ``(recipient, why)`` pair of strings for each recipient, in header order, and
    ``errors`` the ``KmsError`` of each call that failed. ``retryable``: one of them may succeed later.
    """

    def __init__(
        self, message: str, reasons: Sequence[tuple[str, str]] = (), errors: Sequence[KmsError] = ()
    ) -> None:
        super().__init__(message, tuple(reasons), tuple(errors))
        self.reasons = tuple(reasons)
        self.errors = tuple(errors)

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later: a KMS was throttled or did not answer."""
        return any(error.retryable for error in self.errors)

    def __str__(self) -> str:
        lines = [str(self.args[0]), *(f"{recipient}: {why}" for recipient, why in self.reasons)]
        return "; ".join(lines)


class KmsError(EnvelopeError):
    """The KMS refused an action or failed to answer.

    ``code`` is the service's error code (or the client's own, for an answer that never came), ``action`` the
    API action, ``request_id`` what support asks for, ``retryable`` whether the same call may succeed later.
    """

    def __init__(
        self, message: str, *, code: str, action: str, request_id: str | None = None, retryable: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.action = action
        self.request_id = request_id
        self.retryable = retryable

    def __str__(self) -> str:
        tail = f", request id {self.request_id}" if self.request_id else ""
        return f"{self.action}: {self.args[0]} [{self.code}{tail}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_kms_error, (type(self), self.args[0], self.__dict__.copy()))


def _rebuild_kms_error(cls: type[KmsError], message: str, state: dict[str, Any]) -> KmsError:
    return cls(message, **state)


class KmsThrottled(KmsError):
    """The request limit was exceeded, and still was when the deadline passed."""


class KmsUnavailable(KmsError):
    """The KMS could not be reached, or its answer was incomplete."""


class KmsAccessDenied(KmsError):
    """Credentials are missing, wrong, expired or lack the permission."""


class KeyUnavailable(KmsError):
    """The CMK cannot be used: disabled, pending deletion or import, archived, or not found."""


class RecipientSkipped(UserWarning):
    """New envelopes lack a recipient, because its KMS failed and the client has ``require_all=False``.

    Every envelope under the DEK made then lacks it; ``rewrap_file`` with the client's keys adds it later.
    """
