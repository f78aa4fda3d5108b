"""The OpenAI client as frameworks use it: each of their LLM calls is one span with the usage that was billed."""

from __future__ import annotations

import ssl

import pytest

from tests.clients import openai_bodies as bodies
from tests.clients import openai_client as clients
from tests.clients.openai_client import STREAMED, chat, expected, response


@pytest.fixture(autouse=True)
def _no_certificates(monkeypatch):
    """Every client loads all certificates of the machine, which takes longer than everything else together."""
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *_, **__: None)


def llm_span(otel, server):
    """The span of the one LLM call, whatever the framework's own adapter made of what is around it."""
    (found,) = (span for span in otel.spans if span["kind"] == "CLIENT")
    attributes = clients.settled(found, server)["attributes"]
    attributes.pop("gen_ai.agent.name", None)
    return {**found, "parent": None, "attributes": attributes}


# --- langchain-openai -----------------------------------------------------------------------------------------------
@pytest.fixture
def chat_openai(server):
    """A chat model of LangChain."""
    langchain_openai = pytest.importorskip("langchain_openai")
    return langchain_openai.ChatOpenAI(
        model=bodies.MODEL, base_url=f"{server.url}/v1", api_key="k", max_retries=0, stream_usage=True
    )


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_langchain(otel, server, chat_openai, asynchronous):
    """LangChain asks for raw responses; the usage is there all the same."""
    server.reply(bodies.chat())
    answer = await chat_openai.ainvoke("Hello") if asynchronous else chat_openai.invoke("Hello")
    assert answer.content == "It is sunny."
    assert llm_span(otel, server) == expected(chat())


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_langchain_stream(otel, server, chat_openai, asynchronous):
    """Streams of LangChain."""
    server.reply(events=bodies.chat_stream())
    chunks = chat_openai.astream("Hello") if asynchronous else chat_openai.stream("Hello")
    assert "".join([chunk.content async for chunk in clients.each(chunks)]) == "It is sunny."
    assert llm_span(otel, server) == expected(chat(**STREAMED))


@pytest.mark.parametrize("streamed", [False, True])
async def test_langchain_responses(otel, server, streamed):
    """The responses API through LangChain."""
    langchain_openai = pytest.importorskip("langchain_openai")
    model = langchain_openai.ChatOpenAI(
        model=bodies.MODEL, base_url=f"{server.url}/v1", api_key="k", max_retries=0, use_responses_api=True
    )
    if streamed:
        server.reply(events=bodies.response_stream())
        assert [chunk async for chunk in model.astream("Hello")]
    else:
        server.reply(bodies.response())
        await model.ainvoke("Hello")
    assert llm_span(otel, server) == expected(response(**(STREAMED if streamed else {})))


# --- openai-agents --------------------------------------------------------------------------------------------------
@pytest.fixture
async def agent(server, request):
    """An agent on the chat completions or the responses API."""
    agents = pytest.importorskip("agents")
    agents.set_tracing_disabled(disabled=True)
    client = clients.make("async", server.url)
    model = getattr(agents, request.param)(model=bodies.MODEL, openai_client=client)
    yield agents.Agent(name="Forecaster", model=model, model_settings=agents.ModelSettings(include_usage=True))
    await clients.close(client)


CHAT_MODEL, RESPONSES_MODEL = "OpenAIChatCompletionsModel", "OpenAIResponsesModel"


@pytest.mark.parametrize(
    ("agent", "body", "attributes"),
    [(CHAT_MODEL, bodies.chat(), chat()), (RESPONSES_MODEL, bodies.response(), response())],
    indirect=["agent"],
)
async def test_agents(otel, server, agent, body, attributes):
    """A run of an agent makes one LLM call."""
    agents = pytest.importorskip("agents")
    server.reply(body)
    result = await agents.Runner.run(agent, "Hello")
    assert result.final_output == "It is sunny."
    assert llm_span(otel, server) == expected(attributes)


@pytest.mark.parametrize(
    ("agent", "events", "attributes"),
    [
        (CHAT_MODEL, bodies.chat_stream(), chat(**STREAMED)),
        (RESPONSES_MODEL, bodies.response_stream(), response(**STREAMED)),
    ],
    indirect=["agent"],
)
async def test_agents_streamed(otel, server, agent, events, attributes):
    """A streamed run, which reads its responses while they arrive."""
    agents = pytest.importorskip("agents")
    server.reply(events=events)
    result = agents.Runner.run_streamed(agent, "Hello")
    assert [event async for event in result.stream_events()]
    assert result.final_output == "It is sunny."
    assert llm_span(otel, server) == expected(attributes)
