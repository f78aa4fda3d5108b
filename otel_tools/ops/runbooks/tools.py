"""The pages of all tools, and their index."""

from __future__ import annotations

from collections.abc import Iterable

from otel_tools.control.places import directory_name
from otel_tools.ops.runbooks import gaps, tool
from otel_tools.ops.runbooks.alerts import INDEX
from otel_tools.ops.runbooks.facts import Facts
from otel_tools.ops.runbooks.markdown import code, link, page, plain, table


def file_name(name: str) -> str:
    """Of the page of the tool *name*; different tools have different ones, on every file system."""
    return f"{directory_name(name)}.md"


def render(all_: Iterable[Facts]) -> dict[str, str]:
    """File name -> page, of every tool, and the index."""
    found = list(all_)
    return {INDEX: _index(found), **{file_name(facts.name): tool.render(facts) for facts in found}}


def _index(found: list[Facts]) -> str:
    rows = [
        (
            link(code(facts.name), file_name(facts.name)),
            facts.policy.criticality.value,
            _known(facts.policy.owner),
            _known(facts.policy.dependency),
        )
        for facts in found
    ]
    return page(
        "# Runbooks of the tools",
        "Written by `otel-tools runbook --all`; do not edit it here.",
        table(("Tool", "Criticality", "Owner", "Depends on"), rows)
        if rows
        else "No tool is configured, and none runs.",
    )


def _known(value: str | None) -> str:
    return gaps.UNKNOWN if value is None else plain(value)
