"""What the reading commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from otel_tools.cli import overviews
from otel_tools.cli.reach import options as reach_options
from otel_tools.cli.reach import reach
from otel_tools.cli.views import Section
from otel_tools.cli.watch import console

_F = TypeVar("_F", bound=Callable[..., Any])


def options(function: _F) -> _F:
    """The options of a command that reads."""
    return reach_options(click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function))


def show(
    path: str, table: Callable[[Mapping[str, Any]], Section], *, circuits: bool, as_json: Any, **where: Any
) -> None:
    """Print what *path* answers; exit with 1 where a part is missing, because the store cannot be read."""
    service = reach(**where)
    found = service.read(path)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        screen = console()
        screen.print(table(found))
        set_ = overviews.overrides(found, circuits=circuits)
        if set_ is not None:
            screen.print()
            screen.print(set_)
    if found["overrides"]["problem"]:
        click.echo(f"Error: {found['overrides']['problem']}", err=True)
        sys.exit(1)
