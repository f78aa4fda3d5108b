"""Grafana's schema of classic dashboards, as its own models say it: keys, words and types of a document.

The models are those of grafana-foundation-sdk, which Grafana generates from its schemas. Nothing more authoritative can
be had: npm's `@grafana/schema` has types for TypeScript only, and neither has a JSON schema.
"""

from __future__ import annotations

import enum
import json
import types
import typing
import warnings

with warnings.catch_warnings():
    # it prefers the schema of version 2, which Grafana does not read from files
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.cog import encoder, plugins, variants
    from grafana_foundation_sdk.models import dashboard as schema

plugins.register_default_plugins()


def unknown(document):
    """Paths of *document* that the models do not know: they lose them when they write it. They add defaults."""
    again = json.loads(encoder.JSONEncoder().encode(schema.Dashboard.from_json(document)))
    return list(_lost(document, again, ""))


def _lost(ours, theirs, path):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from _lost(value, theirs[key], f"{path}.{key}") if key in theirs else [f"{path}.{key}"]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _lost(one, other, f"{path}[{number}]")
    elif ours != theirs:
        yield path


def ill_typed(document):
    """Paths of *document* with a value that is not of the type the models declare; reading does not check that."""
    return list(_fields(schema.Dashboard.from_json(document), ""))


def _fields(model, path):
    for name, hint in typing.get_type_hints(type(model)).items():
        yield from _wrong(getattr(model, name, None), hint, f"{path}.{name}")


def _wrong(value, hint, path):
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(value, dict) and hasattr(hint, "from_json"):
        value = hint.from_json(value)  # some are left as they are read
    if origin in {typing.Union, types.UnionType}:
        options = [option for option in arguments if (option is types.NoneType) == (value is None)]
        found = [list(_wrong(value, option, path)) for option in options]
        yield from min(found, key=lambda wrong: (wrong == [path], len(wrong)), default=[path])
    elif origin is list and isinstance(value, list):
        for number, item in enumerate(value):
            yield from _wrong(item, arguments[0], f"{path}[{number}]")
    elif not _fits(value, hint, origin, arguments):
        yield path
    elif hasattr(value, "to_json"):
        yield from _fields(value, path)


def _fits(value, hint, origin, arguments):
    if hint in {object, typing.Any, variants.Dataquery}:
        return True
    if origin is typing.Literal:
        return value in arguments
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return value in {it.value for it in hint}
    return isinstance(value, origin or hint)
