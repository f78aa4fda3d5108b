"""The demo's agent is an ordinary program."""

from __future__ import annotations

import ast
import inspect
import io
import json
import sys

import pytest

from otel_tools.demo import agent
from otel_tools.demo.llm_server import LLMServer
from otel_tools.demo.service import Behaviour, Service

pytest.importorskip("openai")
pytest.importorskip("anthropic")


@pytest.fixture
def service(monkeypatch):
    """The service that its tools use; the LLM is there, too."""
    with LLMServer() as llm, Service() as service:
        for name, value in {
            "OPENAI_BASE_URL": f"{llm.url}/v1",
            "OPENAI_API_KEY": "none",
            "ANTHROPIC_BASE_URL": llm.url,
            "ANTHROPIC_API_KEY": "none",
            "SERVICE_URL": service.url,
            "NO_PROXY": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        agent._client.cache_clear()
        yield service
        for kind in (agent.openai.OpenAI, agent.anthropic.Anthropic):
            agent._client(kind).close()
        agent._client.cache_clear()


def test_it_knows_nothing_of_us():
    """No import of otel_tools or OpenTelemetry: that is the point of the demo."""
    imported = set()
    for node in ast.walk(ast.parse(inspect.getsource(agent))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported <= sys.stdlib_module_names | {"openai", "anthropic"}


@pytest.mark.parametrize("model", ["gpt-5-mini", "claude-haiku-4-5"])
def test_it_answers_with_the_help_of_its_tools(service, model):
    """Two tools in one turn, the answer streamed."""
    assert agent.run_session("Where is my order, and is it in stock?", model) == (
        "Order 1042 is on its way with ACME Parcel and should arrive tomorrow before noon. "
        "We have seven pairs of the trail shoe in size 42 in stock."
    )


@pytest.mark.parametrize("model", ["gpt-5-mini", "claude-haiku-4-5"])
def test_it_survives_a_tool_that_fails(service, model):
    """The model is told of the error, tries again, and says so."""
    service.behave(search=Behaviour.FAIL)
    assert agent.run_session("How do I return shoes?", model).startswith("I cannot look up the return policy")


def test_it_answers_line_by_line(service, monkeypatch, capsys):
    """A question a line in, an answer a line out; an error does not end it."""
    questions = [{"question": "Where is my order?", "model": "gpt-5-mini"}, {"question": "What?", "model": None}]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{json.dumps(asked)}\n" for asked in questions)))
    agent.main()
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["answer"].startswith("Order 1042 is on its way")
    assert second["error"].startswith("AttributeError")
