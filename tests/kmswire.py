"""A server that speaks the wire protocol of the KMS over the emulator's engine, and misbehaves on demand.

It checks no signature: the tests of the emulator do.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import uuid
from collections import deque
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from kmsenvelope.emulator.engine import Engine, EngineError
from kmsenvelope.emulator.store import Store

Fault = str | tuple[str, Any]


class KmsWire:
    """The server. ``faults`` are used up one for each request; ``seen`` has action, headers and body of each.

    One of: ``reset``, ``lost`` (done, then reset), ``truncated``, ``stalled``, ``empty``, ``html``,
    ``no-response``, ``unknown-type`` (an answer whose Content-Type the SDK does not look into), or a pair:
    ``("status", 502)``, ``("error", code)``, ``("patch", {member: value})`` where ``None`` removes a member.
    """

    def __init__(self) -> None:
        self.store = Store()
        self.engine = Engine(self.store, region="ap-guangzhou")
        self.faults: deque[Fault] = deque()
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.connections = 0
        self.open: set[socket.socket] = set()
        self.release = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.wire = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def endpoint(self) -> str:
        """What to give to ``TencentKms``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def actions(self) -> list[str]:
        """The actions seen, in order."""
        return [action for action, _, _ in self.seen]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._server.shutdown()
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join()
        self.store.close()

    def answer(self, action: str, params: Mapping[str, object]) -> dict[str, Any]:
        """The content of ``Response`` to one request."""
        content: dict[str, Any] = {"RequestId": str(uuid.uuid4())}
        try:
            return {**self.engine.call(action, params), **content}
        except EngineError as error:
            return {"Error": {"Code": error.code, "Message": error.message}, **content}


class _Server(ThreadingHTTPServer):
    wire: KmsWire
    daemon_threads = False
    block_on_close = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 5

    def setup(self) -> None:
        super().setup()
        self.server.wire.connections += 1
        self.server.wire.open.add(self.connection)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def finish(self) -> None:
        self.server.wire.open.discard(self.connection)
        super().finish()

    def log_message(self, *args: Any) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        wire = self.server.wire
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        action = self.headers["X-TC-Action"]
        wire.seen.append((action, dict(self.headers.items()), body))
        fault = wire.faults.popleft() if wire.faults else ""
        kind, detail = fault if isinstance(fault, tuple) else (fault, None)
        if kind == "reset":
            return self._reset()
        if kind == "error":
            content = {"Error": {"Code": detail, "Message": "as asked"}, "RequestId": "r-1"}
            return self._send({"Response": content})
        content = wire.answer(action, body)
        if kind == "lost":
            return self._reset()
        if kind == "patch":
            content = {k: v for k, v in {**content, **detail}.items() if v is not None}
        return self._deliver(kind, detail, {"Response": content})

    def _deliver(self, kind: str, detail: Any, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        if kind == "status":
            self._send_raw(b"<html>SECRET BODY</html>", "text/html", status=detail)
        elif kind == "html":
            self._send_raw(b"<html>log in first</html>", "text/html")
        elif kind == "empty":
            self._send_raw(b"", "application/json")
        elif kind == "no-response":
            self._send_raw(b'{"hello": "world"}', "application/json")
        elif kind == "unknown-type":
            self._send_raw(data, "application/json; charset=utf-8")
        elif kind in ("truncated", "stalled"):
            self._send_raw(data[:10], "application/json", length=len(data))
            if kind == "stalled":
                self.server.wire.release.wait(3)
            self.close_connection = True
        else:
            self._send_raw(data, "application/json")

    def _send(self, answer: dict[str, Any]) -> None:
        self._send_raw(json.dumps(answer).encode(), "application/json")

    def _send_raw(self, data: bytes, kind: str, *, status: int = 200, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
