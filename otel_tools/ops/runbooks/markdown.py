"""Markdown, YAML and shell text in which any name can stand: nothing in it is taken for markup or for a command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>#|~&$!])")


def plain(text: str) -> str:
    """*text* as it is, on one line, within a line or a cell of a table."""
    return _MARKUP.sub(r"\\\1", one_line(text))


def code(text: str) -> str:
    """*text* as inline code, on one line; fit for running text, not for a cell (see `cell`)."""
    text = one_line(text) or " "
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if text.strip() and (text[0] in "` " or text[-1] in "` ") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def cell(markdown: str) -> str:
    """Inline Markdown as a cell of a table: there a `|` ends the cell, in code too."""
    return markdown.replace("|", r"\|")


def block(language: str, text: str) -> str:
    """A fenced block of *text*."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of inline Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell(one) for one in line)} |" for line in lines)


def link(text: str, url: str) -> str:
    """A link; *text* is Markdown. `<>` let a URL hold brackets and the like."""
    return f"[{text}](<{url}>)"


def is_url(text: str) -> bool:
    """Whether *text* is an address that a browser opens."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and not re.search(r"[\s<>\"`\\^{}|]", text)


def front_matter(values: Mapping[str, Any]) -> str:
    """The block of YAML that a page begins with."""
    return f"---\n{yaml.safe_dump(dict(values), allow_unicode=True, sort_keys=False, width=10_000)}---"


def yaml_line(path: Sequence[str], value: Any) -> str:
    """The line of YAML that sets *path* to *value*: `tools: {search: {owner: team}}`."""
    for key in reversed(path[1:]):
        value = {key: value}
    text = yaml.safe_dump({path[0]: value}, allow_unicode=True, default_flow_style=True, width=10_000)
    return text.strip().removeprefix("{").removesuffix("}")


def command(word: str, *options: str, name: str | None = None) -> str:
    """`otel-tools` and these words as a POSIX shell reads them; a *name* that begins with `-` is no option."""
    words = ["otel-tools", word, *options]
    if name is not None and name.startswith("-"):
        words += ["--", name]
    elif name is not None:
        words.insert(2, name)
    return shlex.join(words)


def one_line(text: str) -> str:
    """*text* with what cannot be printed as escapes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def page(*parts: str) -> str:
    """Parts with an empty line between them; empty ones are left out."""
    return "\n\n".join(part for part in parts if part) + "\n"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
