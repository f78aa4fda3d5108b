"""The `otel-tools` command. Each subcommand is a module of this package with a `command`, imported when it is used."""

from __future__ import annotations

import importlib
from typing import Any, Final

import click

from otel_tools.errors import OtelToolsError
from otel_tools.version import __version__

COMMANDS: Final = {
    "demo": "See it work: an agent, a failing dependency and what otel-tools makes of it.",
    "watch": "Receive OTLP on this machine and show sessions, tools, circuits and alerts live.",
    "doctor": "Check installation, configuration and what is patched.",
    "tools": "Show the tools and LLM clients of a service, over all its processes.",
    "circuits": "Show the circuits of a service, over all its processes.",
    "disable": "Refuse all calls of a tool in all processes, at once and without a deployment.",
    "enable": "Take `disable` back.",
    "force-open": "Open a circuit by hand.",
    "bypass": "Switch a circuit breaker off, not the tool.",
    "metrics-only": "Let a circuit breaker count, but refuse nothing.",
    "reset": "Close a circuit, and take back what is set on it by hand.",
    "runbook": "Render the runbook of a tool, of all tools, of the alerts.",
    "rules": "Render recording, alert and burn-rate rules for Prometheus.",
    "dashboards": "Render dashboards for Grafana.",
}
"""Name -> what `--help` says of it, so that showing help imports none of them."""

_STEERING: Final = frozenset({"disable", "enable", "force-open", "bypass", "metrics-only", "reset"})
"""Those that are in one module, by a table."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  same
        if cmd_name not in COMMANDS:
            return None
        if cmd_name in _STEERING:
            steer = importlib.import_module("otel_tools.cli.steer")
            return steer.commands[cmd_name]  # type: ignore[no-any-return]  # of a module by its name
        command: click.Command = importlib.import_module(f"otel_tools.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  same
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OtelToolsError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="otel-tools", message="%(prog)s %(version)s")
def main() -> None:
    """OpenTelemetry and policy for LLM agents, without a code change.

    New here? Run `otel-tools demo`.
    """
