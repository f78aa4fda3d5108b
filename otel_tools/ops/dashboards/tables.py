"""Tables whose columns are queries, joined by the labels that they have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from otel_tools.ops.dashboards.panels import Json, Panel, Step, Target, Words, mappings, override, panel, thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: a label of the rows, or a number with its query.

    Args:
        title: What stands at its top.
        label: The label that it shows; *expr* is the query otherwise.
        steps: From which values on it is coloured.
        words: Numbers that stand for words.
        links: Where a click leads.
        wide: Its width in pixels.
    """

    title: str
    label: str = ""
    expr: str = ""
    unit: str = "none"
    decimals: int | None = None
    steps: Sequence[Step] = ()
    words: Words = field(default_factory=dict)
    links: Sequence[Json] = ()
    wide: int | None = None


def table(
    title: str,
    description: str,
    columns: Sequence[Column],
    *,
    sort: str,
    size: tuple[int, int],
    ascending: bool = False,
    none: str = "",
) -> Panel:
    """A table, sorted by the column titled *sort*, the greatest first; *none* is said where it is right to be empty."""
    numbers = [column for column in columns if column.expr]
    targets = [Target(expr=column.expr, instant=True, format="table", legend=column.title) for column in numbers]
    options: Json = {
        "cellHeight": "sm",
        "frameIndex": 0,
        "showHeader": True,
        "sortBy": [{"displayName": sort, "desc": not ascending}],
    }
    defaults: Json = {
        "unit": "none",
        "custom": {"align": "auto", "inspect": False, "cellOptions": {"type": "auto"}},
        "color": {"mode": "thresholds"},
        "thresholds": thresholds((), base="text"),
    }
    if none:
        defaults["noValue"] = none
    return panel(
        "table",
        title,
        description,
        targets,
        options,
        defaults=defaults,
        size=size,
        overrides=[_override(column) for column in columns],
        transformations=_joined(_fields(columns)),
    )


def _fields(columns: Sequence[Column]) -> dict[str, str]:
    """Name of a field in the answers -> title of the column."""
    numbers = [column.title for column in columns if column.expr]
    named = {title: f"Value #{chr(ord('A') + number)}" for number, title in enumerate(numbers)}
    if len(numbers) == 1:
        named = {numbers[0]: "Value"}  # Grafana numbers them only where there are several
    return {named.get(column.title, column.label): column.title for column in columns}


def _joined(fields: Mapping[str, str]) -> list[Json]:
    """One row for each set of labels, with only the columns that are wanted, in their order."""
    organized = {
        "excludeByName": {},
        "includeByName": {},
        "indexByName": {name: index for index, name in enumerate(fields)},
        "renameByName": dict(fields),
    }
    return [
        {"id": "merge", "options": {}},
        {"id": "filterFieldsByName", "options": {"include": {"names": list(fields)}}},
        {"id": "organize", "options": organized},
    ]


def _override(column: Column) -> Json:
    changed: dict[str, Any] = {"unit": column.unit} if column.expr else {}
    if column.decimals is not None:
        changed["decimals"] = column.decimals
    if column.wide is not None:
        changed["custom__width"] = column.wide
    if column.steps:
        changed["thresholds"] = thresholds(column.steps)
    if column.words:
        changed["mappings"] = mappings(column.words)
    if column.steps or column.words:
        changed["custom__cellOptions"] = {"type": "color-background", "mode": "basic"}
    if column.links:
        changed["links"] = list(column.links)
    return override(column.title, **changed)
