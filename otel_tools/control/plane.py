"""The control plane of this process follows the engine at work: when it looks at the store, and in which thread.

Little is imported before something is to be done: a program that nobody steers starts as fast as without.
"""

from __future__ import annotations

import atexit
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_tools.control import places
from otel_tools.engine import Engine
from otel_tools.errors import StoreError, internal_error
from otel_tools.policy.forks import renew_in_child

if TYPE_CHECKING:
    from otel_tools.control.admin.server import AdminServer
    from otel_tools.control.controller import Controller

_LONGEST_INTERVAL: Final = 5.0
"""Seconds after which a process must have said that it is alive."""

_EXIT_SECONDS: Final = 0.2
"""How long the end of the program may wait for the report to be withdrawn."""

_logger = logging.getLogger("otel_tools")


class Follower:
    """Looks after one engine: first at its first call, then in a thread of its own.

    Where the store is a file that is there, the first call waits for a look at it, so that a tool that is disabled
    already is not called. The thread begins with that call, in a forked child with the child's first one.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._service = places.service_of(engine)
        self._path = places.overrides_path(engine.settings.control.store, self._service)
        self._controller: Controller | None = None
        self._following = False
        self._ended: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Be ready: look at the store if that is a file, and begin with the first call."""
        self._look_if_file()
        self._following = True
        self._engine.on_first_call = self._begin
        renew_in_child(self)
        atexit.register(self.stop)

    def stop(self) -> None:
        """Withdraw the report and end the thread; a slow store is not waited for. What is set stays in force."""
        atexit.unregister(self.stop)
        self._following = False
        self._engine.on_first_call = None
        ended, thread = self._ended, self._thread
        self._ended = self._thread = None
        if ended is not None and thread is not None:
            ended.set()
            thread.join(_EXIT_SECONDS)

    def after_fork(self) -> None:
        """A forked child has no thread of ours; its first call begins one. What its parent reported is the parent's."""
        if self._following:
            self._engine.on_first_call = self._begin
        self._controller = self._ended = self._thread = None

    def _begin(self) -> None:
        self._look_if_file()
        ended = threading.Event()  # `threading` is looked up now: gevent may have replaced what is in it
        thread = threading.Thread(target=self._serve, args=(ended,), name="otel-tools-control", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # the interpreter is about to end, or as many threads run as the system allows
        self._ended, self._thread = ended, thread

    def _look_if_file(self) -> None:
        if self._path is not None and _is_there(self._path) and (controller := self._ready()) is not None:
            controller.look()

    def _serve(self, ended: threading.Event) -> None:
        controller = self._ready()
        if controller is None:
            return
        interval = min(self._engine.settings.control.interval, _LONGEST_INTERVAL)
        while True:
            controller.tick()
            if ended.wait(interval):
                break
        controller.end()

    def _ready(self) -> Controller | None:
        if self._controller is None:
            try:
                self._controller = self._open()
            except StoreError as error:
                _tell(error)
            except Exception:
                internal_error("starting the control plane")
        return self._controller

    def _open(self) -> Controller | None:
        from otel_tools.control.controller import Controller  # noqa: PLC0415  not before it is needed
        from otel_tools.control.stores import open_store  # noqa: PLC0415  likewise

        store = open_store(self._engine.settings.control, self._service)
        return None if store is None else Controller(self._engine, store, self._service)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True  # what is wrong with it, reading tells


_running: Final[list[Follower | AdminServer]] = []


def follow(engine: Engine | None) -> None:
    """Let what operators set apply to *engine* from now on, and to no other one. Never raises.

    No thread is started but that of the admin server, where one is configured.
    """
    try:
        while _running:
            _running.pop().stop()
        if engine is not None:
            _follow_store(engine)
            _serve_admin(engine)
    except Exception:
        internal_error("starting the control plane")


def _follow_store(engine: Engine) -> None:
    if engine.settings.control.store is None:
        return
    try:
        follower = Follower(engine)
    except StoreError as error:
        _tell(error)
    else:
        _running.append(follower)
        follower.start()


def _serve_admin(engine: Engine) -> None:
    if engine.settings.admin is None:
        return
    from otel_tools.control import admin  # noqa: PLC0415  an extra

    server = admin.serve(engine)
    if server is not None:
        _running.append(server)


def _tell(error: StoreError) -> None:
    _logger.warning("otel-tools goes on without what operators set: %s", error)
