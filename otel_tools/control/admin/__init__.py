"""The admin HTTP of a running program: see circuits, tools and sessions, and steer them. Needs `otel-tools[admin]`.

Nothing is imported or started unless `admin:` is configured or `app` is called.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_tools.config import load_or_default
from otel_tools.control.operator import Operator
from otel_tools.control.store import Store
from otel_tools.control.stores import open_store, service_of
from otel_tools.engine import Engine, active
from otel_tools.errors import StoreError
from otel_tools.settings import Admin

if TYPE_CHECKING:
    from otel_tools.control.admin.asgi import AdminApp
    from otel_tools.control.admin.server import AdminServer

__all__ = ["app", "serve"]

_EXTRA: Final = frozenset({"starlette", "uvicorn"})
_HINT: Final = "the admin server needs starlette and uvicorn: pip install 'otel-tools[admin]'"

_GREEN: Final = (
    "gevent has replaced threads, and its event loop would be in the way of the program's own; use the `otel-tools` "
    "command, or the page of another process of this service"
)

_logger = logging.getLogger("otel_tools")


def app(*, token: str | None = None, hosts: Collection[str] = ()) -> AdminApp:
    """The admin page and API as an ASGI app, to mount in the program's own server.

    FastAPI and Starlette mount it alike; the page is then at `/admin`, its API below::

        from otel_tools.control import admin

        app.mount("/admin", admin.app(hosts=["agent.example.com"]))

    Who reaches that server is not known here, so the token is needed for reading, too. It must run on asyncio.

    Args:
        token: What requests must carry as a bearer token, by default `OTEL_TOOLS_ADMIN_TOKEN`; without one there is
            nothing to see but the page's frame.
        hosts: Values of the `Host` header that are let in besides loopback names, with those of `admin.hosts`.

    Raises:
        ModuleNotFoundError: The extra is not installed; the message says how to.
    """
    try:
        from otel_tools.control.admin.asgi import admin_app  # noqa: PLC0415  an extra
    except ModuleNotFoundError as error:
        if not _lacks_extra(error):
            raise
        raise ModuleNotFoundError(_HINT, name=error.name) from error
    configured = load_or_default(overrides={"admin": {}}).admin or Admin()
    settings = replace(configured, token=token or configured.token, hosts=(*configured.hosts, *hosts))
    return admin_app(_at_work, settings)


def serve(engine: Engine) -> AdminServer | None:
    """Start the admin server that *engine*'s settings ask for, if they do and the program allows it."""
    settings = engine.settings.admin
    if settings is None:
        return None
    if _has_no_threads():
        _logger.warning("otel-tools goes on without its admin page: %s", _GREEN)
        return None
    try:
        from otel_tools.control.admin.server import AdminServer  # noqa: PLC0415  an extra
    except ModuleNotFoundError as error:
        if not _lacks_extra(error):
            raise
        _logger.warning("otel-tools goes on without its admin page: %s", _HINT)
        return None
    server = AdminServer(lambda: _operator(engine), settings)
    server.start()
    return server


def _has_no_threads() -> bool:
    """Whether a thread would share the system's thread with the program, and with it the running event loop."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def _lacks_extra(error: ModuleNotFoundError) -> bool:
    return (error.name or "").partition(".")[0] in _EXTRA


@contextlib.contextmanager
def _operator(engine: Engine | None) -> Iterator[Operator]:
    """An operator of *engine*, with a store of its own: requests run beside each other, a store is for one thread."""
    store = None if engine is None else _store(engine)
    try:
        yield Operator(store, engine)
    finally:
        if store is not None:
            store.close()


def _at_work() -> contextlib.AbstractContextManager[Operator]:
    return _operator(active())


def _store(engine: Engine) -> Store | None:
    try:
        return open_store(engine.settings.control, service_of(engine))
    except StoreError:
        return None  # there is none, which has been said; the engine has none, either
