"""Whether what the other dashboards show is all there is: the Collector, the programs, Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from otel_tools import semconv as names
from otel_tools.ops import records, translation
from otel_tools.ops.dashboards import backends, common, lines, links, promql
from otel_tools.ops.dashboards.layout import Row, dashboard
from otel_tools.ops.dashboards.panels import GREEN, ORANGE, RED, Json, Panel, Step, Target, timeseries
from otel_tools.ops.dashboards.tables import Column, table
from otel_tools.ops.model import Objectives

_SDK_SIGNALS: Final = {"spans": "span", "log records": "log"}
"""A signal in words -> what the metrics of the Python SDK about itself call it."""
_SERVICE = common.legend(promql.SERVICE)
_LIBRARY, _VERSION, _STATUS = map(translation.label, (names.LIBRARY, names.LIBRARY_VERSION, names.STATUS))


def render(objectives: Objectives) -> Json:
    """Along the way of the telemetry: programs, Collector, Prometheus; then how many series it makes."""
    rows = [
        Row("Now", [*_programs_now(objectives), *_collector_now(objectives)]),
        Row("Programs", [_processes(objectives), _sdk_lost(objectives), _sdk_queue(), _instrumentation()]),
        Row("Collector", backends.collector(objectives)),
        Row("Series", [_series(), _others(), _overflow(), _unpriced(objectives)]),
        Row("Prometheus", backends.prometheus()),
    ]
    return dashboard(
        links.UIDS["telemetry"],
        "otel-tools: telemetry health",
        "Whether telemetry arrives, what is lost on the way, and how many series it makes.",
        rows,
        variables=(),
        links=links.on_top(objectives),
    )


# --- now ------------------------------------------------------------------------------------------------------------
def _programs_now(objectives: Objectives) -> list[Panel]:
    return [
        common.number(
            "Processes",
            "That report now.",
            promql.or_zero(f"sum({promql.series(records.PROCESSES)})"),
            [Step(1, GREEN)],
            links.runbooks(objectives, "telemetry-absent"),
            base=RED,
        ),
        common.number(
            "Dropped in programs",
            "Spans and log records of the last 5 minutes that no Collector has seen. Known of programs that run with"
            " OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED=true.",
            _sum_of(_sdk_dropped(signal) for signal in _SDK_SIGNALS.values()),
            lines.of_counts(objectives, "telemetry-dropped"),
            links.runbooks(objectives, "telemetry-dropped"),
        ),
    ]


def _collector_now(objectives: Objectives) -> list[Panel]:
    return [
        common.number(
            "Refused by the Collector",
            "Of the last 5 minutes; programs try again, then drop.",
            _sum_of(backends.grown(f"receiver_refused_{what}") for what in backends.SIGNALS.values()),
            lines.of_counts(objectives, "collector-refused"),
            links.runbooks(objectives, "collector-refused"),
        ),
        common.number(
            "Lost by the Collector",
            "Of the last 5 minutes; for good.",
            _sum_of(
                backends.grown(f"exporter_{why}_failed_{what}")
                for why in ("send", "enqueue")
                for what in backends.SIGNALS.values()
            ),
            lines.of_counts(objectives, "collector-send-failed"),
            links.runbooks(objectives, "collector-send-failed"),
        ),
        common.number(
            "Queue of the Collector",
            "How full the fullest is.",
            f"max({backends.fill()})",
            lines.of_alert(objectives, "collector-queue-full"),
            links.runbooks(objectives, "collector-queue-full"),
            unit="percentunit",
        ),
        common.number(
            "Rules that fail",
            "Evaluations of the last 5 minutes that failed: their alerts are silent.",
            promql.or_zero("sum(increase(prometheus_rule_evaluation_failures_total[5m]))"),
            [Step(1, RED)],
        ),
    ]


def _sum_of(expressions: Iterable[str]) -> str:
    """All of them together, those of which nothing is known left out."""
    parts = [promql.or_zero(f"sum({expression})") for expression in expressions]
    return " + ".join(f"({part})" for part in parts)


# --- programs -------------------------------------------------------------------------------------------------------
def _processes(objectives: Objectives) -> Panel:
    return timeseries(
        "Processes that report",
        "By service. A process that ended goes away after five minutes; one that is unseen does, too.",
        [Target(expr=promql.sum_by(promql.series(records.PROCESSES), promql.SERVICE), legend=_SERVICE)],
        "short",
        size=(6, 8),
        links=links.runbooks(objectives, "telemetry-absent"),
    )


def _sdk_dropped(signal: str) -> str:
    selected = promql.series(f"otel_sdk_processor_{signal}_processed_total", f'{promql.ERROR_TYPE}!=""')
    return promql.increase(selected, "5m")


def _sdk_lost(objectives: Objectives) -> Panel:
    return timeseries(
        "Dropped in programs, by why",
        "Spans and log records that programs gave up within 5 minutes, by why. Metrics make up for it."
        " Programs tell with OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED=true.",
        [
            Target(
                expr=f"{promql.sum_by(_sdk_dropped(signal), promql.SERVICE, promql.ERROR_TYPE)} > 0",
                legend=f"{_SERVICE} {words}: {{{{{promql.ERROR_TYPE}}}}}",
            )
            for words, signal in _SDK_SIGNALS.items()
        ],
        "short",
        size=(6, 8),
        none="nothing dropped, or programs do not tell",
        links=links.runbooks(objectives, "telemetry-dropped"),
    )


def _sdk_queue() -> Panel:
    def longest(signal: str) -> str:
        return promql.max_by(promql.series(f"otel_sdk_processor_{signal}_queue_size"), promql.SERVICE)

    return timeseries(
        "Queues of programs",
        "The longest of each service; at OTEL_BSP_MAX_QUEUE_SIZE or OTEL_BLRP_MAX_QUEUE_SIZE (2048) it drops. Programs"
        " tell with OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED=true.",
        [Target(expr=longest(signal), legend=f"{_SERVICE} {words}") for words, signal in _SDK_SIGNALS.items()],
        "short",
        size=(6, 8),
        none="programs do not tell",
    )


def _instrumentation() -> Panel:
    by = promql.SERVICE, _LIBRARY, _VERSION

    def most(status: str) -> str:
        places = promql.max_by(promql.series(names.INSTRUMENTATION_STATUS, f'{_STATUS}="{status}"'), *by)
        return f"{places} or 0 * {promql.max_by(promql.series(names.INSTRUMENTATION_STATUS), *by)}"

    columns = [
        Column(title="Library", label=_LIBRARY),
        Column(title="Version", label=_VERSION),
        Column(title="Service", label=promql.SERVICE),
        Column(title="Patched", expr=most("patched"), unit="short"),
        Column(title="Native", expr=most("native"), unit="short"),
        Column(title="Skipped", expr=most("skipped"), unit="short", steps=[Step(1, ORANGE)]),
    ]
    return table(
        "Instrumented libraries",
        "Places that are patched, that trace themselves, and that were not found in this version of the library: calls"
        " through those are not seen. `otel-tools doctor -v` names them.",
        columns,
        sort="Skipped",
        size=(6, 8),
    )


# --- series ---------------------------------------------------------------------------------------------------------
def _series() -> Panel:
    ours = f'{{__name__=~"otel_tools_.+|gen_ai_.+", {", ".join(promql.HERE)}}}'
    columns = [
        Column(title="Metric", label="__name__"),
        Column(title="Series", expr=f"count by (__name__) ({ours})", unit="short", decimals=0),
    ]
    return table(
        "Series, the most first",
        "How many series each metric has now: what Prometheus has to keep.",
        columns,
        sort="Series",
        size=(6, 8),
    )


def _others() -> Panel:
    def calls(metric: names.Metric, label: str) -> str:
        return promql.per_minute(metric, promql.SERVICE, matchers=(f'{label}="{names.OTHER}"',))

    return timeseries(
        f"Calls under the name {names.OTHER}, a minute",
        "A process puts 256 names of tools and agents on metrics; what comes after that shares this one. A model may be"
        " inventing tools.",
        [
            Target(expr=calls(names.TOOL_CALLS, promql.TOOL), legend=f"{_SERVICE}: tools"),
            Target(expr=calls(names.SESSIONS, promql.AGENT), legend=f"{_SERVICE}: agents"),
        ],
        "short",
        size=(6, 8),
        none="all names fit",
    )


def _overflow() -> Panel:
    overflow = f'{{otel_metric_overflow="true", {", ".join(promql.HERE)}}}'
    return timeseries(
        "Metrics that overflow",
        "Series into which the OpenTelemetry SDK puts everything beyond its limit of attribute sets (2000 of a metric);"
        " their labels are lost.",
        [
            Target(
                expr=f"count by ({promql.SERVICE}, __name__) ({overflow})",
                legend=f"{_SERVICE}: {{{{__name__}}}}",
            )
        ],
        "short",
        size=(6, 8),
        none="nothing overflows",
    )


def _unpriced(objectives: Objectives) -> Panel:
    alert = objectives.alert("unpriced-tokens")
    tokens = promql.series(records.UNPRICED.over(alert.window))
    return timeseries(
        "Tokens without a price",
        f"Of the last {records.duration(alert.window)}: what costs, limits and alerts on money do not see.",
        [
            Target(
                expr=f"{promql.sum_by(tokens, promql.SERVICE, promql.MODEL)} > 0",
                legend=common.legend(promql.SERVICE, promql.MODEL),
            )
        ],
        "short",
        size=(6, 8),
        none="every token has a price",
        links=[*links.runbooks(objectives, alert.name), links.to_dashboard("LLM and cost", "llm")],
    )
