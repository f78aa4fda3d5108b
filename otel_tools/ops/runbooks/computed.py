"""How an alert is computed, in words, from the table and the rules that are rendered from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from otel_tools import semconv as names
from otel_tools.ops import burn, rules
from otel_tools.ops.model import SEVERITIES, TOOL_ERRORS, TOOL_EVENTS, Alert, Measure, Objectives, Slo
from otel_tools.ops.runbooks.markdown import block, code, page, table
from otel_tools.ops.runbooks.words import seconds
from otel_tools.ops.translation import ENVIRONMENT, SERVICE_NAME, label


def of_alert(objectives: Objectives, alert: Alert, more: str) -> str:
    """The section of an alert; *more* is what the table does not say."""
    lines = [f"* **For each**: {_each(alert.by)}."] if alert.measure is not Measure.COLLECTOR else []
    lines += [f"* **What**: {what}" for what in (_what(alert), more) if what]
    lines += [f"* **Threshold**: {_thresholds(alert)}."]
    lines += [f"* **{title}**: {text}" for title, text in _conditions(objectives, alert)]
    return page("\n".join(lines), _rules(objectives, alert.name)).rstrip()


def of_slo(objectives: Objectives, slo: Slo) -> str:
    """The section of an objective's alert."""
    windows = [
        (
            window.severity,
            f"{factor:g} times",
            _share(factor * slo.budget),
            seconds(window.long),
            seconds(window.short),
            _share(window.spent),
        )
        for window in burn.WINDOWS
        for factor in (window.factor(slo.period),)
    ]
    header = (
        "Severity",
        "Burns faster than",
        "That is, bad events",
        "Over the last",
        "And the last",
        "Budget spent then",
    )
    return page(
        f"* **For each**: {_each(slo.by)}.\n"
        f"* **Objective**: {_share(slo.objective)} of {slo.period} days: {good(slo)}.\n"
        f"* **Budget**: {_share(slo.budget)} may be bad. At a burn rate of 1 it lasts exactly for the period.\n"
        f"* **Guard**: at least {slo.minimum} events in the longer window, {objectives.low_traffic.errors} of them "
        "bad.",
        table(header, windows),
        "Both windows must be above: the long one says that it matters, the short one that it still goes on. On a "
        "fresh "
        "installation all windows see the same short history and fire together.",
        _rules(objectives, slo.name),
    ).rstrip()


def good(slo: Slo) -> str:
    """What a good event is, in words."""
    return slo.good.format(threshold=slo.threshold)


def _each(by: tuple[str, ...]) -> str:
    labels = [label(one) for one in by]
    return ", ".join(code(one) for one in (SERVICE_NAME, ENVIRONMENT, *labels))


def _what(alert: Alert) -> str:
    metric = "" if alert.metric is None else code(alert.metric.name)
    match alert.measure:
        case Measure.ERROR_RATIO if alert.metric == names.TOOL_CALLS:
            outcome = code(names.OUTCOME)
            return (
                f"{metric} with {outcome} {_words(TOOL_ERRORS)}, divided by those and "
                f"{_words(TOOL_EVENTS - TOOL_ERRORS)}. "
                "What an operator switched off, a session's limit refused, or the caller cancelled, is in neither."
            )
        case Measure.ERROR_RATIO:
            return f"calls of {metric} with an {code(names.ERROR_TYPE)}, divided by all of them."
        case Measure.P95:
            return (
                f"the value of {metric} that 95 of 100 stay below, estimated from its buckets; the threshold is a "
                "boundary of one, so the comparison is exact."
            )
        case Measure.INCREASE:
            return f"how much {metric} grew."
        case Measure.LEVEL if alert.states:
            return f"{metric} in the states {_words(frozenset(alert.states))}, now; not those that only observe."
        case _:
            return ""


def _words(values: frozenset[str]) -> str:
    return ", ".join(code(value) for value in sorted(values))


def _thresholds(alert: Alert) -> str:
    if alert.measure is Measure.ABSENT:
        return " and ".join(code(severity) for severity in SEVERITIES if severity in alert.thresholds) + ", see above"
    told = [f"more than {_amount(alert, value)}: {code(name)}" for name, value in alert.thresholds.items()]
    return ", ".join(told)


def _amount(alert: Alert, value: float) -> str:
    if alert.measure is Measure.ERROR_RATIO or (alert.measure is Measure.COLLECTOR and value):
        return _share(value)
    unit = "" if alert.metric is None else alert.metric.unit
    if unit == "s":
        return seconds(value)
    unit = unit.strip("{}").replace("_", " ").replace("inference call", "LLM call")
    plural = unit if unit in {"", "USD"} or value == 1 else f"{unit}s"
    return f"{value:,g} {plural}".strip()


def _conditions(objectives: Objectives, alert: Alert) -> Iterator[tuple[str, str]]:
    window = f"the last {seconds(alert.window)}" if alert.window else "now"
    held = f", and true for {seconds(alert.for_)} without a break" if alert.for_ else ""
    yield "Window", f"{window}{held}."
    if alert.keep:
        yield "Ends", f"{seconds(alert.keep)} after it is true no more, so that it does not flap."
    if alert.minimum and alert.measure is not Measure.ABSENT:
        yield "Guard", f"at least {alert.minimum} events in the window: a ratio of fewer says nothing."
    if alert.measure is Measure.ERROR_RATIO:
        low = objectives.low_traffic
        enough = f"with {low.errors} errors or more in the last {seconds(low.window)}"
        yield (
            "Little traffic",
            f"it fires all the same {enough}, if they are more than {_share(low.ratio)} of the calls.",
        )


def _share(value: float) -> str:
    return f"{value * 100:.4g} %"


def _rules(objectives: Objectives, name: str) -> str:
    """The rules themselves, as Prometheus has them."""
    found = [rule for groups in rules.files(objectives).values() for group in groups for rule in group["rules"]]
    return page(
        "In Prometheus (records are in `prometheus/rules/`):",
        *(_rule(rule) for rule in found if rule.get("alert") == name),
    ).rstrip()


def _rule(rule: dict[str, Any]) -> str:
    return block("promql", f"# {rule['labels']['severity']}\n{rule['expr']}")
