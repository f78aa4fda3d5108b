"""`otel-tools runbook`: a page for each tool and each alert, from the configuration and the running processes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from otel_tools import config, steering
from otel_tools.cli.reach import options as reach_options
from otel_tools.cli.reach import reach
from otel_tools.cli.rendering import CHECK, OUT, deliver
from otel_tools.control.places import DEFAULT_SERVICE
from otel_tools.errors import OtelToolsError
from otel_tools.ops.objectives import objectives
from otel_tools.ops.runbooks import tool as tool_page
from otel_tools.ops.runbooks import tools as tool_pages
from otel_tools.ops.runbooks.alerts import render as alerts_of
from otel_tools.ops.runbooks.facts import Facts, Place, Registry, facts
from otel_tools.settings import Settings

_FOLDER: Final = "tools"
"""Where the pages of tools are, beside those of the alerts."""


@click.command()
@click.argument("tool", required=False)
@click.option("--all", "every", is_flag=True, help="The page of every tool that the configuration or a process knows.")
@click.option("--alerts", is_flag=True, help="The page of every alert.")
@OUT
@CHECK
@reach_options
def command(tool: str | None, out: Path | None, *, every: bool, alerts: bool, check: bool, **where: str | None) -> None:
    """Render runbooks: of one TOOL, of all of them, of the alerts.

    A tool's page says whom it depends on, what users see when it fails, what to look at first, what to do about each
    kind of error, and how to contain it without a deployment. It is made of `otel-tools.yaml` and of what running
    processes say; what neither knows is shown as missing. Without --out the page of one tool is printed, with what
    the processes say at this moment. With it, pages of alerts are written to DIR, those of tools to DIR/tools.
    """
    if not (tool or every or alerts):
        raise click.UsageError("which runbook? Name a TOOL, or say --all or --alerts")
    if tool and every:
        raise click.UsageError("--all is every tool: leave out the name, or --all")
    settings = config.load()
    pages = dict(alerts_of(objectives(settings))) if alerts else {}
    if every or tool:
        known = _Known(settings, where)
        if tool is not None and out is None and not (alerts or check):
            click.echo(known.printed(tool), nl=False)
            return
        pages |= known.all() if tool is None else known.one(tool)
    deliver(pages, out, check=check)


# --- tools ----------------------------------------------------------------------------------------------------------
class _Known:
    """The configuration, and what the processes of the service say.

    Args:
        settings: The configuration.
        where: The options that say which service is meant.
    """

    def __init__(self, settings: Settings, where: Mapping[str, str | None]) -> None:
        self._settings = settings
        self._links = objectives(settings).links
        self._registry = _registry(where)
        self._service = _service(settings, where, self._registry)
        self._place = _place(settings, where, self._service)

    @property
    def _names(self) -> list[str]:
        return sorted({*self._settings.tools, *(row["name"] for row in self._registry.tools)})

    def all(self) -> dict[str, str]:
        """The page of every tool, and their index."""
        pages = tool_pages.render([self._facts(name) for name in self._names])
        return {f"{_FOLDER}/{file}": text for file, text in pages.items()}

    def one(self, tool: str) -> dict[str, str]:
        """The page of *tool*."""
        name = self._checked(tool)
        return {f"{_FOLDER}/{tool_pages.file_name(name)}": tool_page.render(self._facts(name))}

    def printed(self, tool: str) -> str:
        """The page of *tool*, with what the processes say at this moment."""
        return tool_page.render(self._facts(self._checked(tool)), live=True)

    def _facts(self, name: str) -> Facts:
        return facts(
            name,
            self._settings,
            self._registry,
            service=self._service,
            place=self._place,
            links=self._links,
        )

    def _checked(self, tool: str) -> str:
        """The name of *tool*, with a word of doubt if nobody knows it."""
        kind, name = steering.parse(tool)
        if kind == "client":
            raise click.UsageError(f"{name} is an LLM client: see the page of OtelToolsLLMErrorRateHigh (--alerts)")
        if name not in self._names:
            close = difflib.get_close_matches(name, self._names, 1, 0.6)
            hint = f" Did you mean {close[0]}?" if close else ""
            click.echo(f"Note: neither the configuration nor a running process knows {name}.{hint}", err=True)
        return name


# --- processes ------------------------------------------------------------------------------------------------------
def _service(settings: Settings, where: Mapping[str, str | None], registry: Registry) -> str | None:
    """What the service is called, `None` if nobody says."""
    running = {process["service"] for process in registry.processes} - {DEFAULT_SERVICE}
    named = where["service"] or settings.control.service or config.service_name()
    return named or (running.pop() if len(running) == 1 else None)


def _registry(where: Mapping[str, str | None]) -> Registry:
    """What cannot be read is said on the page: it is needed most when something is broken."""
    try:
        service = reach(where["service"], where["store"], where["url"])
        return Registry.read(service.read("/tools"), service.read("/circuits"))
    except click.UsageError:
        raise
    except (OtelToolsError, click.ClickException) as error:
        problem = error.message if isinstance(error, click.ClickException) else str(error)
        click.echo(f"Note: the running processes could not be asked: {problem}", err=True)
        return Registry(problem=problem)


def _place(settings: Settings, where: Mapping[str, str | None], service: str | None) -> Place:
    if where["url"] is not None:
        told = "From where that admin server can be reached, its token in `OTEL_TOOLS_ADMIN_TOKEN`."
        return Place(options=("--url", where["url"]), where=told)
    options = ("--service", service) if service else ()
    store = where["store"] or settings.control.store
    if store is None:
        told = "There is no store here (`control.store: false`): add `--url` of an admin server to each command."
        return Place(options=options, where=told)
    if "://" in store:
        told = "From anywhere that reaches the store, with the program's `otel-tools.yaml` or `OTEL_TOOLS_STORE`."
        return Place(options=options, where=told)
    told = "On each machine that runs the program, as its user, with its `otel-tools.yaml` or `OTEL_TOOLS_STORE`."
    return Place(options=options, where=told)
