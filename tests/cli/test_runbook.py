"""`otel-tools runbook`: what it prints, what it writes, and whom it asks."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from otel_tools.cli import main
from otel_tools.control.file import FileStore
from otel_tools.control.report import Report, ToolReport, this_process
from otel_tools.ops.objectives import DEFAULTS
from otel_tools.ops.runbooks import alerts

NOBODY = "Note: neither the configuration nor a running process knows"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """A configuration with two tools, a store of the test's own, and no service named."""
    (tmp_path / "otel-tools.yaml").write_text("mode: enforce\ntools:\n  search: {owner: shop}\n  mail: {}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_TOOLS_STORE", str(tmp_path / "base"))
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TOOLS_CONFIG", "OTEL_TOOLS_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def publish(tmp_path):
    """Let a process of a service say that it has called these tools."""

    def report(service: str, *names: str) -> None:
        process = dataclasses.replace(this_process(service), id=service)
        tools = tuple(
            ToolReport(
                kind="tool",
                name=name,
                mode="enforce",
                criticality="critical",
                timeout=None,
                dependency=None,
                owner=None,
                in_flight=0,
                abandoned=0,
                max_in_flight=None,
                disabled=None,
                calls={"ok": 1},
                recent_calls=1,
                error_rate=0.0,
                last_error=None,
            )
            for name in names
        )
        FileStore(tmp_path / "base", service).publish(Report(process=process, at=time.time(), tools=tools))

    return report


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, output, and what is said beside it."""
    result = CliRunner().invoke(main, ("runbook", *arguments), prog_name="otel-tools")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# --- one tool -------------------------------------------------------------------------------------------------------
def test_a_tool_is_printed_with_what_processes_say(publish):
    """The service is the only one that runs; every command names it."""
    publish("shop", "search")
    code, page, beside = run("search")
    assert (code, beside) == (0, "")
    assert "* Service: shop" in page
    assert "1 process reporting." in page
    assert "* calls since the processes began: 1 `ok`; 0% errors among the last 1" in page
    assert "otel-tools disable search --reason 'INC-0000: what is wrong' --for 30m --service shop\n" in page
    assert "Rendered by `otel-tools runbook search --service shop` from `otel-tools.yaml`" in page


def test_it_works_without_a_process():
    """And says what then is unknown."""
    code, page, beside = run("search")
    assert (code, beside) == (0, "")
    assert "**No running process has reported.**" in page
    assert "* Service: **unknown**" in page
    assert "--service" not in page


def test_a_name_that_nobody_knows_is_doubted():
    """It may be a slip of the pen, or a tool to come."""
    assert run("serch")[::2] == (0, f"{NOBODY} serch. Did you mean search?\n")
    assert run("xyz")[::2] == (0, f"{NOBODY} xyz.\n")
    assert run("--", "-x")[::2] == (0, f"{NOBODY} -x.\n")


def test_a_store_that_cannot_be_read_is_said_on_the_page(tmp_path, publish):
    """A runbook is needed most when something is broken."""
    publish("shop", "search")
    store = FileStore(tmp_path / "base", "shop")
    store.change(lambda document: document)
    store._path.write_text("{")
    code, page, _ = run("search")
    assert code == 0
    assert "**Not all is known**: " in page
    assert "is damaged, it holds no JSON" in page
    assert "1 process reporting." in page


def test_without_a_store_commands_need_a_server(monkeypatch):
    """The page is there all the same."""
    monkeypatch.setenv("OTEL_TOOLS_STORE", "false")
    code, page, beside = run("search")
    assert code == 0
    assert beside.startswith(
        "Note: the running processes could not be asked: the configuration says control.store: false"
    )
    assert "**Not all is known**: the configuration says control.store: false" in page
    assert "There is no store here (`control.store: false`): add `--url` of an admin server to each command." in page


def test_a_password_of_the_store_is_on_no_page(monkeypatch):
    """Commands read it where the program does."""
    monkeypatch.setenv("OTEL_TOOLS_STORE", "redis://me:hunter2@127.0.0.1:1/0")
    _, page, beside = run("search", "--service", "shop")
    assert "hunter2" not in page + beside
    assert "From anywhere that reaches the store" in page


def test_several_services_are_one_too_many(publish):
    """One is asked to name one."""
    publish("a", "search")
    publish("b", "search")
    code, _, beside = run("search")
    assert (code, beside.splitlines()[-1]) == (
        2,
        "Error: several services are running: a, b; say which one: --service NAME",
    )
    assert run("search", "--service", "a")[0] == 0


def test_an_admin_server_is_asked(server):
    """Commands on the page go through it, too; one that is not there is said on the page."""
    now = time.time()
    overrides = {"directives": [], "problem": None, "reaches": "process"}
    server.reply({"at": now, "processes": [], "tools": [], "overrides": overrides})
    server.reply({"at": now, "processes": [], "circuits": [], "overrides": overrides})
    code, page, beside = run("search", "--url", server.url)
    assert (code, beside) == (0, "")
    assert [one.path for one in server.requests] == ["/admin/tools", "/admin/circuits"]
    assert f"otel-tools tools --url {server.url}\n" in page
    assert "From where that admin server can be reached" in page
    code, page, beside = run("search", "--url", "http://127.0.0.1:1")
    problem = "http://127.0.0.1:1/admin cannot be reached: Connection refused"
    assert (code, beside) == (0, f"Note: the running processes could not be asked: {problem}\n")
    assert f"**Not all is known**: {problem}." in page


# --- files ----------------------------------------------------------------------------------------------------------
def test_all_tools_and_alerts_are_written_and_checked(tmp_path, publish):
    """Those of the configuration and those that run; a page in a file has no snapshot, so that it can be compared."""
    publish("shop", "search", "new tool")
    out = tmp_path / "out"
    assert run("--all", "--alerts", "--out", str(out))[0] == 0
    pages = alerts.render(DEFAULTS)
    assert {name for name in files(out) if "/" not in name} == set(pages)
    tools = sorted(name for name in files(out) if "/" in name)
    assert [name for name in tools if "~" not in name] == ["tools/README.md", "tools/mail.md", "tools/search.md"]
    assert len(tools) == 4
    assert (out / "tool-slow.md").read_text() == pages["tool-slow.md"]
    assert "Right now" not in (out / "tools/search.md").read_text()
    assert run("--all", "--alerts", "--out", str(out), "--check")[0] == 0
    (out / "tools/mail.md").write_text("by hand")
    code, _, beside = run("--all", "--out", str(out), "--check")
    assert code == 1
    assert "tools/mail.md" in beside
    assert run("mail", "--out", str(out), "--check")[0] == 1
    assert run("mail", "--out", str(out))[0] == 0
    assert run("--all", "--out", str(out), "--check")[0] == 0


def test_alerts_ask_no_process(monkeypatch):
    """They are the same wherever they are rendered."""
    monkeypatch.setattr("otel_tools.cli.runbook.reach", None)
    code, output, _ = run("--alerts")
    assert code == 0
    assert "# OtelToolsToolErrorRateHigh" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "which runbook? Name a TOOL, or say --all or --alerts"),
        (("search", "--all"), "--all is every tool: leave out the name, or --all"),
        (("client:openai",), "openai is an LLM client: see the page of OtelToolsLLMErrorRateHigh (--alerts)"),
        (("search", "--check"), "--check needs --out DIR, the folder to look at"),
    ],
)
def test_what_cannot_be_right_is_a_usage_error(arguments, message):
    """One line, exit code 2."""
    code, _, beside = run(*arguments)
    assert (code, beside.splitlines()[-1]) == (2, f"Error: {message}")


def test_a_wrong_configuration_is_one_line(tmp_path):
    """With the key."""
    (tmp_path / "otel-tools.yaml").write_text("tools: {search: {timeout: soon}}\n")
    code, _, beside = run("search")
    assert code == 1
    assert "tools.search.timeout: must be a duration" in beside
