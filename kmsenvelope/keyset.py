"""The keys of one client: who can open what it writes, and which of them opens what it reads."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from typing import Any, Protocol, runtime_checkable

from .buffers import BytesLike
from .errors import AuthenticationError, EnvelopeError, KmsError, NoUsableKey, RecipientSkipped
from .header import MAX_RECIPIENTS, Header, Recipient
from .kms.alias import is_key_id
from .parallel import Race, in_parallel
from .secret import wipe
from .suites import Suite

log = logging.getLogger(__name__)

Observer = Callable[[str, str, Exception | None, float], None]
"""Told of each call to a key: action, key id, error or ``None``, seconds."""

Reason = str | KmsError | AuthenticationError
"""Why a recipient could not be unwrapped. Errors are kept without their traceback, whose frames hold more."""

PATIENCE = 1.0
"""Seconds that a key gets to open an envelope before the next one is asked as well."""


@runtime_checkable
class Wrapper(Protocol):
    """A key that can wrap a DEK: a CMK or a public key."""

    def wrap(self, dek: BytesLike, context_json: str | None, /) -> Recipient:
        """``dek`` wrapped for this key."""


@runtime_checkable
class Generator(Wrapper, Protocol):
    """A key whose KMS makes DEKs."""

    def generate(self, suite: Suite, context_json: str | None, /) -> tuple[bytearray, Recipient]:
        """A new DEK for ``suite``, and the same wrapped for this key."""


@runtime_checkable
class Opener(Protocol):
    """A key that can unwrap a DEK; or a whole ``Kms``, which does so with any of its keys."""

    def opens(self, recipient: Recipient, /) -> bool:
        """Whether ``recipient`` names this key. An alias is looked up once, which may be a ``KmsError``."""

    def unwrap(self, recipient: Recipient, context_json: str | None, /) -> bytearray:
        """The DEK of ``recipient``."""


@runtime_checkable
class Rewrapper(Wrapper, Protocol):
    """A key whose KMS moves a wrapped DEK from one CMK to another without giving it out."""

    def rewraps(self, recipient: Recipient, /) -> bool:
        """Whether ``rewrap`` takes ``recipient``. No call is made."""

    def rewrap(self, recipient: Recipient, context_json: str | None, /) -> Recipient:
        """The DEK of ``recipient``, wrapped for this key."""


Key = Wrapper | Opener


class KeySet:
    """One or more keys in the order of preference.

    Every key that can wrap becomes a recipient. A public key and the CMK or private key that it belongs to
    are one recipient: the first wraps, the second opens. With ``require_all=False`` a recipient whose KMS
    fails is left out, with a ``RecipientSkipped`` warning, a line in the log and a call of ``on_skip``; one
    must be left. Raises ``TypeError`` for an object that is no key, ``ValueError`` for no key, more than 16
    or one twice.
    """

    def __init__(
        self,
        keys: Sequence[Key],
        *,
        require_all: bool = True,
        on_skip: Callable[[str, KmsError], None] | None = None,
        patience: float = PATIENCE,
        limit: int = MAX_RECIPIENTS,
    ) -> None:
        check_keys(keys, limit)
        self.keys = tuple(keys)
        self._require_all = require_all
        self._on_skip = on_skip
        self._patience = patience
        self._openers = [key for key in self.keys if isinstance(key, Opener)]

    def generate(
        self, suite: Suite, context_json: str | None, observe: Observer
    ) -> tuple[bytearray, tuple[Recipient, ...]]:
        """A new DEK, wrapped for every key that can wrap.

        The first key whose KMS makes DEKs makes it, and the others wrap it at the same time; without such a
        key it is made here. Raises ``KmsError`` of a key that failed, ``TypeError`` if every key only opens.
        """
        keys = self.wrappers()
        if not keys:
            names = ", ".join(map(str, self.keys))
            raise TypeError(
                f"{names} can open envelopes but not encrypt: give kms.key(key_id) or a PublicKey"
            )
        made: dict[int, Recipient | KmsError] = {}
        dek = self._make_dek(keys, suite, context_json, observe, made)
        try:
            left = [(n, key) for n, key in enumerate(keys) if n not in made]
            made.update(_wrap_all(left, dek, context_json, observe))
            return dek, self._taken(keys, [made[n] for n in range(len(keys))])
        except BaseException:
            wipe(dek)
            raise

    def unwrap(self, header: Header, observe: Observer) -> tuple[bytearray, Recipient]:
        """The DEK of an envelope and the recipient that gave it, by the first key that one of them names.

        When a key fails, or gives no answer for ``patience`` seconds, the next one is asked too. Raises
        ``NoUsableKey`` with the reason for each recipient.
        """
        reasons: list[list[Reason]] = [[] for _ in header.recipients]
        attempts = [
            partial(_unwrap, key, header, number, reasons, observe)
            for key, number in self._candidates(header.recipients, reasons)
        ]
        opened = Race(attempts, self._patience, lambda late: wipe(late[0]) if late else None).run()
        if opened is not None:
            return opened
        failed = [why for each in reasons for why in each if isinstance(why, KmsError)]
        raise NoUsableKey(self._refusal(), self._reasons_by_name(header.recipients, reasons), failed)

    def openers_of(self, recipient: Recipient) -> list[Opener]:
        """The keys that open ``recipient``, in their order. Raises ``KmsError`` for an alias not found."""
        return [key for key in self._openers if key.opens(recipient)]

    def wrappers(self) -> list[Wrapper]:
        """The keys that become recipients, see ``wrappers_of``."""
        return wrappers_of(self.keys)

    def _make_dek(
        self,
        keys: Sequence[Wrapper],
        suite: Suite,
        context_json: str | None,
        observe: Observer,
        made: dict[int, Recipient | KmsError],
    ) -> bytearray:
        """The DEK; ``made`` gets the recipient of the key that made it, and the error of each that failed."""
        for number, key in enumerate(keys):
            if not isinstance(key, Generator):
                continue
            try:
                with _Observed(observe, "GenerateDataKey", key):
                    dek, made[number] = key.generate(suite, context_json)
            except KmsError as error:
                if self._require_all or len(made) + 1 == len(keys):
                    raise
                made[number] = error
            else:
                return dek
        return bytearray(os.urandom(suite.key_size))

    def _taken(self, keys: Sequence[Wrapper], made: Sequence[Recipient | KmsError]) -> tuple[Recipient, ...]:
        """The recipients, once every one that is missing was told of or raised."""
        recipients = tuple(recipient for recipient in made if isinstance(recipient, Recipient))
        errors = [(n, error) for n, error in enumerate(made) if isinstance(error, KmsError)]
        if errors and (self._require_all or not recipients):
            raise errors[0][1]
        names = [str(recipient) for recipient in recipients]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"the same key is given twice, by its alias: {twice}")
        for number, error in errors:
            self._skip(str(keys[number]), error)
        return recipients

    def _skip(self, name: str, error: KmsError) -> None:
        log.warning("new envelopes cannot be opened by %s: %s", name, error)
        if self._on_skip is not None:
            self._on_skip(name, error)
        warnings.warn(RecipientSkipped(f"new envelopes cannot be opened by {name}: {error}"), stacklevel=2)

    def _candidates(
        self, recipients: Sequence[Recipient], reasons: list[list[Reason]]
    ) -> list[tuple[Opener, int]]:
        """Which key may open which recipient, in the order to try them: each key names a recipient once."""
        found: list[tuple[Opener, int]] = []
        for key in self._openers:
            names: set[str] = set()
            for number, recipient in enumerate(recipients):
                if any(getattr(other, "kms", None) is key for other, n in found if n == number):
                    continue  # the CMK itself was given, and a whole Kms would only ask it again
                try:
                    if not key.opens(recipient):
                        continue
                except KmsError as error:
                    reasons[number].append(error.with_traceback(None))
                    continue
                if str(recipient) in names:
                    reasons[number].append("the header names this key twice, and it is asked once")
                    continue
                names.add(str(recipient))
                found.append((key, number))
        return found

    def _refusal(self) -> str:
        if self._openers:
            return "no key of this client opens the envelope"
        return "a client of public keys can only encrypt: give the CMK or the private key to open"

    def _reasons_by_name(
        self, recipients: Sequence[Recipient], reasons: Sequence[Sequence[Reason]]
    ) -> tuple[tuple[str, str], ...]:
        only_public = {str(key) for key in self.keys if not isinstance(key, Opener)}
        return tuple(
            (
                str(recipient),
                ", then ".join(map(str, why))
                or (
                    "only its public key was given"
                    if str(recipient) in only_public
                    else "no key of this client"
                ),
            )
            for recipient, why in zip(recipients, reasons, strict=True)
        )


def check_keys(keys: Sequence[Any], limit: int = MAX_RECIPIENTS) -> None:
    """Raise ``TypeError`` or ``ValueError`` unless these are the keys of an envelope, see ``KeySet``."""
    if isinstance(keys, str | Wrapper | Opener):
        raise TypeError(f"keys is a list of keys, not one {type(keys).__name__}: write [key]")
    if not keys:
        raise ValueError("give at least one key, e.g. kms.key(key_id)")
    for key in keys:
        if not isinstance(key, Wrapper | Opener):
            raise TypeError(f"{type(key).__name__} is not a key: {_what_to_give(key)}")
    if len(keys) > limit:
        raise ValueError(f"an envelope has at most {limit} recipients, not {len(keys)}")
    for one, other in combinations(keys, 2):
        if same_key(one, other):
            raise ValueError(f"the same key is given twice: {one}")


def _what_to_give(wrong: object) -> str:
    if isinstance(wrong, str):
        return "give kms.key(key_id) or a PublicKey; connect() takes key addresses"
    if isinstance(wrong, list | tuple | set | frozenset):
        return "give the keys themselves, as in EnvelopeClient(*keys)"
    return "give kms.key(key_id) or a PublicKey"


def same_key(one: Any, other: Any) -> bool:
    """Whether two keys are known to be one. No call is made, so that an alias is not looked up."""
    if one is other:
        return True
    if type(one) is not type(other) or str(one) != str(other):
        return False
    # An alias means different keys in different accounts; a key id never does.
    return bool(getattr(one, "kms", one) == getattr(other, "kms", other) or is_key_id(str(one)[-36:]))


def wrappers_of(keys: Sequence[Key]) -> list[Wrapper]:
    """The keys that become recipients: of a public key and the key that opens for it only the first.

    An alias of a KMS of which there is a public key is looked up, once.
    """
    public = [key for key in keys if isinstance(key, Wrapper) and not isinstance(key, Opener)]
    return [key for key in keys if isinstance(key, Wrapper) and not _opens_for_one(key, public)]


def _opens_for_one(key: object, public: Sequence[Any]) -> bool:
    if not isinstance(key, Opener):
        return False
    try:
        return any(
            key.opens(Recipient(str(each.kms), each.key_id, "-", each.region, each.alg)) for each in public
        )
    except KmsError:  # its use will tell
        return False


def _wrap_all(
    keys: Sequence[tuple[int, Wrapper]], dek: bytearray, context_json: str | None, observe: Observer
) -> dict[int, Recipient | KmsError]:
    """``dek`` wrapped for each key, those that call a KMS all at once."""

    def wrapped(key: Wrapper) -> Recipient | KmsError:
        try:
            return wrap_observed(key, dek, context_json, observe)
        except KmsError as error:
            return error

    remote = [(n, partial(wrapped, key)) for n, key in keys if isinstance(key, Generator)]
    made = {n: wrapped(key) for n, key in keys if not isinstance(key, Generator)}
    answers = in_parallel([task for _, task in remote])
    made.update(zip((n for n, _ in remote), answers, strict=True))
    return made


def wrap_observed(key: Wrapper, dek: BytesLike, context_json: str | None, observe: Observer) -> Recipient:
    """``key.wrap``; the observer is told."""
    with _Observed(observe, "Encrypt", key):
        return key.wrap(dek, context_json)


def rewrap_observed(
    key: Rewrapper, recipient: Recipient, context_json: str | None, observe: Observer
) -> Recipient:
    """``key.rewrap``; the observer is told."""
    with _Observed(observe, "ReEncrypt", key):
        return key.rewrap(recipient, context_json)


def _unwrap(
    key: Opener, header: Header, number: int, reasons: list[list[Reason]], observe: Observer
) -> tuple[bytearray, Recipient] | None:
    """The DEK by one key, or ``None`` and a reason why not."""
    recipient = header.recipients[number]
    try:
        with _Observed(observe, _unwrap_action(recipient), recipient, by=key):
            dek = key.unwrap(recipient, header.context_json)
    except (KmsError, AuthenticationError) as error:
        reasons[number].append(error.with_traceback(None))
        return None
    if len(dek) == header.suite.key_size:
        return dek, recipient
    reasons[number].append(f"unwrapped to {len(dek)} bytes, not the {header.suite.key_size} of a DEK")
    wipe(dek)
    return None


class _Observed:
    """Tells the observer of the call in the ``with`` block, if it is a KMS that ``by``, or ``key``, calls."""

    def __init__(self, observe: Observer, action: str, key: object, *, by: object | None = None) -> None:
        self._observe, self._action, self._key = observe, action, key
        self._is_call = hasattr(by or key, "call") or isinstance(by or key, Generator)

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        seconds = time.perf_counter() - self._start
        if self._is_call and (error is None or isinstance(error, Exception)):
            self._observe(self._action, _key_id(self._key), error, seconds)


def _key_id(key: object) -> str:
    try:
        return str(getattr(key, "key_id", key))
    except EnvelopeError:  # an alias that could not be looked up
        return str(key)


def _unwrap_action(recipient: Recipient) -> str:
    actions = {"RSAES_OAEP_SHA_256": "AsymmetricRsaDecrypt", "SM2_C1C3C2_ASN1": "AsymmetricSm2Decrypt"}
    return actions.get(recipient.alg or "", "Decrypt")
