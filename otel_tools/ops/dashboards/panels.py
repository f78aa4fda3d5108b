"""Builders of panels in Grafana's classic schema. A panel is a plain dict; `layout` gives it its id and its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Panel: TypeAlias = dict[str, Any]
Json: TypeAlias = dict[str, Any]
Words: TypeAlias = Mapping[float | str, tuple[str, str]]
"""A value -> what is shown in its place, and in which color."""

DATASOURCE: Final = {"type": "prometheus", "uid": "${prometheus_datasource}"}
GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "#808080"
SEVERITY: Final = {"warning": ORANGE, "critical": RED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A query of a panel.

    Args:
        legend: What its series are called, from their labels.
        exemplar: Show the traces behind a histogram as dots.
        instant: Only how it is now: for numbers and tables.
        format: `time_series`, `table` or `heatmap`.
    """

    expr: str
    legend: str = ""
    exemplar: bool = False
    instant: bool = False
    format: str = "time_series"

    def json(self, ref: str) -> Json:
        """As Grafana has it."""
        return {
            "refId": ref,
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expr,
            "legendFormat": self.legend,
            "exemplar": self.exemplar,
            "instant": self.instant,
            "range": not self.instant,
            "format": self.format,
        }


@dataclass(frozen=True, slots=True)
class Step:
    """A value from which on something is shown in *color*."""

    value: float
    color: str


def panel(
    kind: str,
    title: str,
    description: str,
    targets: Sequence[Target],
    options: Json,
    *,
    defaults: Json,
    size: tuple[int, int],
    overrides: Sequence[Json] = (),
    transformations: Sequence[Json] = (),
    links: Sequence[Json] = (),
) -> Panel:
    """Any panel; *size* is its width and height in units of the grid, of which 24 make a line."""
    made: Panel = {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"w": size[0], "h": size[1]},
        "targets": [target.json(chr(ord("A") + number)) for number, target in enumerate(targets)],
        "options": options,
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
    }
    if transformations:
        made["transformations"] = list(transformations)
    if links:
        made["links"] = list(links)
    return made


def thresholds(steps: Sequence[Step], base: str = GREEN) -> Json:
    """*base* below the first of *steps*."""
    first: Json = {"color": base, "value": None}
    return {"mode": "absolute", "steps": [first, *({"color": it.color, "value": it.value} for it in steps)]}


def mappings(words: Words) -> list[Json]:
    """Values that stand for words: value -> word and color."""
    named = {
        f"{value:g}" if isinstance(value, float) else value: {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(words.items())
    }
    return [{"type": "value", "options": named}]


# --- over time ------------------------------------------------------------------------------------------------------
def timeseries(
    title: str,
    description: str,
    targets: Sequence[Target],
    unit: str,
    *,
    size: tuple[int, int] = (8, 8),
    lines: Sequence[Step] = (),
    stacked: bool = False,
    bars: bool = False,
    links: Sequence[Json] = (),
    top: float | None = None,
    none: str = "",
    overrides: Sequence[Json] = (),
) -> Panel:
    """Lines over time, or bars, with the thresholds *lines* drawn across.

    *none* is what an empty panel says where it is right that there is nothing.
    """
    defaults: Json = {
        "unit": unit,
        "min": 0,
        "color": {"mode": "palette-classic"},
        "thresholds": thresholds(lines, base="transparent" if lines else GREEN),
        "custom": _custom(lines, stacked=stacked, bars=bars),
        "links": list(links),
    }
    if top is not None:
        defaults["max"] = top
    if none:
        defaults["noValue"] = none
    options = {"legend": _legend(), "tooltip": _tooltip(stacked=stacked)}
    return panel("timeseries", title, description, targets, options, defaults=defaults, size=size, overrides=overrides)


def _custom(lines: Sequence[Step], *, stacked: bool, bars: bool) -> Json:
    return {
        "drawStyle": "bars" if bars else "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 70 if bars else 25 if stacked else 5,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if lines else "off"},
        # so that a line is in sight before it is crossed
        **({"axisSoftMax": max(line.value for line in lines)} if lines else {}),
    }


def _legend() -> Json:
    return {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}


def _tooltip(*, stacked: bool) -> Json:
    return {"mode": "multi", "sort": "none" if stacked else "desc", "hideZeros": stacked}


def timeline(
    title: str,
    description: str,
    targets: Sequence[Target],
    words: Words,
    *,
    size: tuple[int, int] = (12, 8),
    links: Sequence[Json] = (),
) -> Panel:
    """States over time: each number is one of *words*."""
    defaults: Json = {
        "unit": "none",
        "color": {"mode": "thresholds"},
        "thresholds": thresholds((), base=GREY),
        "mappings": mappings(words),
        "custom": {"lineWidth": 0, "fillOpacity": 80, "spanNulls": False},
        "links": list(links),
    }
    options = {
        "mergeValues": True,
        "showValue": "auto",
        "alignValue": "left",
        "rowHeight": 0.8,
        "legend": {**_legend(), "showLegend": False},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return panel("state-timeline", title, description, targets, options, defaults=defaults, size=size)


def heatmap(title: str, description: str, target: Target, unit: str, *, size: tuple[int, int] = (8, 8)) -> Panel:
    """How the values of a histogram are spread over its buckets."""
    options: Json = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": "short"},
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "scale": "exponential",
            "exponent": 0.5,
            "fill": "dark-orange",
            "steps": 64,
            "reverse": False,
        },
        "exemplars": {"color": "rgba(31, 120, 193, 0.9)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": True},
        "yAxis": {"unit": unit, "axisPlacement": "left"},
    }
    defaults: Json = {"custom": {"scaleDistribution": {"type": "linear"}}}
    return panel("heatmap", title, description, [target], options, defaults=defaults, size=size)


# --- now ------------------------------------------------------------------------------------------------------------
def stat(
    title: str,
    description: str,
    targets: Sequence[Target],
    unit: str,
    *,
    size: tuple[int, int] = (4, 4),
    steps: Sequence[Step] = (),
    base: str = GREEN,
    overrides: Sequence[Json] = (),
    links: Sequence[Json] = (),
    words: Words | None = None,
    none: str = "",
    decimals: int | None = None,
) -> Panel:
    """Numbers as they are now, coloured by *steps*; *none* is said where it is right that there is none."""
    defaults: Json = {
        "unit": unit,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds(steps, base),
        "mappings": mappings(words) if words else [],
        "links": list(links),
    }
    if none:
        defaults["noValue"] = none
    if decimals is not None:
        defaults["decimals"] = decimals
    options: Json = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showPercentChange": False,
        "textMode": "value_and_name" if len(targets) > 1 else "value",
        "wideLayout": True,
    }
    return panel("stat", title, description, targets, options, defaults=defaults, size=size, overrides=overrides)


def override(name: str, **properties: Any) -> Json:
    """What holds for the field *name* only; a dot in the id of a property is written `__`."""
    changed = [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": changed}
