"""The admin server as an ASGI app: it lets in, finds the route, answers, and puts every refused write on record."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from http import HTTPStatus
from typing import Any, Final, NoReturn, TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from otel_tools import semconv, steering
from otel_tools.control.admin import openapi, orders, page, routes
from otel_tools.control.admin.guard import Guard
from otel_tools.control.admin.problems import MEDIA_TYPE, Problem
from otel_tools.control.admin.routes import Found
from otel_tools.control.admin.threads import in_thread
from otel_tools.control.directives import Kind
from otel_tools.control.operator import Operator
from otel_tools.errors import ConfigError, StoreError, internal_error
from otel_tools.settings import Admin

Opening: TypeAlias = Callable[[], contextlib.AbstractContextManager[Operator]]

_READING: Final = frozenset({"GET", "HEAD"})
_HARMLESS: Final = _READING | {"OPTIONS"}
_FIXED: Final = frozenset({"", "/", "/openapi.json"})
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class AdminApp:
    """See `admin_app`."""

    def __init__(self, operator: Opening, guard: Guard, prefix: str) -> None:
        self._operator = operator
        self._guard = guard
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; there is nothing to begin or end, and no websocket."""
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        elif scope["type"] == "http":
            response = await self._answer(Request(scope, receive))
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
            await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = self._path(request.scope)
        found = None if path is None else routes.find_write(path)
        try:
            self._guard.check(request.scope["headers"], request.scope.get("server"))
            if found is not None:
                return await self._write(request, found)
            return await self._read(request, path)
        except Problem as problem:
            if request.method not in _HARMLESS:
                self._note_refused(request, found, problem)
            return _json(problem.body(), problem.status, MEDIA_TYPE, problem.headers)
        except Exception:
            internal_error("answering an admin request")
            return _json(_OUR_FAULT.body(), _OUR_FAULT.status, MEDIA_TYPE)

    # --- reading ------------------------------------------------------------------------------------------------
    async def _read(self, request: Request, path: str | None) -> Response:
        read = None if path is None else routes.find_read(path)
        if path is None or (read is None and path not in _FIXED):
            detail = f"There is nothing here; the page is at {self._base(request.scope) or '/'}."
            raise Problem(HTTPStatus.NOT_FOUND, "not_found", detail)
        if request.method not in _READING:
            _refuse_method("GET, HEAD")
        if read is None:
            return _json(openapi.document(self._base(request.scope))) if "json" in path else page.response()
        if read.guarded:
            self._guard.may_read(request.scope["headers"])
        try:
            return _json(asdict(await self._with_operator(read.read)))
        except StoreError as error:
            raise _unavailable(error) from None

    # --- writing ------------------------------------------------------------------------------------------------
    async def _write(self, request: Request, found: Found) -> Response:
        if request.method != "POST":
            _refuse_method("POST")
        self._guard.may_write(request.scope["headers"])
        _check_type(request.headers.get("content-type", ""))
        order = orders.read(found.write.body, await _body(request))
        orders.check(found.name, order)
        kind = routes.check_kind(request.query_params.get("kind", "tool"))
        write = partial(routes.perform, found.write, kind, found.name, order)
        try:
            return _json(asdict(await self._with_operator(write)))
        except ConfigError as error:
            raise orders.invalid(f"{error}.") from None
        except StoreError as error:
            raise _unavailable(error) from None

    def _note_refused(self, request: Request, found: Found | None, problem: Problem) -> None:
        """Put a write on record that was not done; `Operator` does so for those that were."""
        word = found.write.word if found is not None else "unknown"
        attributes: dict[str, Any] = {semconv.CONTROL_ACTION: word, semconv.CONTROL_REFUSED: problem.type}
        if found is not None and found.name.isprintable():
            kind: Kind = "client" if request.query_params.get("kind") == "client" else "tool"
            attributes[semconv.CONTROL_TARGET] = steering.address(kind, found.name[: steering.LONGEST])
        body = f"refused: {word} by way of the admin server ({problem.type})"
        try:
            with self._operator() as operator:
                if operator.engine is not None:
                    operator.engine.telemetry.log(semconv.EVENT_CONTROL, attributes, failed=True, body=body)
        except Exception:
            internal_error("writing down a refused write")

    async def _with_operator(self, work: Callable[[Operator], Any]) -> Any:
        def run() -> Any:
            with self._operator() as operator:
                return work(operator)

        return await in_thread(run)

    # --- paths --------------------------------------------------------------------------------------------------
    def _base(self, scope: Scope) -> str:
        """The path that all of ours are below."""
        return str(scope.get("root_path", "")).rstrip("/") + self._prefix

    def _path(self, scope: Scope) -> str | None:
        """The path below that, `None` if it is not."""
        path, whole = str(scope["path"]), self._base(scope)
        outer = str(scope.get("app_root_path", "")).rstrip("/")  # of FastAPI(root_path=...): the proxy has taken it off
        for base in (whole, whole.removeprefix(outer), self._prefix):  # the last: servers that know no root path
            if path == base or path.startswith(f"{base}/"):
                return path.removeprefix(base)
        return None


def admin_app(operator: Operator | Opening, settings: Admin, *, open_reads: bool = False, prefix: str = "") -> AdminApp:
    """The admin server as an ASGI app.

    Args:
        operator: What it reads and steers with, or what opens that for each request.
        settings: The names it is reached by, and the token.
        open_reads: Whether a read under a loopback name needs no token; for a server that only this machine reaches.
        prefix: The path that it answers below.
    """
    guard = Guard(settings, open_reads=open_reads)
    if isinstance(operator, Operator):
        return AdminApp(lambda: contextlib.nullcontext(operator), guard, prefix)
    return AdminApp(operator, guard, prefix)


# --- requests and answers -------------------------------------------------------------------------------------------
def _check_type(given: str) -> None:
    media_type, _, parameters = given.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if media_type.strip().lower() != "application/json" or charset not in {"", "utf-8"}:
        detail = "Send the body as `Content-Type: application/json`."
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not_json", detail)


async def _body(request: Request) -> bytes:
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > orders.MOST_BYTES:
                detail = f"The body is longer than {orders.MOST_BYTES} bytes."
                raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_long", detail, {"Connection": "close"})
    except ClientDisconnect:
        raise Problem(HTTPStatus.BAD_REQUEST, "incomplete", "The body did not arrive.") from None
    return body


def _refuse_method(allowed: str) -> NoReturn:
    detail = f"Only {allowed} is answered here."
    raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", detail, {"Allow": allowed})


def _unavailable(error: StoreError) -> Problem:
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "store_unavailable", f"{error}.")


_OUR_FAULT: Final = Problem(
    HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "A fault of otel-tools; the program's log has more."
)


def _json(
    value: Any, status: int = HTTPStatus.OK, media_type: str = "application/json", headers: Any = None
) -> Response:
    """Non-ASCII is escaped: names may hold halves of surrogate pairs, which UTF-8 cannot."""
    return Response(json.dumps(value, allow_nan=False).encode(), status, headers, media_type)
