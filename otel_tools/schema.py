"""The parts that the table of settings is made of, and the reader that checks values against it.

A schema is a tree of `Section` (known keys), `Each` (any name), `Switch` (a section that can be off) and `Leaf` (one
value). `Reader.read` gives plain, converted values and collects every problem instead of stopping at the first one.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SPAN = re.compile(r"(\d+)\s*([mhd])")
_SPANS = {"m": 60, "h": 3600, "d": 86_400}
_NOT_IN_URLS = re.compile(r"[\s\"'`{}<>\\]")
_DOTTED_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class Leaf(NamedTuple):
    """One value: what is allowed, in words, and a function that converts it or raises ValueError or TypeError."""

    allowed: str
    convert: Callable[[Any], Any]


class Section:
    """A mapping with known keys.

    Args:
        required: Keys that must be there.
        keys: Key -> what it holds.
    """

    def __init__(self, required: tuple[str, ...] = (), **keys: Schema) -> None:
        self.required = required
        self.keys = keys


class Each(NamedTuple):
    """A mapping from any name to the same kind of value."""

    value: Section


class Switch(NamedTuple):
    """A section that `false` or null turns off (`None`) and `true` turns on with its defaults (`{}`)."""

    section: Section


Schema: TypeAlias = Section | Each | Switch | Leaf


# --- converters -----------------------------------------------------------------------------------------------------
def _of(kind: type | tuple[type, ...], value: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError
    return value


def _within(value: Any, minimum: float, maximum: float = math.inf, *, open_end: bool = False) -> Any:
    number = _of((int, float), value)
    if not minimum <= number <= maximum or math.isinf(number) or (open_end and number == minimum):
        raise ValueError
    return number


def _duration(value: Any) -> float:
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        value = float(match[1]) * _SECONDS[match[2]] if match else None
    return float(_within(value, 0, open_end=True))


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(_of(str, name) for name in _of((list, tuple, set, frozenset), value))


def _dotted(value: Any) -> tuple[str, ...]:
    found = _strings(value)
    if not all(_DOTTED_NAME.fullmatch(name) for name in found):
        raise ValueError
    return found


def _callable(value: Any) -> Any:
    if not callable(value):
        raise TypeError
    return value


def _store(value: Any) -> str | None:
    if value is False or value is None:
        return None
    return _text(value)


def _text(value: Any) -> str:
    if not _of(str, value).strip():
        raise ValueError
    return str(value)


def _key(value: Any) -> Any:
    return value if callable(value) else _text(value)


def _seconds(value: Any) -> float:
    return 0.0 if value == 0 and not isinstance(value, bool) else _duration(value)


def _span(value: Any) -> int:
    match = _SPAN.fullmatch(_of(str, value).strip())
    if not match:
        raise ValueError
    return int(match[1]) * _SPANS[match[2]]


def _hold(value: Any) -> int:
    return 0 if value == 0 and not isinstance(value, bool) else _span(value)


def _url(value: Any) -> str:
    url: str = _text(value).strip()
    if _NOT_IN_URLS.search(url):
        raise ValueError
    return url


duration = Leaf("a duration greater than 0 such as 250ms, 30s, 2m or 1h (a plain number is seconds)", _duration)
seconds = Leaf("a duration such as 250ms or 30s, or 0", _seconds)
positive = Leaf("a number greater than 0", lambda value: float(_within(value, 0, open_end=True)))
amount = Leaf("a number, 0 or more", lambda value: float(_within(value, 0)))
fraction = Leaf("a number between 0 and 1", lambda value: float(_within(value, 0, 1)))
count = Leaf("a whole number greater than 0", lambda value: _within(_of(int, value), 1))
window = Leaf("whole minutes, hours or days such as 5m, 1h or 1d", lambda value: _within(_span(value), 60))
hold = Leaf("whole minutes, hours or days such as 2m, 1h or 1d, or 0", _hold)
period = Leaf("days from 7d to 90d", lambda value: _within(_span(value), 7 * _SPANS["d"], 90 * _SPANS["d"]))
part = Leaf("a number between 0 and 1, both excluded", lambda value: float(_within(value, 1e-9, 1 - 1e-9)))
url = Leaf("a URL, or a path below which the pages are", _url)
several = Leaf("a whole number, 2 or more", lambda value: _within(_of(int, value), 2))
port = Leaf("a port number, 0 to 65535 (0: any free one)", lambda value: _within(_of(int, value), 0, 65535))
store = Leaf("file, a directory, a redis:// URL, or false", _store)
key = Leaf("the name of an argument (or, in code, a function of the arguments)", _key)
flag = Leaf("true or false", lambda value: _of(bool, value))
text = Leaf("a text", lambda value: _of(str, value))
names = Leaf("a list of names", _strings)
objects = Leaf("a list of dotted names such as 'my_app.tools:search'", _dotted)
function = Leaf("a function (it can only be set in code)", _callable)


def choice(kind: type[enum.StrEnum]) -> Leaf:
    """One of the values of *kind*, in upper or lower case."""
    return Leaf(" or ".join(kind), lambda value: kind(_of(str, value).strip().lower()))


def optional(leaf: Leaf) -> Leaf:
    """What *leaf* takes, or null for none."""
    return Leaf(f"{leaf.allowed}, or null", lambda value: None if value is None else leaf.convert(value))


# --- reading --------------------------------------------------------------------------------------------------------
class Reader:
    """Checks the values of one source.

    Args:
        source: What the user calls it: a file, a variable.
        lines: Path of a key -> its line in the file.

    Attributes:
        problems: One sentence for everything that is wrong.
    """

    def __init__(self, source: str, lines: Mapping[tuple[str, ...], int] | None = None) -> None:
        self._source = source
        self._lines = lines or {}
        self.problems: list[str] = []

    def read(self, schema: Schema, value: Any, path: tuple[str, ...] = ()) -> Any:
        """*value* converted; where it is wrong, the result is of no use and `problems` says why."""
        match schema:
            case Leaf():
                return self._leaf(schema, value, path)
            case Switch(section):
                value = {} if value is True else value
                return None if value is None or value is False else self._section(section, value, path)
            case Each(each):
                entries = self._mapping(value, path)
                return {key: self._section(each, entry, (*path, key)) for key, entry in entries.items()}
            case _:
                return self._section(schema, value, path)

    def problem(self, path: tuple[str, ...], what: str) -> None:
        """Note that *what* is wrong with the value at *path*."""
        line = next((self._lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self._lines), None)
        where = self._source if line is None else f"{self._source}, line {line}"
        self.problems.append(f"{where}: {'.'.join(path)}: {what}" if path else f"{where}: {what}")

    def _leaf(self, leaf: Leaf, value: Any, path: tuple[str, ...]) -> Any:
        try:
            return leaf.convert(value)
        except (ValueError, TypeError):
            self.problem(path, f"must be {leaf.allowed}, not {reprlib.repr(value)}")

    def _section(self, section: Section, value: Any, path: tuple[str, ...]) -> dict[str, Any]:
        entries = self._mapping(value, path)
        for key in section.required:
            if key not in entries:
                self.problem(path, f"{key} is missing")
        read: dict[str, Any] = {}
        for key, entry in entries.items():
            if key in section.keys:
                read[key] = self.read(section.keys[key], entry, (*path, key))
            else:
                self.problem((*path, key), _unknown(key, list(section.keys)))
        return read

    def _mapping(self, value: Any, path: tuple[str, ...]) -> dict[str, Any]:
        if value is None:
            return {}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if not isinstance(value, Mapping):
            self.problem(path, f"must hold keys and values, not {reprlib.repr(value)}")
            return {}
        for key in value:
            if not isinstance(key, str):
                self.problem(path, f"the key {key!r} is not a text; put it in quotes")
        return {key: entry for key, entry in value.items() if isinstance(key, str)}


def _unknown(key: str, known: list[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  only needed for a mistake

    close = get_close_matches(key, known, 1, 0.7)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"unknown key{hint}; allowed: {', '.join(known)}"


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Both, mapping by mapping; where both have a value, that of *high*."""
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
