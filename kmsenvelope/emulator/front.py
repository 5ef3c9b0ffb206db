"""The API's protocol above HTTP: who asks for what, checked in the documented order, and the JSON answer."""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from . import errors as e
from .accounts import Accounts
from .actions import ACTIONS, UUID
from .engine import Engine
from .errors import EngineError
from .faults import Fault
from .journal import CallRecord, Journal
from .ratelimit import RateLimits
from .tc3 import HttpRequest, verify

VERSION = "2019-01-18"
_MAX_BODY, _MAX_QUERY = 10 * 2**20, 32 * 2**10
_REGION = re.compile(r"[a-z]{2,}-[a-z]+(-[a-z0-9]+)*")
_LIST_ITEM = re.compile(r"(.+?)\.([0-9]{1,3})(?:\.(.+))?")


@dataclass
class _Progress:
    """How far a call got; what is known goes to the journal."""

    who: str | None = None
    region: str | None = None
    action: str | None = None
    key_id: str | None = None


class Front:
    """Answers signed requests out of engines, one for each region."""

    def __init__(
        self,
        engine: Engine,
        accounts: Accounts,
        journal: Journal,
        *,
        rate_limits: RateLimits | None = None,
        signing_clock: Callable[[], float] = time.time,
    ) -> None:
        self._engines = {engine.region: engine}
        self._engine = engine
        self._accounts = accounts
        self._journal = journal
        self._rate_limits = rate_limits
        self._signing_clock = signing_clock
        self._lock = threading.Lock()

    def answer(self, request: HttpRequest, fault: Fault | None = None) -> dict[str, Any]:
        """The content of the answer's body: ``Response`` with the result or ``Error``, and ``RequestId``.

        A fault that stands for the service's own refusal strikes after the request was authenticated.
        """
        request_id = str(uuid.uuid4())
        progress = _Progress()
        try:
            content = self._perform(request, progress, fault)
            progress.key_id = content.get("KeyId") or progress.key_id
            outcome = "ok"
        except EngineError as error:
            content = {"Error": {"Code": error.code, "Message": error.message}}
            progress.key_id = error.key_id or progress.key_id
            outcome = error.code
        self._journal.add(CallRecord(self._engine.clock(), request_id, **vars(progress), outcome=outcome))
        return {"Response": {**content, "RequestId": request_id}}

    def record_lost(self, request: HttpRequest, fault: Fault) -> None:
        """Note a call that a fault ended before it was looked at."""
        action = request.headers.get("x-tc-action")
        record = CallRecord(self._engine.clock(), str(uuid.uuid4()), None, None, action, None, fault.kind)
        self._journal.add(record)

    def _perform(self, request: HttpRequest, progress: _Progress, fault: Fault | None) -> dict[str, Any]:
        headers = request.headers
        who = verify(request, self._accounts.secret_key_of, self._signing_clock())
        progress.who = who
        self._accounts.check_token(who, headers.get("x-tc-token"))
        progress.action = action = _required(headers, "X-TC-Action")
        if action not in ACTIONS:
            raise EngineError(e.INVALID_ACTION, f"there is no action {action!r}")
        if _required(headers, "X-TC-Version") != VERSION:
            raise EngineError("NoSuchVersion", f"the version of this API is {VERSION}")
        progress.region = region = _required(headers, "X-TC-Region")
        engine = self._engine_of(region)
        if fault is not None:
            raise _refusal(fault)
        if self._rate_limits is not None:
            self._rate_limits.take(who, region, action)
        params = _params(request)
        progress.key_id = _key_ids(params)
        return engine.call(action, params)

    def _engine_of(self, region: str) -> Engine:
        with self._lock:
            if region not in self._engines:
                if not _REGION.fullmatch(region):
                    raise EngineError("UnsupportedRegion", f"there is no region {region!r}")
                self._engines[region] = self._engine.in_region(region)
            return self._engines[region]


def _key_ids(params: Mapping[str, Any]) -> str | None:
    """The ids of the CMKs that a request names. Nothing else may get into the journal by mistake."""
    several = params.get("KeyIds")
    named = [params.get("KeyId"), *(several if isinstance(several, list) else [])]
    ids = [each for each in named if isinstance(each, str) and re.fullmatch(UUID, each)]
    return ",".join(ids) or None


def _required(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name.lower())
    if not value:
        raise EngineError(e.MISSING_PARAMETER, f"the header {name} is missing")
    return value


def _refusal(fault: Fault) -> EngineError:
    if fault.kind == "throttle":
        return EngineError("RequestLimitExceeded", "the rate `1` is over the limit of `0` calls per second")
    if fault.kind == "expired_credentials":
        return EngineError("AuthFailure.TokenFailure", "the temporary credential has expired")
    return EngineError(fault.code, fault.message)


def _params(request: HttpRequest) -> dict[str, Any]:
    if request.method == "GET":
        if len(request.query) > _MAX_QUERY:
            raise EngineError("RequestSizeLimitExceeded", f"the query is over {_MAX_QUERY} bytes")
        return _unflatten(parse_qsl(request.query, keep_blank_values=True))
    if len(request.body) > _MAX_BODY:
        raise EngineError("RequestSizeLimitExceeded", f"the body is over {_MAX_BODY} bytes")
    try:
        params = json.loads(request.body)
    except (ValueError, RecursionError):
        params = None
    if not isinstance(params, dict):
        raise EngineError(e.INVALID_PARAMETER, "the body is not a JSON object")
    return params


def _unflatten(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """``KeyIds.0=a`` and ``Tags.0.TagKey=b`` as a list and a list of objects."""
    params: dict[str, Any] = {}
    for name, value in pairs:
        item = _LIST_ITEM.fullmatch(name)
        if item is None:
            params[name] = value
            continue
        items = params.setdefault(item[1], {})
        if item[3] is None:
            items[int(item[2])] = value
        else:
            items.setdefault(int(item[2]), []).append((item[3], value))
    for name, value in params.items():
        if isinstance(value, dict):
            ordered = [value[index] for index in sorted(value)]
            params[name] = [_unflatten(each) if isinstance(each, list) else each for each in ordered]
    return params
