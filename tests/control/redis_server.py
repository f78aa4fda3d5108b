"""Debian's redis-server as a child process: it can be killed, stopped (so that it hangs) and started anew."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

LIMIT = 20.0
"""Seconds that a test waits for anything; a slow machine must not fail it."""


def missing() -> str | None:
    """Why there can be no tests with a server."""
    if shutil.which("redis-server") is None:
        return "redis-server is not installed (Debian: apt-get install redis-server)"
    if importlib.util.find_spec("redis") is None:
        return "redis-py is not installed (pip install 'otel-tools[redis]')"
    return None


def eventually(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """A server that keeps nothing on disk."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        own = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(["redis-server", *own, *self._options], stdout=subprocess.DEVNULL)
        eventually(self._answers)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(1) in {b"+", b"-"}
        return False

    def option(self, name: str) -> str:
        """The value that it was given."""
        return self._options[self._options.index(name) + 1]

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(LIMIT)
            self._process = None

    def hang(self) -> None:
        """Let it answer nothing; connections are still accepted by the kernel."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        """Started, and killed at the end."""
        self.start()
        try:
            yield self
        finally:
            self.kill()
