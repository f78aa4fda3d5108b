"""What a reader finds on a page of Markdown: commands, PromQL, links; and what a shell makes of a command."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

from markdown_it import MarkdownIt

_PROMQL = re.compile(r"(sum|max|min|count|topk|histogram_quantile|label_replace)\b[^`]*\(")


class Found(NamedTuple):
    """Something on a page: a fenced block (`sh`, `promql`, …), `code`, or the address of a `link`."""

    kind: str
    text: str


def read(page: str) -> list[Found]:
    """Everything of interest on a page, in its order."""
    return list(_read(page.split("\n---\n", 1)[1] if page.startswith("---\n") else page))


def _read(markdown: str) -> Iterator[Found]:
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type == "fence":
            yield Found(token.info, token.content)
        for child in token.children or ():
            if child.type == "code_inline":
                yield Found("code", child.content)
            elif child.type == "link_open":
                yield Found("link", str(child.attrs["href"]))


def shown(markdown: str) -> str:
    """What a reader sees of inline Markdown."""
    [_, inline, _] = MarkdownIt("commonmark").parse(markdown)
    assert all(child.type in {"text", "code_inline"} for child in inline.children), inline.children
    return "".join(child.content for child in inline.children)


# --- commands -------------------------------------------------------------------------------------------------------
class Command(NamedTuple):
    """A command of otel-tools as the shell would start it."""

    service: str
    words: tuple[str, ...]


_RECORD = r"""
otel-tools() { printf '%s\0' "${OTEL_SERVICE_NAME-}" "$@"; printf '\n\0'; }
"""


def commands(page: str, **placeholders: str) -> list[Command]:
    """Every command on a page, in its order, as a POSIX shell reads it.

    Args:
        page: The page.
        placeholders: What a reader puts in the place of a word.
    """
    script = [_RECORD]
    for found in read(page):
        if found.kind == "sh" or (found.kind == "code" and found.text.startswith("otel-tools ")):
            text = found.text
            for word, value in placeholders.items():
                text = text.replace(word, value)
            script.append(text)
    done = subprocess.run(["bash", "-eu"], input="\n".join(script), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    records_ = [one.split("\0") for one in done.stdout.split("\0\n\0")[:-1]]
    return [Command(service, tuple(words)) for service, *words in records_]


# --- PromQL ---------------------------------------------------------------------------------------------------------
def queries(page: str) -> list[str]:
    """Every PromQL on a page."""
    return [
        found.text
        for found in read(page)
        if found.kind == "promql" or (found.kind == "code" and _PROMQL.match(found.text))
    ]
