"""What a page ought to say and nobody has written down: visible as such, with the line that would fill it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from otel_tools.ops.objectives import Links
from otel_tools.ops.runbooks.facts import Facts
from otel_tools.ops.runbooks.markdown import code, page, table, yaml_line

UNKNOWN: Final = "**unknown**"

_EXAMPLES: Final = {
    "grafana": "https://grafana.example.com",
    "jaeger": "https://jaeger.example.com",
    "prometheus": "https://prometheus.example.com",
    "alertmanager": "https://alertmanager.example.com",
}
_HERE: Final = Links()


class Gap(NamedTuple):
    """Something that is not known.

    Args:
        what: What it is, for people.
        why: What one cannot do without it.
        where: The mapping of `otel-tools.yaml` that it belongs below.
        line: The line of YAML there, with an example.
    """

    what: str
    why: str
    where: tuple[str, ...]
    line: str


def gaps(facts: Facts) -> Iterator[Gap]:
    """Everything that is missing."""
    if facts.policy.owner is None:
        yield _of_tool(facts, "owner", "whom to call", "team, where they are on call")
    if facts.policy.dependency is None:
        yield _of_tool(facts, "dependency", "whose health to look at", "search API, https://status.example.com")
    if facts.service is None:
        why = "links and queries cannot name it"
        yield Gap("service", why, ("control",), yaml_line(("service",), "shop"))
    for name, example in _EXAMPLES.items():
        url, line = getattr(facts.links, name), yaml_line((name,), example)
        if not url:
            yield Gap(f"address of {name}", "no link leads there", ("links",), line)
        elif url == getattr(_HERE, name):
            why = f"not set: links lead to {code(url)}, on the reader's own machine"
            yield Gap(f"address of {name}", why, ("links",), line)


def _of_tool(facts: Facts, key: str, why: str, example: str) -> Gap:
    if facts.configured:
        return Gap(key, why, ("tools", facts.name), yaml_line((key,), example))
    return Gap(key, why, ("tools",), yaml_line((facts.name, key), example))


def missing(facts: Facts) -> str:
    """The section on them; empty if all is known."""
    rows = [
        (f"**{gap.what}**", gap.why, " ".join(code(f"{key}:") for key in gap.where), code(gap.line))
        for gap in gaps(facts)
    ]
    if not rows:
        return ""
    return page(
        "## Missing facts",
        "Nobody has written these down. A line in `otel-tools.yaml` does, then render this page again.",
        table(("Missing", "Why it matters", "Below", "Line that fills it"), rows),
    ).rstrip()
