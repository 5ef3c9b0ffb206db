"""What carries one API call to a KMS and back: the protocol that every transport follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class ServiceError(Exception):
    """One failed call, as a transport saw it; ``Kms`` turns it into a ``KmsError``.

    ``code`` is the service's error code, or the client's own for an answer that never came (see
    ``failures``). Never seen by users of this package.
    """

    def __init__(self, code: str, message: str, request_id: str | None = None) -> None:
        super().__init__(code, message, request_id)
        self.code = code
        self.message = message
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class Transport(Protocol):
    """One way to reach a KMS. Safe to share between threads, usable after ``fork``."""

    @property
    def name(self) -> str:
        """The kind of service, ``"tencent"`` or ``"local"``: what a recipient's ``kms`` says."""

    @property
    def region(self) -> str | None:
        """The region, ``None`` for a local KMS: what a recipient's ``region`` says."""

    def call(self, action: str, params: Mapping[str, object]) -> dict[str, Any]:
        """Send one request once and return the content of ``Response``. Raises ``ServiceError``."""

    def close(self) -> None:
        """Give up connections and files. Calling it twice is fine."""
