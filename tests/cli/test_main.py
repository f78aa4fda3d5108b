"""The `otel-tools` command as a whole."""

from __future__ import annotations

import importlib
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from otel_tools import cli
from otel_tools.errors import ConfigError
from otel_tools.version import __version__


def _run(*arguments):
    return CliRunner().invoke(cli.main, arguments, prog_name="otel-tools")


def test_the_version():
    """Name and version, for bug reports."""
    result = _run("--version")
    assert (result.exit_code, result.output) == (0, f"otel-tools {__version__}\n")


def test_help_names_every_command_and_imports_none():
    """Help is quick: it comes from the table, not from the modules."""
    script = (
        "import sys; from otel_tools.cli import main; main(['--help'], standalone_mode=False); "
        "print([name for name in ('grpc', 'rich.live', 'otel_tools.cli.demo') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert all(f"  {name} " in output for name in cli.COMMANDS)
    assert output.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_says_what_it_does(name):
    """Each module exports `command`, which has a help text."""
    command = cli.main.get_command(None, name)
    assert isinstance(command, click.Command)
    assert _run(name, "--help").exit_code == 0
    assert command.help


def test_no_arguments_show_the_help():
    """Who types just the name learns what there is."""
    assert "Commands:" in _run().output


def test_an_unknown_command_is_one_line():
    """Click's usage error, with its exit code."""
    result = _run("wach")
    assert result.exit_code == 2
    assert "No such command 'wach'" in result.output


def test_our_own_errors_are_one_line(monkeypatch):
    """No traceback for what the user can put right."""

    @click.command()
    def broken():
        raise ConfigError("otel-tools.yaml, line 3: timeout: must be a duration")

    monkeypatch.setattr(importlib.import_module("otel_tools.cli.watch"), "command", broken)
    result = _run("watch")
    assert (result.exit_code, result.output) == (1, "Error: otel-tools.yaml, line 3: timeout: must be a duration\n")
