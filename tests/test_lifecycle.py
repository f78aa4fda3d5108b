"""Switching on and off: patches come at import and go without a trace; what is missing is said, once."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import openai
import pytest
from openai._base_client import AsyncAPIClient, SyncAPIClient

import otel_tools
from otel_tools.engine import active
from otel_tools.finding import Source
from otel_tools.instrumentor import OtelToolsInstrumentor
from otel_tools.model import Adapter, Invocation, Shape, Target, ToolRequest
from otel_tools.patching import Patcher
from tests.clients import openai_bodies as bodies


def attributes():
    return [vars(cls)["request"] for cls in (SyncAPIClient, AsyncAPIClient)]


def test_uninstrument_restores_the_original_attributes(recorder):
    """After instrument and uninstrument, twice, the patched attributes are the very same objects."""
    before = attributes()
    for _ in range(2):
        recorder.instrument()
        assert all(now is not then for now, then in zip(attributes(), before, strict=True))
        recorder.uninstrument()
        assert all(now is then for now, then in zip(attributes(), before, strict=True))


def test_twice_is_one_layer(recorder, server):
    """Instrumenting again changes nothing; with other settings it starts over, still with one layer."""
    recorder.instrument()
    first = attributes()
    otel_tools.instrument()
    assert attributes() == first
    otel_tools.instrument(settings={"mode": "enforce"})
    assert all(not hasattr(wrapper.__wrapped__, "__wrapped__") for wrapper in attributes())
    assert active().settings.mode == "enforce"
    recorder.uninstrument()


def test_uninstrument_below_a_later_patch(recorder, server):
    """Somebody who patched over us keeps working; our layer then only passes calls on."""
    import wrapt

    recorder.instrument()
    calls = []

    def theirs(wrapped, instance, args, kwargs):
        calls.append(1)
        return wrapped(*args, **kwargs)

    ours = vars(SyncAPIClient)["request"]
    SyncAPIClient.request = wrapt.FunctionWrapper(ours, theirs)
    recorder.uninstrument()
    try:
        server.reply({"data": [], "object": "list"})
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="x") as client:
            client.models.list()
        assert calls == [1]
    finally:
        SyncAPIClient.request = ours.__wrapped__
    assert recorder.spans == []


def fake_library(monkeypatch, **names):
    module = ModuleType("their_library")
    vars(module).update(names)
    monkeypatch.setitem(sys.modules, "their_library", module)
    return module


def source(*targets, minimum="1.0", library="their-library"):
    adapter = Adapter(library=library, minimum=minimum, targets=targets)
    return Source(("their_library",), lambda: adapter)


def call_target(path="call", **options):
    def request(call: Invocation):
        return ToolRequest(call.argument(0, "name"), "theirs")

    return Target(module="their_library", path=path, shape=Shape.SYNC, request=request, **options)


def test_missing_symbol_skips_one_target(otel, monkeypatch, caplog):
    """A renamed symbol costs that target only, with one warning that names library, symbol and module."""
    caplog.set_level(logging.WARNING, "otel_tools")
    module = fake_library(monkeypatch, call=lambda name: name)
    targets = (call_target(), call_target("renamed"), call_target("maybe", optional=True))
    patcher = Patcher(active(), [source(*targets, library="pytest")])
    patcher.apply()
    assert [place.status for place in patcher.places] == ["patched", "skipped", "not needed"]
    [warning] = [record.message for record in caplog.records]
    assert warning == (
        f"otel-tools does not see pytest {pytest.__version__}: renamed is not in their_library (their_library:renamed)"
    )
    assert module.call("search") == "search"
    assert otel.span()["name"] == "execute_tool search"
    patcher.undo()
    assert module.call("search") == "search"
    assert len(otel.spans) == 1


def test_package_of_the_same_name(otel, monkeypatch, caplog):
    """A package of the user's own that happens to have a library's name is none of our business."""
    fake_library(monkeypatch)
    patcher = Patcher(active(), [source(call_target())])
    patcher.apply()
    assert [place.status for place in patcher.places] == ["not needed"]
    assert caplog.text == ""
    patcher.undo()


def test_too_old_library_is_skipped(otel, monkeypatch, caplog):
    """A library older than the oldest supported version is left alone, and the warning says what is needed."""
    fake_library(monkeypatch, call=len)
    patcher = Patcher(active(), [source(call_target(), library="pytest", minimum="9999")])
    patcher.apply()
    assert patcher.places[0].status == "skipped"
    assert "is older than 9999, the oldest supported one" in caplog.text
    patcher.undo()


def test_version_ranges(otel, monkeypatch):
    """A target for other versions of a library is not needed, and not reported."""
    fake_library(monkeypatch, call=len)
    patcher = Patcher(active(), [source(call_target(since="9999"), call_target(until="1"), library="pytest")])
    patcher.apply()
    assert [place.status for place in patcher.places] == ["not needed", "not needed"]
    patcher.undo()


def test_reader_that_fails_leaves_the_call_alone(otel, monkeypatch):
    """A reader's fault is ours: the library's method runs once, as if we were not there."""
    from otel_tools import errors

    monkeypatch.setattr(errors, "raise_internal_errors", False)
    calls = []
    module = fake_library(monkeypatch, call=lambda name: calls.append(name) or name)
    broken = Target(module="their_library", path="call", shape=Shape.SYNC, request=lambda call: 1 / 0)
    patcher = Patcher(active(), [source(broken)])
    patcher.apply()
    assert module.call("search") == "search"
    assert calls == ["search"]
    assert otel.spans == []
    patcher.undo()


def test_status_metric(otel):
    """The metric of instrumentation says which libraries in use are patched."""
    statuses = otel.points("otel_tools.instrumentation.status", otel_tools__library="openai")
    assert [(point["attributes"]["otel_tools.status"], point["value"]) for point in statuses] == [("patched", 2)]


def test_disabled_library(recorder):
    """A library that the settings switch off is not patched."""
    before = attributes()
    recorder.instrument(patch={"disabled": ["openai"]})
    assert attributes() == before
    recorder.uninstrument()


def test_wrong_settings():
    """Wrong settings given in code are an error there, and nothing is left half instrumented."""
    before = attributes()
    with pytest.raises(otel_tools.ConfigError, match="enforc"):
        otel_tools.instrument(settings={"mode": "enforc"})
    assert attributes() == before
    assert not OtelToolsInstrumentor().is_instrumented_by_opentelemetry


PROGRAM = """
import {first}
import {second}
import openai._base_client
print(type(vars(openai._base_client.SyncAPIClient)["request"]).__name__)
"""


@pytest.mark.parametrize("order", [("otel_tools.auto", "openai"), ("openai", "otel_tools.auto")])
def test_auto_works_before_and_after_the_library(order):
    """`import otel_tools.auto` instruments libraries that are imported before it and after it."""
    program = PROGRAM.format(first=order[0], second=order[1])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "_Patch"
    assert done.stderr.startswith("otel-tools: no OpenTelemetry SDK was set up, so nothing was exported")
    with_sdk = (
        "from opentelemetry import trace\nfrom opentelemetry.sdk.trace import TracerProvider\n"
        f"{program}\ntrace.set_tracer_provider(TracerProvider())"
    )
    done = subprocess.run([sys.executable, "-c", with_sdk], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_wrong_file_does_not_stop_the_program(tmp_path):
    """With a broken configuration the program runs, and one clear message says what is wrong."""
    (tmp_path / "otel-tools.yaml").write_text("tools: {search: {timeout: -1s}}\n")
    program = "import otel_tools.auto, openai; print('ran')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "ran\n"
    assert "otel-tools.yaml" in done.stderr
    assert "tools.search.timeout" in done.stderr
    assert "Traceback" not in done.stderr


def test_opentelemetry_instrument(tmp_path):
    """`pip install otel-tools` alone is enough for `opentelemetry-instrument` to set up the SDK and our patches."""
    command = Path(sys.executable).with_name("opentelemetry-instrument")
    program = (
        "import otel_tools, opentelemetry.trace as t, openai._base_client as c\n"
        "print(type(t.get_tracer_provider()).__name__, type(vars(c.SyncAPIClient)['request']).__name__)"
    )
    options = ["--traces_exporter", "console", "--metrics_exporter", "none", "--logs_exporter", "none"]
    done = subprocess.run(
        [command, *options, sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.split() == ["TracerProvider", "_Patch"]


AGENT = """
import json, sys
from openai import OpenAI

def search(query):
    return {"hits": [query]}

TOOL_REGISTRY = {"search": search}
TOOLS = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}]

def run_session(client, question):
    messages = [{"role": "user", "content": question}]
    while True:
        answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=TOOLS)
        message = answer.choices[0].message
        if not message.tool_calls:
            return message.content
        messages.append(message)
        for call in message.tool_calls:
            result = TOOL_REGISTRY[call.function.name](**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)})

if __name__ == "__main__":
    print(run_session(OpenAI(base_url=sys.argv[1] + "/v1", api_key="x"), "hello"))
"""


@pytest.mark.parametrize(
    ("configuration", "session"),
    [("", "invoke_agent"), ('patch: {sessions: ["agent:run_session"]}', "invoke_agent run_session")],
)
def test_agent_program(tmp_path, server, configuration, session):
    """A program without any import of ours is one trace: session, LLM calls and the tool, named or found."""
    wish = {"id": "call_1", "type": "function", "function": {"name": "search", "arguments": '{"query": "x"}'}}
    server.reply(bodies.chat(None, "tool_calls", tool_calls=[wish]))
    server.reply(bodies.chat("Done."))
    (tmp_path / "agent.py").write_text(AGENT)
    if configuration:
        (tmp_path / "otel-tools.yaml").write_text(configuration)
    command = Path(sys.executable).with_name("opentelemetry-instrument")
    options = ["--traces_exporter", "console", "--metrics_exporter", "none", "--logs_exporter", "none"]
    done = subprocess.run(
        [command, *options, sys.executable, "agent.py", server.url],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    answer, _, printed = done.stdout.partition("\n")
    spans = list(objects(printed))
    names = ["chat gpt-4o-mini", "execute_tool search", "chat gpt-4o-mini", session]
    assert (answer, [span["name"] for span in spans]) == ("Done.", names)
    assert len({span["context"]["trace_id"] for span in spans}) == 1
    assert {span["parent_id"] for span in spans[:-1]} == {spans[-1]["context"]["span_id"]}
    assert spans[-1]["attributes"]["otel_tools.session.outcome"] == "completed"


def test_agent_program_that_dies(tmp_path, server):
    """A session that a crash of the program leaves open is ended and exported all the same."""
    wish = {"id": "call_1", "type": "function", "function": {"name": "search", "arguments": "no JSON"}}
    server.reply(bodies.chat(None, "tool_calls", tool_calls=[wish]))
    (tmp_path / "agent.py").write_text(AGENT)
    command = Path(sys.executable).with_name("opentelemetry-instrument")
    options = ["--traces_exporter", "console", "--metrics_exporter", "none", "--logs_exporter", "none"]
    done = subprocess.run(
        [command, *options, sys.executable, "agent.py", server.url],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    chat, session = objects(done.stdout)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("json.decoder.JSONDecodeError")
    assert (chat["name"], session["name"]) == ("chat gpt-4o-mini", "invoke_agent")
    assert chat["parent_id"] == session["context"]["span_id"]
    assert session["attributes"]["otel_tools.session.outcome"] == "cancelled"


def objects(text):
    """The JSON objects that stand one after the other in *text*."""
    decoder = json.JSONDecoder()
    while text := text.strip():
        found, end = decoder.raw_decode(text)
        yield found
        text = text[end:]
