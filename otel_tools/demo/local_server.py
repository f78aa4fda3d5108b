"""An HTTP server on loopback in threads of its own, the base of the demo's two servers."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class LocalServer:
    """Serves until the `with` block ends; requests that hang are let go then.

    Attributes:
        url: Where it listens.
        closing: Set when it ends: whoever waits should wait on this.
    """

    def __init__(self) -> None:
        self.closing = threading.Event()
        self._http = _Server(self)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def answer(self, handler: Handler, path: str, body: Any) -> None:
        """Answer one request; *body* is the JSON document that was sent, if any."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, owner: LocalServer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.owner = owner


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """A request; the server's owner answers it."""
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            self.server.owner.answer(self, self.path, json.loads(raw) if raw else None)
        except ConnectionError:  # the client has gone, as after a timeout
            self.close_connection = True

    do_POST = do_GET  # noqa: N815  http.server's name

    def send(self, document: Any, status: int = 200) -> None:
        """Answer with a JSON document."""
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def start_events(self) -> None:
        """Begin a stream of server-sent events; it ends with the connection."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()

    def send_event(self, data: Any) -> None:
        """Send one event: a document (its `type` names the event) or a text."""
        if isinstance(data, str):
            self.wfile.write(f"data: {data}\n\n".encode())
        else:
            name = f"event: {data['type']}\n" if "type" in data else ""
            self.wfile.write(f"{name}data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Nothing: the terminal belongs to the demo."""
