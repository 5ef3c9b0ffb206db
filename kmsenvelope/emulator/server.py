"""The emulator: the engine behind HTTP on this machine, with faults, a journal and a movable clock."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("the emulator needs its extra: pip install 'kmsenvelope[emulator]'") from error

from .accounts import Accounts
from .clock import MovableClock
from .engine import Engine
from .faults import Fault, Faults, patched
from .front import Front
from .journal import Journal
from .policy import DEFAULT_POLICY, Policy
from .ratelimit import RateLimits
from .store import Store
from .tc3 import HttpRequest

ADMIN_PATH = "/_emulator"
_BEFORE = ("reset", "status")
_REFUSALS = ("throttle", "error", "expired_credentials")
_LOOPBACK = ("127.0.0.1", "::1")
_START_SECONDS = 30.0


class Emulator:
    """A Tencent Cloud KMS on this machine, for tests and offline work: ``with Emulator() as emulator: ...``.

    Serves from a background thread between ``start`` and ``stop``. It speaks plain HTTP, keeps keys in
    software, and so belongs on the loopback interface. Without ``data`` keys live in memory; with it in that
    SQLite file, under ``passphrase`` if given. Every region has its own CMKs.

    Attributes: ``endpoint`` (for the SDK, and for tccli's ``--endpoint``), ``region``, ``secret_id``,
    ``secret_key``, ``engine`` (of ``region``, without HTTP), ``clock`` (moves the KMS's time, not that of
    signatures), ``faults``, ``calls`` (a ``Journal``), ``accounts`` (more credentials, temporary ones).

    ``rate_limits``: ``True`` for the documented rates, or a mapping that replaces some of them. ``audit``: a
    file that gets a JSON line for each call. Raises ``OSError`` if the port is taken, and as ``Store``.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        data: str | os.PathLike[str] | None = None,
        passphrase: str | bytes | None = None,
        region: str = "ap-guangzhou",
        secret_id: str | None = None,
        secret_key: str | None = None,
        policy: Policy = DEFAULT_POLICY,
        rate_limits: bool | dict[str, float] = False,
        audit: str | os.PathLike[str] | None = None,
        clock: MovableClock | None = None,
        signing_clock: Callable[[], float] = time.time,
    ) -> None:
        self.region = region
        self.clock = clock or MovableClock()
        self.accounts = Accounts(self.clock)
        self.secret_id, self.secret_key, _ = self.accounts.add(secret_id, secret_key)
        self.faults = Faults()
        self.calls = Journal(audit)
        self._store = Store(data, passphrase)
        self.engine = Engine(self._store, clock=self.clock, region=region, policy=policy)
        rates = rate_limits if isinstance(rate_limits, dict) else None
        self._limits = RateLimits(self.clock, rates) if rate_limits else None
        front = Front(
            self.engine, self.accounts, self.calls, rate_limits=self._limits, signing_clock=signing_clock
        )
        self._address = (host, port)
        self._stopping = threading.Event()
        self._app = _application(self, front, self._stopping)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.endpoint = ""

    def start(self) -> Emulator:
        """Begin to serve, once; returns when calls can come."""
        if self._server is not None:
            raise RuntimeError("an Emulator is started once: make another")
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        # asyncio turns Nagle off only where the protocol is named; else each call takes 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(self._address)
        except OSError as error:
            listener.close()
            self._close_files()
            where = "{} port {}".format(*self._address)
            raise OSError(error.errno, f"cannot listen on {where}: {error.strerror}") from None
        host, port = listener.getsockname()[:2]
        self.endpoint = f"http://[{host}]:{port}" if family == socket.AF_INET6 else f"http://{host}:{port}"
        config = uvicorn.Config(
            self._app,
            http=_Protocol,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        server = self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="kms-emulator", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the emulator's server did not start")
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """Serve no more and close the key store."""
        self._stopping.set()
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
        self._close_files()

    def _close_files(self) -> None:
        self._store.close()
        self.calls.close()

    def reset(self) -> None:
        """Back to the beginning: no keys, no faults, no calls, the first credentials only, real time."""
        with self._store.transaction(write=True) as tx:
            tx.remove_all()
        self.faults.clear()
        self.calls.clear()
        self.clock.reset()
        self.accounts.keep_only(self.secret_id)
        if self._limits is not None:
            self._limits.reset()

    def environment(self) -> dict[str, str]:
        """The variables that give the SDK and tccli this emulator's credentials and region."""
        return {
            "TENCENTCLOUD_SECRET_ID": self.secret_id,
            "TENCENTCLOUD_SECRET_KEY": self.secret_key,
            "TENCENTCLOUD_REGION": self.region,
        }

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Emulator({self.endpoint or 'not started'})"


class _Protocol(H11Protocol):
    """HTTP/1.1 that hands its transport to the application, which faults need."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def _application(emulator: Emulator, front: Front, stopping: threading.Event) -> Starlette:
    async def serve(request: Request) -> Response:
        query = request.scope["query_string"].decode("latin-1")
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = HttpRequest(request.method, query, headers, await request.body())
        struck = emulator.faults.strike(headers.get("x-tc-action", ""))
        for delay in struck:
            if delay.kind == "latency":
                await asyncio.sleep(delay.seconds)
        fault = next((each for each in struck if each.kind != "latency"), None)
        if fault is not None and fault.kind in _BEFORE:
            front.record_lost(asked, fault)
            if fault.kind == "status":
                return Response(f"<html>{fault.status}</html>", fault.status, media_type="text/html")
            return _Broken(b"", fault, stopping)
        refusal = fault if fault is not None and fault.kind in _REFUSALS else None
        answer = await run_in_threadpool(front.answer, asked, refusal)
        if fault is not None and fault.kind == "patch":
            answer["Response"] = patched(answer["Response"], fault)
        body = json.dumps(answer).encode()
        if fault is None or refusal is not None or fault.kind == "patch":
            return Response(body, headers={"Content-Type": "application/json"})
        if fault.kind == "content_type":
            return Response(body, headers={"Content-Type": fault.content_type})
        if fault.kind == "empty":
            return Response(b"", headers={"Content-Type": "application/json"})
        return _Broken(body, fault, stopping)

    async def admin(request: Request) -> Response:
        return await _admin(emulator, request)

    return Starlette(
        routes=[
            Route("/", serve, methods=["GET", "POST"]),
            Route(ADMIN_PATH + "/{what}", admin, methods=["GET", "POST", "DELETE"]),
        ]
    )


class _Broken(Response):
    """An answer that does not arrive whole: reset, cut or stalled."""

    def __init__(self, body: bytes, fault: Fault, stopping: threading.Event) -> None:
        super().__init__(body)
        self._fault = fault
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport: asyncio.Transport = scope["state"]["transport"]
        if self._fault.kind in ("truncate", "stall"):
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(self.body)).encode()),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            half = bytes(self.body[: len(self.body) // 2])
            await send({"type": "http.response.body", "body": half, "more_body": True})
            if self._fault.kind == "stall":
                await self._wait(transport)
            transport.close()
        else:
            # With no time to linger the kernel sends RST instead of FIN.
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _wait(self, transport: asyncio.Transport) -> None:
        end = time.monotonic() + self._fault.seconds
        while time.monotonic() < end and not (self._stopping.is_set() or transport.is_closing()):
            await asyncio.sleep(0.02)


async def _admin(emulator: Emulator, request: Request) -> Response:
    """Faults and clock from another process: only from this machine, and not from a web page."""
    if request.client is None or request.client.host not in _LOOPBACK:
        return JSONResponse({"error": "only from this machine"}, 403)
    # A page in a browser cannot send this content type to another origin without asking first.
    if request.method != "GET" and request.headers.get("content-type") != "application/json":
        return JSONResponse({"error": "Content-Type must be application/json"}, 415)
    what = (request.method, request.path_params["what"])
    try:
        settings: dict[str, Any] = json.loads(await request.body() or b"{}")
        if what == ("POST", "faults"):
            return JSONResponse(dataclasses.asdict(emulator.faults.add(**settings)))
        if what == ("DELETE", "faults"):
            emulator.faults.clear()
        elif what == ("POST", "clock"):
            emulator.clock.advance(**settings)
        elif what != ("GET", "clock"):
            return JSONResponse({"error": "not found"}, 404)
    except (TypeError, ValueError) as error:
        return JSONResponse({"error": str(error)}, 400)
    return JSONResponse({"now": emulator.clock()})
