"""Agent loops that nobody declared, and the plain functions that they offer as tools: found without configuration."""

from __future__ import annotations

import gc
import json
import pickle
import sys
import threading
from types import FunctionType, ModuleType

import openai
import pytest

from otel_tools import discovery, errors, implicit
from tests.clients import openai_bodies as bodies

PROGRAM = """
import json
import pickle
import sys

TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in NAMES]

def search(query):
    return {"hits": [query]}

def rate(city):
    return 3

TOOL_REGISTRY = {"search": search, "unrelated": len}

def run(client, question):
    messages = [{"role": "user", "content": question}]
    while True:
        response = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=TOOLS)
        message = response.choices[0].message
        if not message.tool_calls:
            return message.content
        messages.append(message)
        for call in message.tool_calls:
            function = TOOL_REGISTRY.get(call.function.name) or globals()[call.function.name]
            result = function(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)})
"""


@pytest.fixture
def program():
    """A module such as a user would write."""
    module = ModuleType("their_agent")
    module.NAMES = ["search", "rate"]
    exec(compile(PROGRAM, "their_agent.py", "exec"), vars(module))
    return module


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client:
        yield client


def wish(server, *calls):
    """The model asks for tools."""
    wishes = [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for n, (name, arguments) in enumerate(calls)
    ]
    server.reply(bodies.chat(None, "tool_calls", tool_calls=wishes))


def answer(server):
    """The model answers."""
    server.reply(bodies.chat("Done."))


def tree(spans):
    return [(span["name"], span["parent"]) for span in spans]


def test_loop_is_one_session(otel, server, client, program):
    """A hand-written loop with a registry and a module-level function is one trace and one account."""
    wish(server, ("search", {"query": "a"}), ("rate", {"city": "b"}))
    wish(server, ("search", {"query": "c"}))
    answer(server)
    assert program.run(client, "hello") == "Done."
    assert tree(otel.spans) == [
        ("chat gpt-4o-mini", "invoke_agent"),
        ("execute_tool search", "invoke_agent"),
        ("execute_tool rate", "invoke_agent"),
        ("chat gpt-4o-mini", "invoke_agent"),
        ("execute_tool search", "invoke_agent"),
        ("chat gpt-4o-mini", "invoke_agent"),
        ("invoke_agent", None),
    ]
    session = otel.spans[-1]["attributes"]
    assert session["otel_tools.session.outcome"] == "completed"
    assert session["otel_tools.session.inference_calls"] == 3
    assert session["otel_tools.session.tool_calls"] == 3
    assert session["otel_tools.session.cost.usd"] > 0
    assert len(otel.points("otel_tools.sessions")) == 1


def test_two_questions_are_two_sessions(otel, server, client, program):
    """Each question that is asked begins a run of its own."""
    for _ in range(2):
        wish(server, ("search", {"query": "a"}))
        answer(server)
        program.run(client, "hello")
    assert [name for name, parent in tree(otel.spans) if parent is None] == ["invoke_agent"] * 2
    assert otel.points("otel_tools.sessions")[0]["value"] == 2


def test_loop_that_breaks_off(otel, server, client, program):
    """A run whose tools are never answered ends when the next one begins, as of its last call."""
    wish(server, ("missing", {}))
    with pytest.raises(KeyError):
        program.run(client, "hello")
    assert tree(otel.spans) == [("chat gpt-4o-mini", None)]  # below a run that has not ended
    answer(server)
    program.run(client, "hello again")
    ended = [span for span in otel.spans if span["name"] == "invoke_agent"]
    assert [span["attributes"]["otel_tools.session.outcome"] for span in ended] == ["cancelled", "completed"]
    first, last = (span for span in otel.finished if span.name == "invoke_agent")
    assert first.end_time <= last.start_time


def test_failing_model(otel, server, client, program):
    """A loop that dies of its LLM call is a session that ended in an error, once its thread is gone."""
    server.reply({"error": {"message": "no"}}, status=400)

    def die():
        with pytest.raises(openai.BadRequestError):
            program.run(client, "hello")

    thread = threading.Thread(target=die)
    thread.start()
    thread.join()
    del thread
    gc.collect()
    session = otel.span("invoke_agent")
    assert session["attributes"]["otel_tools.session.outcome"] == "error"
    assert session["attributes"]["error.type"] == "openai.BadRequestError"


def test_no_tools_no_session(otel, server, client):
    """A lone LLM call without tools is a lone span."""
    answer(server)
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
    assert tree(otel.spans) == [("chat gpt-4o-mini", None)]


def test_current_span_is_never_touched(otel, server, client, program):
    """Between the calls of a loop the program's own span is current."""
    from opentelemetry import trace

    seen = []
    program.TOOL_REGISTRY["search"] = lambda query: query
    tracer = otel.tracer_provider.get_tracer("theirs")
    wish(server, ("search", {"query": "a"}))
    answer(server)
    with tracer.start_as_current_span("request") as span:
        program.json = type(
            "Json", (), {"loads": json.loads, "dumps": lambda value: seen.append(trace.get_current_span()) or "x"}
        )
        program.run(client, "hello")
        assert trace.get_current_span() is span
    assert seen == [span]
    assert ("invoke_agent", "request") in tree(otel.spans)


def test_discovery_can_be_switched_off(recorder, server, client, program):
    """`patch.discover: false` leaves functions and loops alone."""
    recorder.instrument(patch={"discover": False})
    wish(server, ("search", {"query": "a"}))
    answer(server)
    before = dict(program.TOOL_REGISTRY)
    program.run(client, "hello")
    assert before == program.TOOL_REGISTRY
    assert tree(recorder.spans) == [("chat gpt-4o-mini", None)] * 2
    recorder.uninstrument()


def test_registry_in_another_module(otel, server, client, program, tmp_path, monkeypatch):
    """`import their_tools` and `their_tools.TOOL_REGISTRY` is found as well as a registry of the agent's own module."""
    (tmp_path / "their_tools.py").write_text("def look(query): return query\nTOOL_REGISTRY = {'search': look}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import their_tools

    program.their_tools, program.TOOL_REGISTRY, program.search = their_tools, {}, None
    wish(server, ("search", {"query": "a"}))
    answer(server)
    with pytest.raises(TypeError):  # the program's own look-up is not what this test is about
        program.run(client, "hello")
    assert their_tools.TOOL_REGISTRY["search"]("a") == "a"
    assert [span["name"] for span in otel.spans] == ["chat gpt-4o-mini", "execute_tool search"]
    assert their_tools.look("a") == "a"  # a function that only lies in a module that is imported stays as it is
    assert len(otel.spans) == 2


def test_discovery_is_undone(recorder, server, client, program):
    """Uninstrumenting puts module-level functions back, and leaves what is not a declared tool alone."""
    recorder.instrument()
    before = program.rate
    wish(server, ("search", {"query": "a"}))
    answer(server)
    program.run(client, "hello")
    assert program.rate is not before
    assert program.TOOL_REGISTRY["unrelated"] is len
    recorder.uninstrument()
    assert program.rate is before


def test_tools_of_an_object(otel, server, client, program):
    """A registry that an agent object holds is found, too."""

    class Agent:
        def __init__(self):
            self.tools = {"search": lambda query: query}

        def step(self):
            return client.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], tools=program.TOOLS
            )

    agent = Agent()
    wish(server, ("search", {"query": "a"}))
    agent.step()
    assert agent.tools["search"](query="a") == "a"
    assert tree(otel.spans) == [("chat gpt-4o-mini", None), ("execute_tool search", None)]  # the run goes on
    assert otel.finished[0].parent.span_id == otel.finished[1].parent.span_id


def test_two_conversations_in_one_thread(otel, server, client, program):
    """Results of tools that one run did not ask for are no part of it."""
    declared = {"model": "gpt-4o-mini", "tools": program.TOOLS}
    wish(server, ("search", {"query": "a"}))
    client.chat.completions.create(messages=[{"role": "user", "content": "one"}], **declared)
    answer(server)
    other = {"role": "tool", "tool_call_id": "call_of_another", "content": "{}"}
    client.chat.completions.create(messages=[{"role": "user", "content": "two"}, other], **declared)
    outcomes = [span["attributes"].get("otel_tools.session.outcome") for span in otel.spans]
    assert [outcome for outcome in outcomes if outcome] == ["cancelled", "completed"]


SEARCHED = """
import weakref
from re import search as look
from textwrap import shorten

class Tool:
    def __call__(self, query):
        return query

    def schema(self):
        return {"type": "function", "function": {"name": "index", "parameters": {"type": "object"}}}

def search(query):
    return [query]

TOOLS = {"index": Tool(), "search": search}

def ask(client):
    names = ("search", "index", "shorten")
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in names]
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], tools=tools)

def snapshot(client, city):
    arguments = locals()
    city = "changed"
    ask(client)
    return arguments

def dropped(client):
    tool = Tool()
    reference = weakref.ref(tool)
    ask(client)
    del tool
    return reference()
"""


@pytest.fixture
def searched(monkeypatch, client, server):
    """A module with things that discovery must leave as they are; the model has one answer for it."""
    module = ModuleType("their_program")
    monkeypatch.setitem(sys.modules, "their_program", module)
    exec(compile(SEARCHED, "their_program.py", "exec"), vars(module))
    answer(server)
    return module


def test_local_variables_are_read_without_a_trace(otel, server, client, searched):
    """The program's snapshot of its variables stays one, and a variable that it deletes is gone."""
    assert searched.snapshot(client, "Paris") == {"client": client, "city": "Paris"}
    answer(server)
    assert searched.dropped(client) is None


def test_what_discovery_leaves_alone(otel, client, searched):
    """A callable object stays what it is, a library's function of a tool's name too, and tools can be pickled."""
    before = searched.TOOLS["index"], searched.shorten
    searched.ask(client)
    assert (searched.TOOLS["index"], searched.shorten) == before
    assert searched.TOOLS["search"] is searched.search
    assert pickle.loads(pickle.dumps(searched.TOOLS["search"])) is searched.search
    assert searched.search("a") == ["a"]
    assert otel.span("execute_tool search")


def test_undoing_leaves_what_the_program_put_there(otel, client, searched):
    """A function that the program replaced meanwhile is not brought back."""
    searched.ask(client)
    searched.search = None
    otel.uninstrument()
    assert searched.search is None


NOT_IN_CALLS = {"undo", "bind", "_put_back"}
"""These run when instrumentation is switched on or off."""
GUARDS = {"run_of", "on_llm_request"}
"""These catch what the others raise."""


def _steps():
    for module in (implicit, discovery):
        for owner in (module, *(value for value in vars(module).values() if isinstance(value, type))):
            if getattr(owner, "__module__", module.__name__) == module.__name__:
                for name, value in vars(owner).items():
                    ours = isinstance(value, FunctionType) and value.__module__ == module.__name__
                    if ours and name not in GUARDS | NOT_IN_CALLS:
                        yield pytest.param(owner, name, id=f"{module.__name__}.{name}")


@pytest.mark.parametrize(("owner", "name"), list(_steps()))
def test_a_loop_runs_the_same_when_a_step_fails(otel, server, client, program, monkeypatch, owner, name):
    """With a fault in any single step of finding runs and functions, the program gets its answer, with two requests."""
    monkeypatch.setattr(errors, "raise_internal_errors", False)

    def fail(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(owner, name, fail)
    wish(server, ("search", {"query": "a"}), ("rate", {"city": "b"}))
    answer(server)
    assert program.run(client, "hello") == "Done."
    assert len(server.requests) == 2
    monkeypatch.undo()
