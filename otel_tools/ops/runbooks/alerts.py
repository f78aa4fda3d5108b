"""The page of one alert, and the index of all: rendered from the table of alerts and the guide to each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import urlencode

from otel_tools import semconv as names
from otel_tools.ops.model import Alert, Links, Objectives, Slo, slug
from otel_tools.ops.runbooks import addresses, computed
from otel_tools.ops.runbooks.guides import GUIDES
from otel_tools.ops.runbooks.guides.guide import SERVICE, Guide
from otel_tools.ops.runbooks.markdown import block, code, front_matter, link, page, table
from otel_tools.ops.translation import SERVICE_NAME

INDEX: Final = "README.md"
_HEADER: Final = "Written by `otel-tools runbook --alerts`; do not edit it here."


def render(objectives: Objectives) -> dict[str, str]:
    """File name -> page, of every alert that is enabled, and the index."""
    pages = {f"{slug(one.name)}.md": _page(objectives, one) for one in _enabled(objectives)}
    return {INDEX: _index(objectives), **pages}


def _enabled(objectives: Objectives) -> Iterator[Alert | Slo]:
    yield from (alert for alert in objectives.alerts if alert.enabled)
    yield from (slo for slo in objectives.slos if slo.enabled)


def _index(objectives: Objectives) -> str:
    rows = [
        (link(code(one.name), f"{slug(one.name)}.md"), ", ".join(_severities(one)), one.component, _means(one))
        for one in _enabled(objectives)
    ]
    return page(
        "# Runbooks of the alerts",
        f"What each alert means, how it is computed, what to look at first and what to do. {_HEADER} A page for one of "
        "your own tools, with what is configured and what runs: `otel-tools runbook NAME`.",
        table(("Alert", "Severity", "Component", "When"), rows),
    )


def _severities(one: Alert | Slo) -> list[str]:
    return list(one.thresholds) if isinstance(one, Alert) else ["critical", "warning"]


def _means(one: Alert | Slo) -> str:
    return one.means if isinstance(one, Alert) else f"the error budget burns too fast: {computed.good(one)}"


# --- one page -------------------------------------------------------------------------------------------------------
def _page(objectives: Objectives, one: Alert | Slo) -> str:
    guide, links = GUIDES[one.name], objectives.links
    section = (
        computed.of_alert(objectives, one, guide.computed)
        if isinstance(one, Alert)
        else computed.of_slo(objectives, one)
    )
    return page(
        front_matter(_front(one)),
        f"# {one.name}",
        f"{_HEADER}",
        _section("Meaning", f"**{_means(one)[:1].upper()}{_means(one)[1:]}.** {one.description}"),
        _section("Impact", guide.impact),
        _section("How it is computed", section),
        _section("First checks", *_checks(links, one, guide)),
        _section("Causes, the most likely first", _causes(guide)),
        _section("Contain it", *_contain(guide)),
        _section("Silence", f"{guide.silence} {link('New silence', _silence(links, one))}."),
        _section("Escalate", guide.escalate),
    )


def _section(title: str, *parts: str) -> str:
    return page(f"## {title}", *parts).rstrip()


def _front(one: Alert | Slo) -> Mapping[str, object]:
    return {
        "alert": one.name,
        "severities": _severities(one),
        "component": one.component,
        "dashboard": one.dashboard,
        **({} if isinstance(one, Alert) else {"slo": one.id}),
    }


def _checks(links: Links, one: Alert | Slo, guide: Guide) -> Iterator[str]:
    where = [
        f"* {link('Dashboard', links.dashboard(one.dashboard))}; the alert's own link has its variables set",
        f"* {link('Whatever else fires', f'{links.alertmanager}/#/alerts')}: the cause may be another alert",
    ]
    if guide.traces:
        where.append(f"* {link('Traces', f'{links.jaeger}/search')}: service {code(SERVICE_NAME)}, {guide.traces}")
    yield "\n".join(where)
    yield "In Prometheus:"
    yield "\n".join(
        f"{number}. {check.what}\n\n{_indented(block('promql', check.query))}\n\n   "
        f"{link('Run it', str(addresses.expression(links.prometheus, check.query)))}"
        for number, check in enumerate(guide.checks, 1)
    )
    if guide.look or guide.steer:
        yield "On a machine that runs the program, as its user (put in what the alert's labels say):"
        yield block("sh", "\n".join([*_variables(guide), *guide.look]))


def _indented(text: str) -> str:
    return "\n".join(f"   {line}" for line in text.splitlines())


def _variables(guide: Guide) -> Iterable[str]:
    yield f"export OTEL_SERVICE_NAME={SERVICE}  # {SERVICE_NAME}"
    for variable, (example, source) in guide.variables.items():
        yield f"{variable}={example}  # {source or 'the tool that the checks above name'}"


def _causes(guide: Guide) -> str:
    return table(
        ("", "Cause", "How to tell", "What to do"),
        ((str(number), *cause) for number, cause in enumerate(guide.causes, 1)),
    )


def _contain(guide: Guide) -> Iterator[str]:
    yield guide.contain
    if guide.steer:
        yield block("sh", "\n".join(guide.steer))
    if any("--for" in command for command in guide.steer):
        yield (
            "The command says in how many processes it has taken effect; `tools` and `circuits` show who set it and "
            "why, "
            f"and so does the log record `{names.EVENT_CONTROL}`. It ends by itself after `--for`. To take it back "
            "before:"
        )
        yield block("sh", "\n".join(guide.undo))


def _silence(links: Links, one: Alert | Slo) -> str:
    matcher = f'{{alertname="{one.name}"}}'
    return f"{links.alertmanager}/#/silences/new?{urlencode({'filter': matcher})}"
