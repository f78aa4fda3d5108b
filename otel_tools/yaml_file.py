"""Reads a YAML file, keeping the line of every key and refusing what YAML allows and people do not mean.

Imported by `config` only, and only when there is a file: PyYAML would otherwise cost every program its import.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_Path = tuple[str, ...]


@dataclass(slots=True)
class Document:
    """What a file holds, the line of each key by its path, and what is wrong with the file as such."""

    value: Any = None
    lines: dict[_Path, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read(path: Path) -> Document:
    """Read *path*; never raises for what is in the file, nor if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        return Document(problems=[f"{path}: cannot be read: {error.strerror or error}"])
    except UnicodeDecodeError as error:
        return Document(problems=[f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}"])
    try:
        return _parse(path, text)
    except yaml.YAMLError as error:
        return Document(problems=[_syntax(path, error)])


def _parse(path: Path, text: str) -> Document:
    document = Document()
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return document
        for key, line, repeated in _keys(root, (), set()):
            if repeated:
                document.problems.append(f"{path}, line {line}: {'.'.join(key)}: stands here a second time")
            document.lines[key] = line
        document.value = loader.construct_document(root)
    finally:
        loader.dispose()
    return document


def _keys(node: yaml.Node, path: _Path, seen: set[int]) -> Iterator[tuple[_Path, int, bool]]:
    """Every key below *node*: its path, its line, and whether its mapping had it already. An alias is read once."""
    if not isinstance(node, yaml.MappingNode) or id(node) in seen:
        return
    seen.add(id(node))
    known: set[str] = set()
    for key, value in node.value:
        name = str(key.value)
        yield (*path, name), key.start_mark.line + 1, name in known
        known.add(name)
        yield from _keys(value, (*path, name), seen)


def _syntax(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    where = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else f"{path}"
    return f"{where}: is not valid YAML: {what}"
