"""The OpenAPI document: the table of routes, and the dataclasses of bodies and answers, in the standard's words."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import typing
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Literal

from otel_tools.control.admin import orders, problems
from otel_tools.control.admin.problems import ProblemDetails
from otel_tools.control.admin.routes import READS, WRITES, Done, Read, Write
from otel_tools.version import __version__

_PLAIN: Final = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}

_REFUSALS: Final = {
    401: "The bearer token is missing or wrong.",
    403: "No token is configured, or the request's Host or Origin is not let in.",
    405: "The path has another method.",
    503: "The store of operators' overrides cannot be used; nothing has changed.",
}
_OF_WRITES: Final = {
    400: "The body is not JSON.",
    413: f"The body is longer than {orders.MOST_BYTES} bytes.",
    415: "The body's type is not application/json.",
    422: "A name or value is not allowed.",
}
_NOT_FOUND: Final = {404: "There is nothing at this path."}

_NAME: Final = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "The tool or LLM client, percent-encoded, slashes too. It need not have been called yet.",
    "schema": dict(orders.LINE),
}
_KIND: Final = {
    "name": "kind",
    "in": "query",
    "description": "What the name is.",
    "schema": {"type": "string", "enum": ["tool", "client"], "default": "tool"},
}


def document(base: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the admin server.

    Args:
        base: The path that those of the document are below.
    """
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {read.path: {"get": _read(read, schemas)} for read in READS}
    paths |= {write.path: {"post": _write(write, schemas)} for write in WRITES}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "otel-tools admin",
            "version": __version__,
            "description": "See and steer the policy of a running program: circuits, tools, sessions.",
        },
        "servers": [{"url": base or "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "OTEL_TOOLS_ADMIN_TOKEN of the program."}
            },
        },
    }


def _read(read: Read, schemas: dict[str, Any]) -> dict[str, Any]:
    refusals = _REFUSALS if read.guarded else {status: _REFUSALS[status] for status in (403, 405)}
    return {
        "operationId": read.path.strip("/"),
        "summary": read.summary,
        "responses": _responses(read.answer, refusals, schemas),
        "security": [{}, {"token": []}] if read.guarded else [],
    }


def _write(write: Write, schemas: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": write.word,
        "summary": write.summary,
        "parameters": [_NAME, _KIND],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema(write.body, schemas)}}},
        "responses": _responses(Done, _REFUSALS | _NOT_FOUND | _OF_WRITES, schemas),
        "security": [{"token": []}],
    }


def _responses(answer: type[Any], refusals: Mapping[int, str], schemas: dict[str, Any]) -> dict[str, Any]:
    good = {"description": summary(answer), "content": {"application/json": {"schema": schema(answer, schemas)}}}
    problem = {problems.MEDIA_TYPE: {"schema": schema(ProblemDetails, schemas)}}
    bad = {str(status): {"description": text, "content": problem} for status, text in sorted(refusals.items())}
    if "401" in bad:
        bad["401"]["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    if "405" in bad:
        bad["405"]["headers"] = {"Allow": {"required": True, "schema": {"type": "string"}}}
    return {str(HTTPStatus.OK.value): good} | bad


# --- schemas of dataclasses -----------------------------------------------------------------------------------------
def schema(annotation: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of values of a type; those of dataclasses are put into *schemas* and referred to."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, type):
        return _of_class(annotation, schemas)
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": schema(arguments[0], schemas)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": schema(arguments[1], schemas)}
    return _union([schema(one, schemas) for one in arguments])


def _of_class(found: type[Any], schemas: dict[str, Any]) -> dict[str, Any]:
    if dataclasses.is_dataclass(found):
        return _reference(found, schemas)
    if issubclass(found, enum.StrEnum):
        return {"type": "string", "enum": [one.value for one in found]}
    return {"type": _PLAIN[found]}


def _union(choices: list[dict[str, Any]]) -> dict[str, Any]:
    plain = [one["type"] for one in choices if one.keys() == {"type"}]
    return {"type": plain} if len(plain) == len(choices) else {"anyOf": choices}


def _reference(shape: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    name = shape.__name__
    if name not in schemas:
        schemas[name] = {}  # it may contain itself
        hints = _hints(shape)
        fields = dataclasses.fields(shape)
        schemas[name] = {
            "type": "object",
            "description": summary(shape),
            "properties": {one.name: dict(one.metadata) or schema(hints[one.name], schemas) for one in fields},
            "required": [one.name for one in fields if not (one.metadata and _has_default(one))],
            "additionalProperties": False,
        }
    return {"$ref": f"#/components/schemas/{name}"}


@functools.cache
def _hints(shape: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(shape)


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING


def summary(shape: type[Any]) -> str:
    """The first paragraph of its docstring, on one line."""
    return " ".join((inspect.getdoc(shape) or shape.__name__).partition("\n\n")[0].split())
