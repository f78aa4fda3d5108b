"""`otel-tools disable` and its kin, `tools` and `circuits`: through a store and through an admin server."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import threading
import time
from urllib.parse import unquote

import pytest
from click.testing import CliRunner
from rich.text import Text

import otel_tools
from otel_tools import config, schema, semconv
from otel_tools.cli import doctor, main, overviews, steer, text
from otel_tools.cli.store import StoreReport, examine
from otel_tools.control import controller
from otel_tools.control.directives import Directive
from otel_tools.control.file import FileStore
from otel_tools.control.report import Report, this_process
from otel_tools.policy.circuit import Action
from otel_tools.settings import Control

WHY = ("--reason", "pool [red]exhausted[/]", "--actor", "ann")
FOR = f"Invalid value for '--for': must be {schema.duration.allowed}"


WITHIN_A_YEAR = "expires_after must be more than 0 and at most 31622400 seconds (366 days), or None for never"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """An empty working directory, a store of the test's own, and no service named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_TOOLS_STORE", str(tmp_path / "base"))
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TOOLS_CONFIG", "OTEL_TOOLS_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(steer, "_POLL", 0.01)


@pytest.fixture
def stores(tmp_path):
    """The store of a service."""
    return lambda service="shop": FileStore(tmp_path / "base", service)


@pytest.fixture
def program(recorder, stores, monkeypatch):
    """This process as one of service `shop`, with two tools of which one fails; it looks and reports often."""
    monkeypatch.setattr(controller, "COUNTERS", 0.0)
    recorder.instrument(control={"service": "shop", "interval": 0.02}, mode="enforce")

    @otel_tools.tool
    def search_kb(query):
        return query

    @otel_tools.tool
    def mail(to):
        raise OSError("secret")

    search_kb("x")
    with pytest.raises(OSError, match="secret"):
        mail("x")
    eventually(lambda: called(stores()) == {"search_kb": {"ok": 1}, "mail": {"error": 1}})
    yield search_kb
    otel_tools.uninstrument()


def called(store) -> dict[str, dict[str, int]]:
    """The calls that this process has told of."""
    return {tool.name: tool.calls for report in store.reports() for tool in report.tools}


def eventually(condition) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "it has not happened"
        time.sleep(0.005)


def other(service="shop", **given) -> Report:
    """The report of a process that takes no orders."""
    process = dataclasses.replace(this_process(service), **{"id": "other", "host": "far", "pid": 7} | given)
    return Report(process=dataclasses.replace(process, program="worker.py"), at=time.time())


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments, prog_name="otel-tools")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def waits(monkeypatch, seconds: float) -> None:
    monkeypatch.setattr(steer, "WAIT", seconds)


def test_an_incident_need_not_wait_for_words(program, stores):
    """A reason is asked for, not demanded."""
    assert run("disable", "search_kb", "--for", "1m")[0] == 0
    [directive] = stores().read().directives
    assert directive.reason == "by hand, no reason given"


# --- writing --------------------------------------------------------------------------------------------------------
def test_a_tool_is_disabled_and_enabled(program, stores):
    """The command waits until the running process says that it has it."""
    code, output = run("disable", "search_kb", *WHY, "--for", "30m")
    [directive] = stores().read().directives
    until = text.clock(directive.expires_at)
    assert (code, output) == (0, f"1 of 1 processes refuse search_kb now, until {until}.\n")
    assert (directive.kind, directive.name, directive.action) == ("tool", "search_kb", Action.DISABLE)
    assert (directive.reason, directive.actor) == (WHY[1], "ann")
    assert directive.expires_at == directive.set_at + 1800
    with pytest.raises(otel_tools.ToolDisabled):
        program("x")
    assert run("enable", "search_kb") == (0, "1 of 1 processes admit calls of search_kb now.\n")
    assert program("x") == "x"


@pytest.mark.parametrize(
    ("command", "action", "told", "state"),
    [
        ("force-open", Action.FORCE_OPEN, "have the circuit of mail open now", "forced_open"),
        ("bypass", Action.BYPASS, "bypass the circuit of mail now", "disabled"),
        ("metrics-only", Action.METRICS_ONLY, "only count with the circuit of mail now", "metrics_only"),
    ],
)
def test_circuits_are_steered_until_they_are_reset(program, stores, command, action, told, state):
    """Each has its own state, and `reset` ends it."""
    assert run(command, "mail", *WHY) == (0, f"1 of 1 processes {told}, until it is reset.\n")
    assert [(one.name, one.action, one.expires_at) for one in stores().read().directives] == [("mail", action, None)]
    assert otel_tools.circuits()["mail"].circuit.state == state
    assert run("reset", "mail") == (0, "1 of 1 processes have the circuit of mail closed now.\n")
    assert otel_tools.circuits()["mail"].circuit.state == "closed"


@pytest.mark.parametrize("words", [("client:openai",), ("openai", "--client")])
def test_clients_are_steered(program, stores, words):
    """By their prefix or by the option; the actor is who runs the command."""
    code, output = run("force-open", *words, "--reason", "why")
    assert code == 0
    assert "1 of 1 processes have the circuit of client:openai open now, until it is reset." in output
    [one] = stores().read().directives
    assert (one.kind, one.name) == ("client", "openai")
    assert one.actor.endswith(f"@{this_process('shop').host}")


def test_a_name_that_nobody_has_called_is_accepted_and_doubted(program, stores):
    """It may be a slip of the pen, or a tool to come."""
    code, output = run("disable", "serch_kb", "--reason", "why")
    assert code == 0
    assert output.splitlines() == [
        "1 of 1 processes refuse serch_kb now, until it is enabled.",
        "Note: no process has called serch_kb yet. Did you mean search_kb?",
    ]
    assert run("disable", "xyz", "--reason", "why")[1].splitlines()[1:] == ["Note: no process has called xyz yet."]


def test_without_a_process_it_holds_for_those_to_come(stores):
    """And says so."""
    code, output = run("disable", "search_kb", "--reason", "why", "--service", "shop")
    later = "Those that start or make their first call refuse search_kb, until it is enabled."
    assert (code, output) == (0, f"No process of service shop has reported. {later}\n")
    assert [one.name for one in stores().read().directives] == ["search_kb"]


def test_a_process_that_does_not_answer_is_named(program, stores, monkeypatch):
    """After two seconds, which this test shortens."""
    waits(monkeypatch, 1.0)
    stores().publish(other())
    code, output = run("disable", "search_kb", "--reason", "why")
    assert code == 0
    assert output.splitlines() == [
        "1 of 2 processes refuse search_kb now, until it is enabled.",
        "  not yet: worker.py, process 7 on far",
    ]


def test_what_code_of_a_process_has_set_is_told(program, stores, monkeypatch):
    """The store does not lift it."""
    waits(monkeypatch, 0.2)
    otel_tools.disable_tool("search_kb", "by code", actor="deploy")
    eventually(lambda: any(tool.disabled for report in stores().reports() for tool in report.tools))
    code, output = run("enable", "search_kb")
    me = this_process("shop")
    assert code == 0
    assert output.splitlines() == [
        "0 of 1 processes admit calls of search_kb now.",
        f"  not yet: {me.program}, process {me.pid} on {me.host} (disabled by its own code: by code, deploy)",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("disable", "x", "--reason", ""), "reason must be one line of 1 to 500 printable characters, not ''."),
        (("disable", "", "--reason", "y"), "name must be one line of 1 to 500 printable characters, not ''."),
        (
            ("disable", "x", "--reason", "y", "--for", "soon"),
            f"{FOR}, not 'soon'",
        ),
        (("disable", "x", "--reason", "y", "--for", "0"), f"{FOR}, not '0'"),
        (
            ("disable", "x", "--reason", "y", "--for", "-5m"),
            f"{FOR}, not '-5m'",
        ),
        (
            ("disable", "x", "--reason", "y", "--for", "9999h"),
            f"{WITHIN_A_YEAR}, not 35996400.0.",
        ),
        *(
            (("enable", "x", "--url", url), "--url must be like http://127.0.0.1:9465, without user and password")
            for url in ("ftp://y", "http://", "http://y:z", "http://[::1", "http://ann:s3cret@y")
        ),
        (
            ("enable", "x", "--url", "http://y", "--service", "z"),
            "--url names a server, which knows its service and store: leave out the others",
        ),
        (("tools", "--store", "redis://localhost"), "which service? Say --service NAME, or set OTEL_SERVICE_NAME"),
    ],
)
def test_what_cannot_be_right_is_a_usage_error(arguments, message, stores):
    """One line, exit code 2, and nothing is written."""
    code, output = run(*arguments)
    assert (code, output.splitlines()[-1]) == (2, f"Error: {message}")
    assert stores().read().changes == ()


# --- which service --------------------------------------------------------------------------------------------------
def test_the_only_running_service_is_meant(stores):
    """Of several, one is asked to name one."""
    stores("a/b").publish(other("a/b"))
    assert "1 process: worker.py far:7" in run("tools")[1]
    run("disable", "search_kb", "--reason", "why", "--service", "other")
    stores("shop").publish(other())
    code, output = run("tools")
    last = "Error: several services are running: a/b, shop; say which one: --service NAME"
    assert (code, output.splitlines()[-1]) == (2, last)
    assert run("tools", "--service", "shop")[0] == 0


def test_the_environment_and_the_configuration_name_a_service(stores, monkeypatch, tmp_path):
    """As they do for the program; the option goes before both."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from-environment")
    run("disable", "x", "--reason", "why")
    (tmp_path / "otel-tools.yaml").write_text("control: {service: configured}\n")
    run("disable", "x", "--reason", "why")
    run("disable", "x", "--reason", "why", "--service", "given")
    for service in ("from-environment", "configured", "given"):
        assert len(stores(service).read().directives) == 1


def test_without_a_store_there_is_no_way(monkeypatch):
    """With what to do."""
    monkeypatch.setenv("OTEL_TOOLS_STORE", "false")
    code, output = run("tools")
    assert code == 1
    assert output.startswith("Error: the configuration says control.store: false")
    assert "--url" in output


def test_a_damaged_store_is_not_overwritten(stores):
    """Reads show what there is and fail; writes fail and change nothing."""
    store = stores()
    store.change(lambda document: document)
    store.publish(other())
    store._path.write_text("{")
    damaged = (
        f"Error: {store.label} is damaged, it holds no JSON. Put it right, or remove it, which lifts all overrides\n"
    )
    code, output = run("tools")
    assert code == 1
    assert output.endswith(damaged)
    assert "1 process: worker.py far:7" in output
    assert run("disable", "search_kb", "--reason", "why") == (1, damaged)
    assert store._path.read_text() == "{"


# --- reading --------------------------------------------------------------------------------------------------------
def test_tools_show_calls_errors_and_hands(program):
    """The worst first, with who disabled what; names of people and tools are not taken for markup."""
    run("disable", "search_kb", *WHY, "--for", "30m")
    code, output = run("tools")
    me, lines = this_process("shop"), [line.rstrip() for line in output.splitlines()]
    assert code == 0
    assert lines[0] == "Tools  errors of the last 100 calls of each process"
    assert lines[1].split() == ["Tool", "Calls", "Errors", "Running", "Disabled", "Last", "error", "Depends", "on"]
    assert lines[3].split()[:6] == ["mail", "1", "100%", "0", "-", "OSError"]
    assert lines[4].startswith("search_kb      1      0%        0  by ann, until ")
    assert lines[5] == f"1 process: {me.program} {me.host}:{me.pid}"
    assert lines[7] == "Set by operators  in all processes of the service"
    assert lines[10].split()[:3] == ["disabled", "search_kb", "ann"]
    assert lines[10].endswith("pool [red]exhausted[/]")
    assert "secret" not in output


def test_circuits_show_what_is_open(program):
    """Those that refuse come first."""
    run("force-open", "search_kb", *WHY)
    code, output = run("circuits")
    lines = [line.rstrip() for line in output.splitlines()]
    assert code == 0
    assert lines[0] == "Circuits  an open circuit refuses calls at once, until a probe succeeds"
    assert lines[3].split()[:3] == ["search_kb", "forced", "open"]
    assert lines[4].split()[:2] == ["mail", "closed"]
    assert lines[10].startswith("circuit forced open  search_kb  ann")
    assert "Set by operators" not in run("tools")[1]


def test_json_is_what_the_admin_server_answers(program):
    """For programs."""
    found = json.loads(run("tools", "--json")[1])
    assert [(row["kind"], row["name"], row["calls"]) for row in found["tools"]] == [
        ("tool", "mail", {"error": 1}),
        ("tool", "search_kb", {"ok": 1}),
    ]
    assert [process["pid"] for process in found["processes"]] == [os.getpid()]
    assert sorted(json.loads(run("circuits", "--json")[1])) == ["at", "circuits", "overrides", "processes"]


def test_nothing_to_show_says_so():
    """Also when a process will show from."""
    code, output = run("tools")
    assert code == 0
    assert output.splitlines()[1:] == [
        "  none called yet",
        "No process has reported; one does so from its first call on.",
    ]


def test_cells():
    """Times of other days have a date; shares are told where it is not all."""
    now = time.time()
    assert overviews.when(now - 90_000, now) == text.date(now - 90_000)
    assert overviews.until(None, now) == "it is lifted"
    assert (overviews.share_of(1, 2), overviews.share_of(2, 2)) == (" in 1/2", "")
    row = {"state": "open", "probe_in_flight": False, "retry_at": now}
    assert overviews._next_try(row, now) == text.clock(now)
    assert overviews._next_try(row | {"probe_in_flight": True}, now) == "probing"
    assert overviews._running({"abandoned": 2, "in_flight": 3}).plain == "2 abandoned"


# --- through an admin server ----------------------------------------------------------------------------------------
def answer(**given):
    rows = {"processes": [], "tools": [], "overrides": {"directives": [], "problem": None, "reaches": "process"}}
    return {"at": time.time(), **rows, **given}


def test_an_admin_server_is_asked(server, monkeypatch):
    """With the token from the environment, and the name percent-encoded."""
    monkeypatch.setenv("OTEL_TOOLS_ADMIN_TOKEN", "t0ken")
    for body in (answer(), {"expires_at": None}, answer()):
        server.reply(body)
    code, output = run("disable", "a/b", *WHY, "--for", "90s", "--url", server.url)
    later = "Those that start or make their first call refuse a/b, until it is enabled."
    where = f"the service at 127.0.0.1:{server.port}"
    assert (code, output) == (0, f"No process of {where} has reported. {later}\n")
    asked = [(one.method, unquote(one.path), one.headers["Authorization"]) for one in server.requests]
    assert asked == [
        ("GET", "/admin/tools", "Bearer t0ken"),
        ("POST", "/admin/tools/a/b/disable?kind=tool", "Bearer t0ken"),
        ("GET", "/admin/tools", "Bearer t0ken"),
    ]
    assert server.requests[1].path == "/admin/tools/a%2Fb/disable?kind=tool"
    assert server.requests[1].body == {"reason": WHY[1], "actor": "ann", "expires_after": 90.0}


def test_a_mounted_admin_server_is_asked_where_it_is(server):
    """A path in the URL is the place."""
    server.reply(answer())
    assert run("tools", "--url", f"{server.url}/internal/admin/")[0] == 0
    assert [one.path for one in server.requests] == ["/internal/admin/tools"]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (
            {"body": {"detail": "Send the token."}, "status": 401},
            "{url}/admin/tools answers 401: Send the token. Set OTEL_TOOLS_ADMIN_TOKEN for this command.",
        ),
        ({"body": "nothing here", "status": 404}, "{url}/admin/tools answers 404: Not Found"),
        (
            {"body": {}, "status": 302, "headers": {"Location": "http://127.0.0.1:1/"}},
            "{url}/admin/tools answers 302: Found",
        ),
        ({"body": [1]}, "{url}/admin does not answer as an admin server of otel-tools does"),
    ],
)
def test_what_an_admin_server_refuses_is_told(server, reply, message):
    """One line, exit code 1; a redirect is not followed with the token."""
    server.reply(**reply)
    assert run("tools", "--url", server.url) == (1, f"Error: {message.format(url=server.url)}\n")


def test_an_admin_server_that_is_not_there():
    """The cause, without a traceback."""
    code, output = run("tools", "--url", "http://127.0.0.1:1")
    assert (code, output) == (1, "Error: http://127.0.0.1:1/admin cannot be reached: Connection refused\n")


@pytest.fixture
def mumbler():
    """The URL of a server that does not speak HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def mumble() -> None:
            with contextlib.suppress(OSError):  # nobody came
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"-ERR unknown command\r\n")

        thread = threading.Thread(target=mumble)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_something_else_at_the_port(mumbler):
    """What does not speak HTTP is told, without a traceback."""
    message = f"Error: {mumbler}/admin does not answer as an admin server of otel-tools does\n"
    assert run("tools", "--url", mumbler) == (1, message)


def test_the_token_goes_to_no_proxy(server, mumbler, monkeypatch):
    """An address of this machine is asked itself, whatever proxy the environment names."""
    monkeypatch.setenv("http_proxy", mumbler)
    monkeypatch.setenv("OTEL_TOOLS_ADMIN_TOKEN", "t0ken\n")
    server.reply(answer())
    assert run("tools", "--url", server.url)[0] == 0
    assert [one.headers["Authorization"] for one in server.requests] == ["Bearer t0ken"]


@pytest.mark.parametrize("token", ["t\u20acken", "t0\nken"])
def test_a_token_that_cannot_be_sent(token, server, monkeypatch):
    """It says so, and does not blame the server."""
    monkeypatch.setenv("OTEL_TOOLS_ADMIN_TOKEN", token)
    code, output = run("tools", "--url", server.url)
    wrong = "Error: OTEL_TOOLS_ADMIN_TOKEN has characters that cannot be sent: use printable ASCII only"
    assert (code, output.splitlines()[-1], server.requests) == (2, wrong, [])


def test_a_time_that_no_calendar_has(stores):
    """What was set by hand in the file does not keep the tables from being shown."""
    one = Directive(kind="tool", name="search", action=Action.DISABLE, reason="why", actor="me", expires_at=1e18)
    stores().change(lambda document: document.with_directive(one))
    code, output = run("tools", "--service", "shop")
    assert (code, "2999-12-31" in output or "3000-01-01" in output) == (0, True), output


# --- doctor ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("url", ["redis://u:s3cret@host:notaport", "mysql://u:s3cret@host/1"])
def test_doctor_shows_no_password(url, monkeypatch):
    """Also where the URL is wrong, or that of no store; nor does the `repr` of the settings."""
    monkeypatch.setenv("OTEL_TOOLS_STORE", url)
    code, output = run("doctor", "--json")
    assert (code, "s3cret" in output, "s3cret" in repr(config.load())) == (1, False, False)


def test_what_doctor_finds_out_about_the_store(stores, monkeypatch):
    """Which one, what is in it, who reports to it, what is wrong with it."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    store, where = stores(), Control(store=str(stores()._base))
    assert examine(where) == StoreReport(store.label, "shop")
    one = Directive(kind="tool", name="search", action=Action.DISABLE, reason="why", actor="me")
    store.change(lambda document: document.with_directive(one))
    store.publish(other())
    assert examine(where) == StoreReport(store.label, "shop", ["worker.py far:7"], overrides=1)
    store._path.write_text("{")
    damaged = "is damaged, it holds no JSON. Put it right, or remove it, which lifts all overrides"
    assert examine(where).problem == f"{store.label} {damaged}"
    assert examine(Control(store=None)) == StoreReport(None, "shop")
    assert examine(Control(store="mysql://x")).problem.startswith("control.store: mysql:// is no store")


def test_doctor_tells_of_the_store(stores, monkeypatch, tmp_path):
    """One that cannot be used is a problem."""
    stores().change(lambda document: document)
    (tmp_path / "base").chmod(0o777)
    code, output = run("doctor")
    assert code == 1
    assert f"\nControl\n  FAIL {tmp_path / 'base'} can be written to by other users" in output


def test_what_doctor_says_of_a_store_in_order():
    """And of none."""
    report = doctor.Report("0", "3", {})
    report.control = StoreReport("/state/shop", "shop", ["a.py h:1", "b.py h:2"], overrides=3)
    assert [Text.from_markup(line).plain for line in doctor._control_lines(report)] == [
        "  ok   operators' overrides of service shop: 3 in /state/shop",
        "  -    2 processes reporting: a.py h:1, b.py h:2",
    ]
    report.control = StoreReport(None, "shop")
    [line] = doctor._control_lines(report)
    assert Text.from_markup(line).plain.startswith("  note there is no store (control.store: false)")


def test_the_words_of_the_commands_are_those_of_the_audit():
    """One vocabulary."""
    assert {one.word for one in steer.STEERS.values()} == {*Action, "enable", "reset"}
    assert semconv.EVENT_CONTROL == "otel_tools.control"
