"""LLM calls and what they cost."""

from __future__ import annotations

from otel_tools import semconv as names
from otel_tools.ops import records, translation
from otel_tools.ops.dashboards import common, lines, links, promql
from otel_tools.ops.dashboards.layout import Row, dashboard
from otel_tools.ops.dashboards.panels import Json, Panel, Target, heatmap, timeseries
from otel_tools.ops.dashboards.tables import Column, table
from otel_tools.ops.model import HOUR, Objectives

_TOKEN_TYPE = translation.label(names.TOKEN_TYPE)
_BY = promql.SERVICE, promql.PROVIDER, promql.MODEL
_NAME = common.legend(promql.PROVIDER, promql.MODEL)
_CHOSEN = (promql.MODELS,)


def render(objectives: Objectives) -> Json:
    """Money first, then calls, then tokens."""
    rows = [
        Row("Now", [common.cost(objectives, (8, 4)), *_now(objectives)]),
        Row("Calls", [_errors(objectives), _error_types(), _calls()]),
        Row("Latency", [_latency(), _first_chunk(), _per_chunk(), _heatmap()]),
        Row("Tokens", [_tokens_by_type(), _tokens_by_model(), _tokens_a_call()]),
        Row("Cost", [_cost_by_model(), common.session_cost(objectives, (8, 8)), _unpriced(objectives), _models()]),
    ]
    return dashboard(
        links.UIDS["llm"],
        "otel-tools: LLM and cost",
        "Errors, latency, tokens and cost of LLM calls, by provider and model.",
        rows,
        variables=("model",),
        links=links.on_top(objectives),
    )


# --- now ------------------------------------------------------------------------------------------------------------
def _now(objectives: Objectives) -> list[Panel]:
    alert = objectives.alert("llm-error-rate-high")
    window = records.duration(alert.window)
    ratio = promql.series(records.MODEL_ERROR_RATIO.over(alert.window), *_CHOSEN)
    unpriced = objectives.alert("unpriced-tokens")
    tokens = promql.sum_by(promql.series(records.UNPRICED.over(unpriced.window), *_CHOSEN))
    return [
        common.number(
            "Errors",
            f"Of the calls of the last {window}; of several models the worst. Coloured where the alert fires.",
            f"max({ratio})",
            lines.of_alert(objectives, alert.name),
            links.runbooks(objectives, alert.name),
            unit="percentunit",
        ),
        common.number("Calls a minute", "LLM calls that were attempted.", _per_minute()),
        common.number(
            "p95",
            f"One in twenty calls of the last {window} takes longer.",
            promql.quantile(0.95, names.CLIENT_DURATION, matchers=_CHOSEN, window=window),
            unit="s",
        ),
        common.number(
            "Tokens without a price",
            f"Of the last {records.duration(unpriced.window)}. Costs, limits and alerts on money do not see them.",
            promql.or_zero(tokens),
            lines.of_counts(objectives, unpriced.name),
            links.runbooks(objectives, unpriced.name),
        ),
    ]


def _per_minute(*by: str, matchers: tuple[str, ...] = ()) -> str:
    return promql.per_minute(names.CLIENT_DURATION, *by, matchers=(*_CHOSEN, *matchers), part="_count")


# --- calls ----------------------------------------------------------------------------------------------------------
def _errors(objectives: Objectives) -> Panel:
    alert = objectives.alert("llm-error-rate-high")
    ratio = promql.series(records.MODEL_ERROR_RATIO.over(alert.window), *_CHOSEN)
    return timeseries(
        "Error rate",
        f"Of the calls of the last {records.duration(alert.window)}. The line is where the alert fires.",
        [Target(expr=promql.max_by(ratio, *_BY), legend=_NAME)],
        "percentunit",
        lines=lines.of_alert(objectives, alert.name),
        links=[*links.model_traces(links.LABEL), *links.runbooks(objectives, alert.name)],
    )


def _error_types() -> Panel:
    errors = _per_minute(*_BY, promql.ERROR_TYPE, matchers=(f'{promql.ERROR_TYPE}!=""',))
    return timeseries(
        "Errors a minute, by type",
        "By `error.type`: the exception's name, an HTTP status, or `timeout`.",
        [Target(expr=errors, legend=common.legend(promql.MODEL, promql.ERROR_TYPE))],
        "short",
        stacked=True,
        none="no errors",
        links=links.by_error(links.LABEL, names.CHAT, promql.MODEL),
    )


def _calls() -> Panel:
    return timeseries(
        "Calls a minute, by model",
        "LLM calls that were attempted.",
        [Target(expr=_per_minute(*_BY), legend=_NAME)],
        "short",
        stacked=True,
        links=links.model_traces(links.LABEL),
    )


# --- latency --------------------------------------------------------------------------------------------------------
def _latency() -> Panel:
    return _slowest(
        "Latency, p95", "One in twenty calls takes longer; of streams, to the last chunk.", names.CLIENT_DURATION
    )


def _first_chunk() -> Panel:
    return _slowest(
        "Time to the first chunk, p95",
        "Of streamed calls: how long people look at nothing.",
        names.CLIENT_FIRST_CHUNK,
        none="no streams",
    )


def _per_chunk() -> Panel:
    return _slowest(
        "Time between chunks, p95",
        "Of streamed calls: how fluently text appears.",
        names.CLIENT_PER_CHUNK,
        none="no streams",
    )


def _slowest(title: str, description: str, metric: names.Metric, none: str = "") -> Panel:
    return timeseries(
        title,
        f"{description} The dots are traces.",
        [Target(expr=promql.quantile(0.95, metric, *_BY, matchers=_CHOSEN), legend=_NAME, exemplar=True)],
        "s",
        size=(6, 8),
        none=none,
        links=links.model_traces(links.LABEL),
    )


def _heatmap() -> Panel:
    buckets = promql.increase(promql.series(names.CLIENT_DURATION, *_CHOSEN, part="_bucket"))
    return heatmap(
        "Latency, all calls",
        "How many calls took how long.",
        Target(expr=promql.sum_by(buckets, "le"), legend="{{le}}", format="heatmap", exemplar=True),
        "s",
        size=(6, 8),
    )


# --- tokens ---------------------------------------------------------------------------------------------------------
def _tokens(*by: str) -> str:
    return promql.per_minute(names.CLIENT_TOKENS, *by, matchers=_CHOSEN, part="_sum")


def _tokens_by_type() -> Panel:
    return timeseries(
        "Tokens a minute, by type",
        "Input and output; input includes what the provider read from its cache.",
        [Target(expr=_tokens(_TOKEN_TYPE), legend=common.legend(_TOKEN_TYPE))],
        "short",
        stacked=True,
    )


def _tokens_by_model() -> Panel:
    return timeseries(
        "Tokens a minute, by model",
        "Input and output together.",
        [Target(expr=_tokens(*_BY), legend=_NAME)],
        "short",
        stacked=True,
    )


def _tokens_a_call() -> Panel:
    return timeseries(
        "Tokens of a call, p95",
        "One in twenty calls has more. Growing input means growing prompts, histories or tool results.",
        [
            Target(
                expr=promql.quantile(0.95, names.CLIENT_TOKENS, promql.MODEL, _TOKEN_TYPE, matchers=_CHOSEN),
                legend=common.legend(promql.MODEL, _TOKEN_TYPE),
                exemplar=True,
            )
        ],
        "short",
    )


# --- cost -----------------------------------------------------------------------------------------------------------
def _spent(window: str, *by: str) -> str:
    return promql.sum_by(promql.increase(promql.series(names.CLIENT_COST, *_CHOSEN), window), *by)


def _cost_by_model() -> Panel:
    return timeseries(
        "Cost an hour, by model",
        "USD of the hour before each point; calls with a known price.",
        [Target(expr=_spent(records.duration(HOUR), *_BY), legend=_NAME)],
        "currencyUSD",
        stacked=True,
        links=links.model_traces(links.LABEL),
    )


def _unpriced(objectives: Objectives) -> Panel:
    alert = objectives.alert("unpriced-tokens")
    tokens = promql.series(records.UNPRICED.over(alert.window), *_CHOSEN)
    return timeseries(
        "Tokens without a price, by model",
        f"Of the last {records.duration(alert.window)}, by model. `prices:` of otel-tools.yaml gives a model a price.",
        [Target(expr=f"{promql.sum_by(tokens, *_BY)} > 0", legend=_NAME)],
        "short",
        none="every token has a price",
        links=links.runbooks(objectives, alert.name),
    )


def _models() -> Panel:
    calls = promql.increase(promql.series(names.CLIENT_DURATION, *_CHOSEN, part="_count"), promql.RANGE)
    tokens = promql.increase(promql.series(names.CLIENT_TOKENS, *_CHOSEN, part="_sum"), promql.RANGE)
    columns = [
        Column(title="Model", label=promql.MODEL, links=links.model_traces(links.COLUMN)),
        Column(title="Provider", label=promql.PROVIDER),
        Column(title="Service", label=promql.SERVICE),
        Column(title="Calls", expr=promql.sum_by(calls, *_BY), unit="short", decimals=0),
        Column(title="Tokens", expr=promql.sum_by(tokens, *_BY), unit="short", decimals=0),
        Column(title="Cost", expr=_spent(promql.RANGE, *_BY), unit="currencyUSD", decimals=2),
    ]
    return table(
        "Models, the most expensive first",
        "Over the time shown.",
        columns,
        sort="Cost",
        size=(24, 7),
    )
