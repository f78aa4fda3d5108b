"""The admin server of this process: uvicorn in a daemon thread, on its own port.

Of several processes of a machine one has the port, and shows all of them; the others try again, and one takes over
when it ends.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import threading
from typing import Final

import uvicorn

from otel_tools.control.admin.asgi import Opening, admin_app
from otel_tools.control.admin.connections import Connection
from otel_tools.control.admin.guard import is_loopback
from otel_tools.control.operator import Operator
from otel_tools.errors import internal_error
from otel_tools.policy.forks import renew_in_child
from otel_tools.settings import Admin

PREFIX: Final = "/admin"
RETRY_SECONDS: Final = 3.0

_CLOSE_SECONDS: Final = 2.0

_BACKLOG: Final = 16
"""Connections that wait to be accepted. asyncio tries, and logs, as often in a row when the program has no file
descriptor left."""

_logger = logging.getLogger("otel_tools")


class _Config(uvicorn.Config):
    """Uvicorn's, without its hand on loggers: those are the program's, which may itself run under uvicorn."""

    def configure_logging(self) -> None:
        """Leave them alone."""


class AdminServer:
    """Serves from `start` to `stop`, or until the process ends, which it never delays.

    Args:
        operator: What the app reads and steers with, or what opens that for each request.
        settings: Where to listen, and who is let in.

    Attributes:
        url: Where the page is while this process has the port.
        listening: Set while it has.
    """

    def __init__(self, operator: Operator | Opening, settings: Admin) -> None:
        self._settings = settings
        self._config = _Config(
            admin_app(operator, settings, open_reads=is_loopback(settings.host), prefix=PREFIX),
            loop="asyncio",
            http=Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=1,
        )
        self._config.load()  # imports in the caller's thread, not beside it
        self._begin()
        self._told = False
        renew_in_child(self)

    def _begin(self) -> None:
        self.url: str | None = None
        self.listening = threading.Event()
        self._stopping = threading.Event()
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to serve, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="otel-tools-admin", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Give the port back."""
        self._stopping.set()
        thread, server = self._thread, self._server
        if server is not None:
            server.should_exit = True
        if thread is not None:
            thread.join(_CLOSE_SECONDS)
        self._thread = None

    def after_fork(self) -> None:
        """Let a forked child apply for the port itself: with its parent's socket it would keep it, and not answer."""
        inherited, served, stopped = self._socket, self._thread is not None, self._stopping.is_set()
        self._begin()
        self._told = True  # its parent has the port, or has said who has it
        if inherited is not None:
            inherited.close()
        if served and not stopped:
            self.start()

    # --- the thread ---------------------------------------------------------------------------------------------
    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                listener = self._listen()
                if listener is None:
                    self._stopping.wait(RETRY_SECONDS)
                else:
                    self._serve(listener)
        except Exception:
            internal_error("serving the admin page")

    def _listen(self) -> socket.socket | None:
        host, port = self._settings.host, self._settings.port
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            self._tell(error)
            return None

    def _serve(self, listener: socket.socket) -> None:
        host, port = self._settings.host, listener.getsockname()[1]
        self._socket, self._server = listener, uvicorn.Server(self._config)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}{PREFIX}"
        writes = "" if self._settings.token else "; read-only, as OTEL_TOOLS_ADMIN_TOKEN is not set"
        _logger.info("otel-tools shows circuits, tools and sessions at %s%s", self.url, writes)
        self.listening.set()
        if self._stopping.is_set():  # since before `stop` could see the server
            self._server.should_exit = True
        try:
            asyncio.run(self._server.serve([listener]))
        finally:
            self.listening.clear()
            self.url = None
            listener.close()
            self._socket = self._server = None

    def _tell(self, error: OSError) -> None:
        """Say once why there is no page, and go on trying."""
        if self._told:
            return
        self._told = True
        host, port = self._settings.host, self._settings.port
        if error.errno == errno.EADDRINUSE:
            _logger.warning(
                "otel-tools has no admin page at %s:%d, the port is in use. If another process of this service has it, "
                "its page shows this one, too, and this one takes over when it ends. Otherwise set admin.port, or "
                "OTEL_TOOLS_ADMIN, to a free port.",
                host,
                port,
            )
        else:
            _logger.warning(
                "otel-tools has no admin page: it cannot listen on %s:%d (%s). Set admin.host and admin.port to an "
                "address of this machine and a port that the program may use.",
                host,
                port,
                os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror,  # < 0: a name's
            )
