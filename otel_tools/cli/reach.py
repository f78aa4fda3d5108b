"""How the command reaches the processes of a service: through their store, or through a running admin server.

Either way it asks what the admin server is asked, and gets the same JSON.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any, Final, Protocol, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, quote, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

import click

from otel_tools import config
from otel_tools.control import file
from otel_tools.control.admin import orders, routes
from otel_tools.control.admin.guard import is_loopback
from otel_tools.control.admin.problems import Problem
from otel_tools.control.admin.routes import Write
from otel_tools.control.directives import Kind
from otel_tools.control.operator import Operator
from otel_tools.control.places import DEFAULT_SERVICE, base_directory
from otel_tools.control.stores import open_store
from otel_tools.errors import StoreError
from otel_tools.settings import Control

_F = TypeVar("_F", bound=Callable[..., Any])
_TOKEN: Final = "OTEL_TOOLS_ADMIN_TOKEN"  # noqa: S105  the variable's name
_SECONDS: Final = 10.0


class Reach(Protocol):
    """A service that can be read and steered.

    Attributes:
        name: What it is called in messages.
    """

    name: str

    def read(self, path: str) -> dict[str, Any]:
        """What `GET` of *path* (`/tools`) answers."""
        ...

    def write(self, write: Write, kind: Kind, name: str, order: Mapping[str, Any]) -> dict[str, Any]:
        """What `POST` of *order* to *write*'s path answers."""
        ...


class Stored:
    """A service reached through its store."""

    def __init__(self, control: Control, service: str) -> None:
        store = open_store(control, service)
        if store is None:
            raise StoreError(
                "the configuration says control.store: false, so there is no store to reach the processes through: "
                "name one with --store, or an admin server with --url"
            )
        self.name = f"service {service}"
        self._operator = Operator(store, None)

    def read(self, path: str) -> dict[str, Any]:
        """What `GET` of *path* would answer."""
        found = routes.find_read(path)
        assert found is not None
        return dataclasses.asdict(found.read(self._operator))

    def write(self, write: Write, kind: Kind, name: str, order: Mapping[str, Any]) -> dict[str, Any]:
        """What `POST` of *order* to *write*'s path would answer."""
        return dataclasses.asdict(routes.perform(write, kind, name, write.body(**order), self._operator))


class Served:
    """A service reached through the admin server of one of its processes.

    Args:
        url: The server's address; a path is the place where its app is mounted.
    """

    def __init__(self, url: str) -> None:
        parts, port = _split(url)
        self.name = f"the service at {parts.hostname}:{port or parts.scheme}"
        self._opener = build_opener(_NoRedirects, *([ProxyHandler({})] if is_loopback(str(parts.hostname)) else []))
        self._base = url.rstrip("/") if parts.path.strip("/") else f"{url.rstrip('/')}/admin"

    def read(self, path: str) -> dict[str, Any]:
        """What `GET` of *path* answers."""
        return self._ask(path, None)

    def write(self, write: Write, kind: Kind, name: str, order: Mapping[str, Any]) -> dict[str, Any]:
        """What `POST` of *order* to *write*'s path answers."""
        path = write.path.replace("{name}", quote(name, safe=""))
        return self._ask(f"{path}?kind={kind}", json.dumps(order).encode())

    def _ask(self, path: str, body: bytes | None) -> dict[str, Any]:
        headers = {"Accept": "application/json"} | ({} if body is None else {"Content-Type": "application/json"})
        if token := _token():
            headers["Authorization"] = f"Bearer {token}"
        request = Request(self._base + path, body, headers)  # noqa: S310  the scheme is checked above
        try:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                value = json.load(answer)
        except HTTPError as error:
            raise click.ClickException(f"{self._base}{path} answers {error.code}: {_detail(error)}") from error
        except (URLError, OSError) as error:
            raise click.ClickException(f"{self._base} cannot be reached: {_cause(error)}") from error
        except (HTTPException, ValueError) as error:
            raise click.ClickException(f"{self._base} does not answer as an admin server of otel-tools does") from error
        if not isinstance(value, dict):
            raise click.ClickException(f"{self._base} does not answer as an admin server of otel-tools does")
        return value


def _split(url: str) -> tuple[SplitResult, int | None]:
    """The parts of an admin server's *url*, and its port.

    Raises:
        click.UsageError: It is none.
    """
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc:
            return parts, parts.port
    raise click.UsageError("--url must be like http://127.0.0.1:9465, without user and password")


def _token() -> str:
    token = os.environ.get(_TOKEN, "").strip()
    if not (token.isascii() and token.isprintable()):
        raise click.UsageError(f"{_TOKEN} has characters that cannot be sent: use printable ASCII only")
    return token


class _NoRedirects(HTTPRedirectHandler):
    """The token is for this server only."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


def _detail(error: HTTPError) -> str:
    try:
        found = json.load(error)["detail"]
    except (OSError, ValueError, KeyError, TypeError):
        return str(error.reason)
    hint = f" Set {_TOKEN} for this command." if error.code == 401 and not _token() else ""  # noqa: PLR2004  the status
    return f"{found}{hint}"


def _cause(error: OSError) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    return getattr(cause, "strerror", None) or str(cause)


# --- options --------------------------------------------------------------------------------------------------------
def options(function: _F) -> _F:
    """The options that say which service is meant; see `reach`."""
    for option in (
        click.option("--url", metavar="URL", help=f"Go through this admin server; the token is read from {_TOKEN}."),
        click.option("--store", metavar="WHERE", help="A directory or a redis:// URL; by default as configured."),
        click.option("--service", metavar="NAME", help="The service; by default OTEL_SERVICE_NAME, or the only one."),
    ):
        function = option(function)
    return function


def reach(service: str | None, store: str | None, url: str | None) -> Reach:
    """The service that the options mean.

    Raises:
        ConfigError, StoreError: The configuration or the store cannot be used.
    """
    if url is not None:
        if service is not None or store is not None:
            raise click.UsageError("--url names a server, which knows its service and store: leave out the others")
        return Served(url)
    control = config.load().control
    if store is not None:
        control = dataclasses.replace(control, store=store)
    return Stored(control, service or control.service or config.service_name() or _only_service(control))


def _only_service(control: Control) -> str:
    where = control.store
    if where is None:
        return DEFAULT_SERVICE
    if "://" in where:
        raise click.UsageError("which service? Say --service NAME, or set OTEL_SERVICE_NAME")
    running = sorted(file.services(base_directory(where)))
    if len(running) > 1:
        raise click.UsageError(f"several services are running: {', '.join(running)}; say which one: --service NAME")
    return running[0] if running else DEFAULT_SERVICE


def check(order: Mapping[str, Any], name: str, write: Write) -> None:
    """Refuse what cannot be, before anything is asked.

    Raises:
        click.UsageError: It says what is wrong.
    """
    try:
        orders.check(name, write.body(**order))
    except Problem as problem:
        raise click.UsageError(problem.detail) from problem
