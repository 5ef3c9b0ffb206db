"""Other keys for an envelope: from its header to the next one, without its body.

A wrapped DEK goes from one CMK to another inside the KMS (ReEncrypt) where both are symmetric CMKs of one
account and region, else it is unwrapped and wrapped here. What was made for one wrapped DEK is remembered, so
that a hundred thousand envelopes under it cost the calls of one.
"""

from __future__ import annotations

import hmac
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, NoReturn

from cachetools import LRUCache
from cryptography.exceptions import InvalidTag

from .buffers import BytesLike, byte_view
from .chunked import context_bytes, derive_checked
from .datakeys import CachePolicy, DataKeys
from .errors import AuthenticationError, KmsError, NoUsableKey
from .header import MAX_RECIPIENTS, Header, Recipient
from .keyset import (
    Key,
    KeySet,
    Observer,
    Opener,
    Rewrapper,
    Wrapper,
    check_keys,
    rewrap_observed,
    same_key,
    wrap_observed,
    wrappers_of,
)
from .kms.forks import ForkLock
from .parallel import in_parallel
from .suites import DEFAULT_SUITE, Suite

REMEMBERED = 10_000
"""Wrapped DEKs whose new recipients are kept in memory; they are no secret."""


class Change:
    """Which keys an envelope is to have: exactly ``keys``, or some more (``add``) and some less (``remove``).

    ``remove`` takes keys, key ids and addresses as ``inspect`` shows them. Raises ``ValueError`` for both
    kinds at once, or neither; ``TypeError`` for a key that cannot be a recipient.
    """

    def __init__(
        self,
        keys: Sequence[Key] | None = None,
        *,
        add: Sequence[Key] | None = None,
        remove: Iterable[Key | str] | None = None,
    ) -> None:
        if (keys is None) == (add is None and remove is None):
            raise ValueError("give either keys, or add and remove")
        self.replace = keys is not None
        self.targets = _targets(keys) if keys is not None else _targets(add) if add else []
        if isinstance(remove, str):
            raise TypeError("remove takes a list of keys, key ids or addresses, not one str")
        self.removed = tuple(remove or ())
        for key in self.removed:
            if not isinstance(key, str) and not hasattr(key, "opens"):
                raise TypeError(f"{type(key).__name__} is not a key, key id or address to remove")

    def plan(self, header: Header, *, refresh: bool = False) -> list[Recipient | Wrapper]:
        """The recipients that stay as they are, and the keys to wrap the DEK for, in the new order.

        With ``refresh`` a symmetric CMK among them is asked again, for its current version. Raises
        ``ValueError`` if no key would be left or more than 16.
        """
        planned: list[Recipient | Wrapper] = []
        if not self.replace:
            planned += [one for one in header.recipients if not any(_names(key, one) for key in self.removed)]
        for key in self.targets:
            named = next((one for one in header.recipients if _names(key, one)), None)
            again = refresh and isinstance(key, Rewrapper) and named is not None and named.alg is None
            if named is None or again:
                planned = [one for one in planned if one is not named]
                planned.append(key)
            elif named not in planned:
                planned.append(named)
        if not planned:
            raise ValueError("no key would be left: an envelope needs at least one recipient")
        if len(planned) > MAX_RECIPIENTS:
            raise ValueError(f"an envelope has at most {MAX_RECIPIENTS} recipients, not {len(planned)}")
        return planned

    def concerns(self, header: Header) -> bool:
        """Whether the header's keys differ from what they are to be. An alias may be looked up, once."""
        return tuple(self.plan(header)) != header.recipients


class _Known(NamedTuple):
    """What was made for one wrapped DEK; ``proof`` opens to it, ``None``: only the old header does."""

    recipients: tuple[Recipient, ...]
    proof: Header | None


class Rewrap:
    """Makes new headers. ``keyset`` opens the old ones.

    With ``verify`` each new recipient is unwrapped once and compared, and the result checked against the
    commitment of every body, before a new header is given out. Without it ReEncrypt alone is used where it
    can be, and no DEK ever reaches this process. Safe to share between threads. ``close`` wipes its DEKs.
    """

    def __init__(
        self,
        keyset: KeySet,
        change: Change,
        *,
        policy: CachePolicy | None = None,
        verify: bool = True,
        refresh: bool = False,
        observe: Observer = lambda *_: None,
    ) -> None:
        self._keyset = keyset
        self._change = change
        self._verify = verify
        self._refresh = refresh
        self._tell = observe
        self._lock = ForkLock()
        self._counts: Counter[str] = Counter()
        self._known: LRUCache[tuple[Suite, tuple[Recipient, ...], str | None], _Known] = LRUCache(REMEMBERED)
        self._reading = self._datakeys(keyset, policy)
        self._proving = self._datakeys(_provers(change.targets, keyset), policy)

    def concerns(self, header: Header) -> bool:
        """Whether the header's keys would change. With ``refresh`` only the KMS could tell, so yes."""
        return self._refresh or self._change.concerns(header)

    def recipients(self, header: Header, body: bytes, aad: BytesLike | None) -> tuple[Recipient, ...]:
        """The recipients of the new header; the same as the old ones if nothing changes.

        ``body``: its first 56 bytes. ``aad=None``: not known, so that instead of the body's commitment the
        DEK that the old header opens to is the proof. Raises ``NoUsableKey``, ``KmsError``,
        ``AuthenticationError`` (the body does not open with this DEK and aad), ``ValueError``.
        """
        plan = self._change.plan(header, refresh=self._refresh)
        if tuple(plan) == header.recipients:
            return header.recipients
        key = (header.suite, header.recipients, header.context_json)
        with self._lock:
            known = self._known.get(key)
        if known is None:
            known = self._make(header, plan, has_aad=aad is not None)
        if self._verify and aad is not None and known.recipients != header.recipients:
            self._check_commitment(header, known, body, aad)
        with self._lock:
            self._known[key] = known
        return known.recipients

    def calls(self) -> Counter[str]:
        """The KMS calls made so far, by action."""
        with self._lock:
            return self._counts.copy()

    def close(self) -> None:
        """Wipe every DEK."""
        self._reading.close()
        self._proving.close()

    def _make(self, header: Header, plan: Sequence[Recipient | Wrapper], *, has_aad: bool) -> _Known:
        keys = [key for key in plan if not isinstance(key, Recipient)]
        made = in_parallel([partial(self._move, key, header) for key in keys])
        left = [number for number, recipient in enumerate(made) if recipient is None]
        if left:
            with self._reading.for_reading(header) as lease:
                tasks = [
                    partial(wrap_observed, keys[number], lease.dek, header.context_json, self._observe)
                    for number in left
                ]
                for number, recipient in zip(left, in_parallel(tasks), strict=True):
                    made[number] = recipient
        new = iter(made)
        planned = [one if isinstance(one, Recipient) else next(new) for one in plan]
        recipients = tuple(one for one in planned if one is not None)
        if not self._verify or recipients == header.recipients:
            return _Known(recipients, None)
        openable = [one for key, one in zip(keys, made, strict=True) if one and isinstance(key, Opener)]
        if openable:
            return _Known(recipients, self._prove_new(header, openable, by_old=bool(left) or not has_aad))
        return _Known(recipients, None if keys else self._prove_one(header, recipients))

    def _move(self, key: Wrapper, header: Header) -> Recipient | None:
        """The recipient for ``key`` by ReEncrypt, ``None`` where that is not possible or not allowed."""
        if not isinstance(key, Rewrapper):
            return None
        sources = [one for one in header.recipients if key.rewraps(one)]
        for source in sorted(sources, key=lambda one: not _names(key, one)):
            try:
                if self._keyset.openers_of(source):
                    return rewrap_observed(key, source, header.context_json, self._observe)
            except KmsError as error:
                if error.retryable:
                    raise
        return None

    def _prove_new(self, header: Header, new: Sequence[Recipient], *, by_old: bool) -> Header:
        """A header of the first new recipient, once all of them proved to open to one DEK.

        ``by_old``: the DEK that the old header opens to; otherwise the body's commitment is still to tell.
        """
        first = _alone(header, new[0])
        with self._reading.for_reading(header) if by_old else self._proving.for_reading(first) as lease:
            for one in new if by_old else new[1:]:
                if not self._holds(_alone(header, one), lease.dek):
                    raise AuthenticationError(f"the DEK wrapped for {one} is not the one of the envelope")
        return first

    def _prove_one(self, header: Header, kept: Sequence[Recipient]) -> Header:
        """A header of one recipient that stays and opens. Raises ``NoUsableKey`` if none is seen to."""
        with self._reading.for_reading(header) as lease:
            reasons: list[tuple[str, str]] = []
            errors: list[KmsError] = []
            for one in kept:
                try:
                    if self._holds(_alone(header, one), lease.dek):
                        return _alone(header, one)
                    reasons.append((str(one), "opens to another DEK"))
                except NoUsableKey as error:
                    reasons += error.reasons
                    errors += error.errors
        raise NoUsableKey("no key that would be left is seen to open the envelope", reasons, errors)

    def _holds(self, header: Header, dek: bytes | bytearray) -> bool:
        with self._proving.for_reading(header) as lease:
            return hmac.compare_digest(lease.dek, dek)

    def _check_commitment(self, header: Header, known: _Known, body: bytes, aad: BytesLike) -> None:
        bound = context_bytes(header.context_json, byte_view(aad, "aad"))
        source, cache = (header, self._reading) if known.proof is None else (known.proof, self._proving)
        with cache.for_reading(source) as lease:
            try:
                derive_checked(header.suite, lease.dek, body, bound)
            except InvalidTag:
                raise AuthenticationError(
                    "not re-wrapped: the body does not open with this DEK and aad; give the right aad, "
                    "or aad=None if it is not known"
                ) from None

    def _datakeys(self, keyset: KeySet, policy: CachePolicy | None) -> DataKeys:
        lasting = replace(policy or CachePolicy(), refresh_ahead=None)
        return DataKeys(_Opening(keyset, self._observe), DEFAULT_SUITE, lasting)

    def _observe(self, action: str, key_id: str, error: Exception | None, seconds: float) -> None:
        with self._lock:
            self._counts[action] += 1
        self._tell(action, key_id, error, seconds)


class Rewraps:
    """The re-wraps of one client, one for each list of keys asked for, so that what they know is kept."""

    _KEPT = 8

    def __init__(self, keyset: KeySet, policy: CachePolicy) -> None:
        self._keyset = keyset
        self._policy = policy
        self._lock = ForkLock()
        self._made: OrderedDict[Hashable, Rewrap] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._closed = False

    def change(
        self,
        keys: Sequence[Key] | None,
        add: Sequence[Key] | None,
        remove: Iterable[Key | str] | None,
    ) -> Change:
        """The change that these arguments ask for; without any: to the client's own keys."""
        if keys is None and add is None and remove is None:
            keys = self._keyset.wrappers()
            if not keys:
                raise TypeError("this client has no key for envelopes, only to open them: give keys")
        return Change(keys, add=add, remove=remove)

    def get(
        self,
        keys: Sequence[Key] | None,
        add: Sequence[Key] | None,
        remove: Iterable[Key | str] | None,
        *,
        verify: bool,
        refresh: bool,
    ) -> Rewrap:
        """The re-wrap for these arguments. Raises ``ValueError`` once closed."""
        change = self.change(keys, add, remove)
        named = (change.replace, _identities(change.targets), _identities(change.removed), verify, refresh)
        with self._lock:
            if self._closed:
                raise ValueError("the client is closed")
            if named not in self._made:
                self._made[named] = Rewrap(
                    self._keyset,
                    change,
                    policy=self._policy,
                    verify=verify,
                    refresh=refresh,
                    observe=self._observe,
                )
            self._made.move_to_end(named)
            if len(self._made) > self._KEPT:
                self._made.popitem(last=False)[1].close()
            return self._made[named]

    def calls(self) -> Counter[str]:
        """The KMS calls made for re-wraps so far, by action."""
        with self._lock:
            return self._counts.copy()

    def _observe(self, action: str, key_id: str, error: Exception | None, seconds: float) -> None:
        with self._lock:
            self._counts[action] += 1

    def close(self) -> None:
        """Wipe every DEK."""
        with self._lock:
            self._closed = True
            while self._made:
                self._made.popitem()[1].close()


def _identities(keys: Iterable[Key | str]) -> tuple[Hashable, ...]:
    # By key id, which an alias is looked up for: its name changes with that. Local stores share a name.
    return tuple(
        (
            type(key),
            getattr(key, "key_id", str(key)),
            getattr(key, "fingerprint", None) or id(getattr(key, "kms", None)),
        )
        for key in keys
    )


class _Opening:
    """A key set that only opens, and tells one more observer of its calls."""

    def __init__(self, keyset: KeySet, also: Observer) -> None:
        self._keyset = keyset
        self._also = also

    def generate(self, *_: Any) -> NoReturn:
        raise TypeError("a re-wrap makes no DEK")

    def unwrap(self, header: Header, observe: Observer) -> tuple[bytearray, Recipient]:
        def both(action: str, key_id: str, error: Exception | None, seconds: float) -> None:
            observe(action, key_id, error, seconds)
            self._also(action, key_id, error, seconds)

        return self._keyset.unwrap(header, both)


def _targets(keys: Sequence[Key]) -> list[Wrapper]:
    check_keys(keys)
    for key in keys:
        if not isinstance(key, Wrapper):
            raise TypeError(f"{key} can open envelopes but not be a recipient: give kms.key(key_id)")
    return wrappers_of(keys)


def _provers(targets: Sequence[Wrapper], keyset: KeySet) -> KeySet:
    """The keys that can show that a new recipient opens: the new ones, and those of the old envelope."""
    keys: list[Key] = [key for key in targets if isinstance(key, Opener)]
    keys += [key for key in keyset.keys if not any(same_key(key, other) for other in keys)]
    return KeySet(keys, limit=len(keys))


def _names(key: Key | str, recipient: Recipient) -> bool:
    """Whether a key, a key id or an address is the one of ``recipient``."""
    if isinstance(key, str):
        return key in (recipient.key_id, str(recipient))
    if getattr(key, "alg", recipient.alg) != recipient.alg:
        return False
    opens = getattr(key, "opens", None)
    return opens is not None and bool(opens(recipient))


def _alone(header: Header, recipient: Recipient) -> Header:
    return Header(header.suite, (recipient,), header.context_json)
