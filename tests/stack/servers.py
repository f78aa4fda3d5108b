"""Asking the real servers, and being told by them."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeVar

QUICK = {
    "STACK_SELF_TELEMETRY_INTERVAL_MS": "500",
    "STACK_SAMPLE_WAIT": "3s",
    "STACK_SAMPLE_WAIT_AFTER_ROOT": "1s",
}
"""For tests, the stack tells and decides sooner."""

_Found = TypeVar("_Found")


def get(url: str) -> Any:
    """The JSON at *url*; None while there is none."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as response:
            return json.load(response)
    except OSError:
        return None


def eventually(read: Callable[[], _Found], seconds: float = 60) -> _Found:
    """What *read* gives as soon as it is something; servers take their time to show what they got."""
    deadline = time.monotonic() + seconds
    while not (found := read()):
        assert time.monotonic() < deadline, f"nothing within {seconds} s"
        time.sleep(0.1)
    return found


class Webhook:
    """An HTTP server that keeps the notifications posted to it."""

    def __init__(self) -> None:
        self.notifications: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/alerts"

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        notifications = self.notifications

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                notifications.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
