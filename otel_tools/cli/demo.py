"""`otel-tools demo`: the story of an agent whose tools fail, and what otel-tools makes of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import click
from rich.console import Console, Group
from rich.text import Text

from otel_tools.cli import text, views
from otel_tools.cli.alerts import WINDOWS, AlertLog
from otel_tools.cli.receiver import Receiver
from otel_tools.cli.rows import Session
from otel_tools.cli.state import State
from otel_tools.cli.traces import Trace
from otel_tools.cli.tree import TraceTree
from otel_tools.cli.watch import console
from otel_tools.demo.llm_server import LLMServer
from otel_tools.demo.program import SERVICE_NAME, Program, installed_models
from otel_tools.demo.service import Service
from otel_tools.demo.story import ACTS, Act, Played, await_sessions, finished, missing, play
from otel_tools.errors import OtelToolsError

_HTTP_PORT = 4318
_OTLP = "OTEL_EXPORTER_OTLP_"


@click.command()
@click.option("--endpoint", metavar="URL", help="Send to this OTLP endpoint instead of showing it here.")
def command(endpoint: str | None) -> None:
    """See otel-tools work, in a quarter of a minute: an ordinary agent, and a service that fails it.

    The LLM is scripted, nothing leaves this machine, and no API key is needed. With --endpoint http://localhost:4317
    the same telemetry goes to a Collector.
    """
    models = installed_models()
    if not models:
        raise click.ClickException("the demo needs an LLM client (scripted, no key): pip install openai anthropic")
    screen = console()
    screen.print(Text.assemble(("otel-tools demo", "bold"), f"  {len(ACTS)} sessions of a customer-support agent"))
    about = "otel_tools/demo/agent.py is an ordinary program, run by `opentelemetry-instrument python agent.py`; policy"
    about += f" comes from the otel-tools.yaml beside it. Its LLM ({' and '.join(models)}) and the service behind its"
    about += " tools are scripted, on this machine.\n"
    screen.print(Text(about, "dim"))
    if endpoint:
        _send(screen, models, endpoint if "://" in endpoint else f"http://{endpoint}")
    else:
        _show(screen, models)


# --- shown here -----------------------------------------------------------------------------------------------------
def _show(screen: Console, models: list[str]) -> None:
    state, log = State(WINDOWS), AlertLog()
    acts: list[Played] = []
    with Receiver(state.add, grpc_port=0, http_port=0) as receiver:
        exporter = {f"{_OTLP}ENDPOINT": f"http://127.0.0.1:{receiver.grpc_port}", f"{_OTLP}PROTOCOL": "grpc"}
        with _stage(exporter) as (program, service), _working(screen) as status:
            for played in play(program, service, models, status):
                session = await_sessions(state, played.number)
                if session is None:
                    break
                log.update(state)
                acts.append(played)
                _progress(screen, played, session)
    if absent := missing(state):
        raise OtelToolsError(f"the telemetry that arrived does not tell the story; missing: {', '.join(absent)}")
    log.update(state)
    _report(screen, state, log, acts)


@contextmanager
def _stage(exporter: dict[str, str]) -> Iterator[tuple[Program, Service]]:
    with LLMServer() as llm, Service() as service, Program(llm.url, service.url, exporter) as program:
        yield program, service
        program.finish()
        if complaints := program.complaints():
            raise OtelToolsError(f"the demo's agent complained{complaints}")


@contextmanager
def _working(screen: Console) -> Iterator[Callable[[Act], None]]:
    """Says which act is on, where there is a terminal."""
    if not screen.is_terminal:
        yield lambda _: None
        return
    with screen.status("starting the agent …") as status:
        yield lambda act: None if act is ACTS[0] else status.update(f"{act.title} …")


def _progress(screen: Console, played: Played, session: Session | None) -> None:
    line = Text.assemble((f"{played.number}  ", "dim"), f"{played.act.title:<40}")
    if session is None:
        line.append("sent" if "answer" in played.reply else "ended with an error", "dim")
    else:
        line.append_text(text.word(session.outcome, f"{session.outcome.replace('_', ' '):<14}"))
        line.append(f"{text.seconds(session.duration):>8}")
        troubles = text.words(session.troubles)
        if line.cell_len + troubles.cell_len < screen.width:
            line.append("  ").append_text(troubles)
    screen.print(line)


def _report(screen: Console, state: State, log: AlertLog, played: list[Played]) -> None:
    sessions = finished(state)
    chosen, told = max(zip(sessions, played, strict=True), key=lambda pair: len(pair[0].troubles))
    trace = state.trace(chosen.trace_id)
    assert trace is not None
    for part in (
        _told(told, trace),
        views.sessions(sessions, numbered=True),
        views.tools(state.tools()),
        views.circuits(state.transitions()),
        views.alerts(log, state),
        _next_steps(),
    ):
        screen.print()
        screen.print(part)


def _told(played: Played, trace: Trace) -> Group:
    return Group(
        Text.assemble(("Trace", "bold"), (f"  of session {played.number}, where most went wrong", "dim")),
        Text.assemble(("Asked: ", "dim"), played.act.question),
        TraceTree(trace),
        Text.assemble(("Answered: ", "dim"), played.reply.get("answer", "")),
    )


def _next_steps() -> Text:
    steps = (
        ("opentelemetry-instrument python your_agent.py", "your agent, no code change"),
        ("otel-tools watch", "these views, live"),
        ("otel-tools doctor", "checks patches and settings"),
    )
    lines = (Text.assemble("  ", (f"{what:<47}", "cyan"), why) for what, why in steps)
    return Text("\n").join([Text("Next", "bold"), *lines])


# --- sent elsewhere -------------------------------------------------------------------------------------------------
def _send(screen: Console, models: list[str], endpoint: str) -> None:
    _reach(endpoint)
    protocol = os.environ.get(f"{_OTLP}PROTOCOL") or _protocol(endpoint)
    mine = {name: value for name, value in os.environ.items() if name.startswith(_OTLP)}
    exporter = {**mine, f"{_OTLP}ENDPOINT": endpoint, f"{_OTLP}PROTOCOL": protocol}
    with _stage(exporter) as (program, service), _working(screen) as status:
        for played in play(program, service, models, status):
            _progress(screen, played, None)
    screen.print()
    screen.print(_where_to_look(endpoint, protocol))


def _protocol(endpoint: str) -> str:
    """OTLP over HTTP has its own port, and usually a path where it has not; the rest is gRPC."""
    address = urlsplit(endpoint)
    return "http/protobuf" if address.port == _HTTP_PORT or address.path.strip("/") else "grpc"


def _reach(endpoint: str) -> None:
    address = urlsplit(endpoint)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), 3).close()
    except OSError as error:
        raise OtelToolsError(f"nothing listens at {endpoint} ({error.strerror or error})") from error


def _where_to_look(endpoint: str, protocol: str) -> Text:
    places = (
        ("traces", f"service {SERVICE_NAME}, spans invoke_agent, chat, execute_tool"),
        ("metrics", "sum by (gen_ai_tool_name, otel_tools_outcome) (otel_tools_tool_calls_total)"),
        ("logs", "events otel_tools.session, otel_tools.tool_call, otel_tools.circuit_breaker.transition"),
    )
    lines = (Text.assemble("  ", (f"{what:<9}", "cyan"), where) for what, where in places)
    return Text("\n").join([Text(f"Sent to {endpoint} ({protocol}). Look there for", "bold"), *lines])
