"""The page of one tool: what to do when it fails, in the order in which one does it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from otel_tools import semconv as names
from otel_tools.ops.runbooks import addresses, gaps, ladder, queries, words
from otel_tools.ops.runbooks.aftermath import after
from otel_tools.ops.runbooks.facts import Facts
from otel_tools.ops.runbooks.markdown import block, code, command, front_matter, is_url, link, page, plain
from otel_tools.ops.runbooks.playbook import playbook
from otel_tools.ops.runbooks.snapshot import snapshot
from otel_tools.policy.degradation import structured_error
from otel_tools.policy.options import Criticality
from otel_tools.policy.outcome import Outcome

_FAILED: Final = (Outcome.ERROR, Outcome.TIMEOUT, Outcome.TOOL_ERROR, Outcome.CIRCUIT_OPEN)
"""Outcomes to look for traces of. Jaeger's own `error=true` finds nothing in its storage in memory."""


def render(facts: Facts, *, live: bool = False) -> str:
    """The page, as Markdown.

    Args:
        facts: What is known of the tool.
        live: Also what the processes say at this moment, which is out of date a minute later.
    """
    return page(
        front_matter(_front(facts)),
        f"# {code(facts.name)}",
        _about(facts),
        snapshot(facts) if live else "",
        gaps.missing(facts),
        page("## What users see when it fails", _seen(facts)).rstrip(),
        page("## Limits and policy", _policy(facts)).rstrip(),
        page("## First five minutes", _first(facts)).rstrip(),
        page("## What it is, and what to do", playbook(facts)).rstrip(),
        page("## Contain it, without a deployment", ladder.containment(facts)).rstrip(),
        page("## Roll back", ladder.rollback(facts)).rstrip(),
        page("## After", after(facts)).rstrip(),
    )


def _front(facts: Facts) -> Mapping[str, Any]:
    policy, circuit = facts.policy, facts.policy.circuit
    return {
        "tool": facts.name,
        "service": facts.service,
        "owner": policy.owner,
        "dependency": policy.dependency,
        "criticality": policy.criticality.value,
        "mode": facts.mode.value,
        "timeout": None if policy.timeout is None else words.setting(policy.timeout),
        "circuit": None
        if circuit is None
        else {"failures": circuit.failures, "reset_after": words.setting(circuit.reset_after)},
        "max_in_flight": policy.max_in_flight,
    }


def _about(facts: Facts) -> str:
    known = ""
    if not facts.known:
        known = "**Neither the configuration nor a running process knows a tool of this name.** Is it spelled right?"
    elif not facts.configured:
        known = "`otel-tools.yaml` has no entry for it: what follows are the defaults and what processes say."
    source = "the defaults (there is no `otel-tools.yaml` here)" if facts.source is None else code(facts.source)
    again = code(command("runbook", *facts.place.options, name=facts.name))
    rendered = f"Rendered by {again} from {source} and the running processes; change those, not this page."
    policy = facts.policy
    told = [
        f"* Owner: {gaps.UNKNOWN if policy.owner is None else plain(policy.owner)}",
        f"* Depends on: {gaps.UNKNOWN if policy.dependency is None else plain(policy.dependency)}",
        f"* Service: {gaps.UNKNOWN if facts.service is None else plain(facts.service)}",
    ]
    return page(known, "\n".join(told), rendered).rstrip()


# --- what it means --------------------------------------------------------------------------------------------------
def _seen(facts: Facts) -> str:
    critical = facts.policy.criticality is Criticality.CRITICAL
    error = structured_error(facts.name, _usual(facts), critical=critical, timeout=facts.policy.timeout)
    return page(
        words.criticality(facts.policy, facts.mode),
        f"What the model reads (here for {code(_usual(facts))}; the words are fixed, no text of the dependency goes "
        "in):",
        block("json", json.dumps(error, indent=2, ensure_ascii=not facts.name.isprintable())),
    ).rstrip()


def _usual(facts: Facts) -> str:
    return Outcome.TIMEOUT.value if facts.policy.timeout is not None else Outcome.ERROR.value


def _policy(facts: Facts) -> str:
    told = [*words.policy(facts.policy, facts.mode), *words.limits(facts.limits)]
    return page("\n".join(f"* {line}" for line in told), _differing(facts)).rstrip()


def _differing(facts: Facts) -> str:
    if not facts.differing:
        return ""
    told = ", ".join(f"{code(key)} ({_shown(value)} there)" for key, value in sorted(facts.differing.items()))
    return (
        f"The running processes have other values than {code(facts.source or 'the defaults')}: {told}. This page goes "
        "by "
        "the processes: code of the program sets them, or they were started with another file."
    )


def _shown(value: Any) -> str:
    return "not set" if value is None else plain(str(value))


# --- first five minutes ---------------------------------------------------------------------------------------------
def _first(facts: Facts) -> str:
    return page(
        "\n".join(f"{number}. {line}" for number, line in enumerate(_links(facts), 1)),
        f"{facts.place.where} What every process says of it, for people and for programs:",
        block(
            "sh",
            "\n".join(
                command(*line, *facts.place.options)
                for line in (("tools",), ("circuits",), ("tools", "--json"), ("circuits", "--json"))
            ),
        ),
        "In Prometheus:",
        "\n".join(f"* {what}: {_query(facts, query)}" for what, query in _queries(facts)),
    ).rstrip()


def _links(facts: Facts) -> list[str]:
    nowhere = f"{gaps.UNKNOWN}, see Missing facts"
    dashboard, firing = addresses.dashboard(facts), addresses.alerts(facts)
    traces = [
        link(code(outcome), url)
        for outcome in _FAILED
        if (url := addresses.traces(facts, {names.OUTCOME: outcome.value}))
    ]
    return [
        link("Dashboard of the tool", dashboard) if dashboard else f"Dashboard of the tool: {nowhere}",
        f"Traces of the last hour that ended with: {', '.join(traces) or nowhere}",
        _health(facts),
        *([link("Alerts that fire on its calls", firing)] if firing else []),
    ]


def _health(facts: Facts) -> str:
    dependency = facts.policy.dependency
    if dependency is None:
        return f"Health of what it depends on: {gaps.UNKNOWN}, see Missing facts"
    urls = [url for url in (one.strip(",;()") for one in dependency.split()) if is_url(url)]
    if not urls:
        return (
            f"Health of what it depends on, {code(dependency)}: no address of a status page or health check in "
            "`dependency:`; its circuit and errors below are what is known from here"
        )
    return f"Health of what it depends on: {', '.join(link(plain(url), url) for url in urls)}"


def _queries(facts: Facts) -> list[tuple[str, str]]:
    tool = addresses.matchers(facts)
    attempts = queries.increase(names.TOOL_DURATION, *tool, queries.some(names.ERROR_TYPE), part="count", window="15m")
    return [
        ("calls of the last 5 min by outcome", queries.total(queries.increase(names.TOOL_CALLS, *tool), names.OUTCOME)),
        ("errors of the last 15 min by `error.type`", queries.most(queries.total(attempts, names.ERROR_TYPE))),
        ("p95 in seconds", queries.quantile(names.TOOL_DURATION, *tool)),
        ("calls of the last 5 min by agent", queries.most(_by_agent(tool))),
        ("in flight", queries.total(queries.series(names.TOOL_IN_FLIGHT, *tool))),
        ("abandoned: still running after their timeout", queries.total(queries.series(names.TOOL_ABANDONED, *tool))),
        (
            "state of the circuit, in processes",
            queries.total(
                queries.series(names.CIRCUIT, *addresses.matchers(facts, names.CIRCUIT_NAME)), names.CIRCUIT_STATE
            ),
        ),
    ]


def _by_agent(tool: tuple[str, ...]) -> str:
    return queries.total(queries.increase(names.TOOL_DURATION, *tool, part="count"), names.AGENT_NAME)


def _query(facts: Facts, query: str) -> str:
    url = addresses.expression(facts.links.prometheus, query)
    return code(query) + (f" ({link('run it', url)})" if url else "")
