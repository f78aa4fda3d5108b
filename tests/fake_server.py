"""A scripted HTTP server on loopback: real sockets for real client libraries, answers decided by the test."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """One answer. *events* makes it a server-sent event stream; *hold* lets a test keep it back (set the event to go
    on); *hold_after* holds after that many events."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    events: Iterable[Any] | None = None
    hold: threading.Event | None = None
    hold_after: int = 0


@dataclass
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class _Http(ThreadingHTTPServer):
    """Takes many connections at once."""

    request_queue_size = 128


class FakeServer:
    """Answers each request with the next reply of the queue, or with the *default* one."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.default: Reply | None = None
        self._replies: deque[Reply] = deque()
        self._held: list[threading.Event] = []
        self._http = _Http(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self.port = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    def reply(self, body: Any = None, **options: Any) -> Reply:
        """Queue an answer and return it."""
        self._replies.append(reply := Reply(body, **options))
        return reply

    def _next(self) -> Reply:
        if self._replies:
            return self._replies.popleft()
        return self.default or Reply({"error": {"message": "the test queued no reply"}}, status=500)

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805  `self` is the handler's inside
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length") or 0))
                try:
                    body = json.loads(raw) if raw else None
                except ValueError:
                    body = raw
                server.requests.append(Received(self.command, self.path, dict(self.headers), body))
                try:
                    self._send(server._next())
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_GET = do_DELETE = do_POST

            def _send(self, reply: Reply) -> None:
                if reply.hold and not reply.hold_after:
                    server._held.append(reply.hold)
                    reply.hold.wait(30)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.events is None:
                    data = json.dumps(reply.body).encode()
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                    return
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                self.close_connection = True
                for number, event in enumerate(reply.events, 1):
                    self.wfile.write(_sse(event))
                    self.wfile.flush()
                    if reply.hold and number == reply.hold_after:
                        server._held.append(reply.hold)
                        reply.hold.wait(30)

            def log_message(self, *args: Any) -> None:
                pass

        return Handler

    @contextmanager
    def running(self) -> Iterator[FakeServer]:
        self._thread.start()
        try:
            yield self
        finally:
            for event in self._held:
                event.set()
            self._http.shutdown()
            self._http.server_close()


def _sse(event: Any) -> bytes:
    """*event* is a dict (data only; its `type` becomes the event's name), or a ready string such as `[DONE]`."""
    if isinstance(event, str):
        return f"data: {event}\n\n".encode()
    name = f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()
