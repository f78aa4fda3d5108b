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
}
"""Name -> what `--help` says of it, so that showing help imports none of them."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  same
        if cmd_name not in COMMANDS:
            return None
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
