"""What holds for all signals: independent of sampling, nothing sensitive, bounded, exemplars, own faults swallowed."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import weakref

import openai
import pytest
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import otel_tools
from otel_tools import errors, semconv
from tests.clients import openai_bodies as bodies
from tests.fake_server import Reply
from tests.recorder import Recorder

CANARY = "c4n4ry-5ecret"


def agent(server):
    """An agent run with everything in it: LLM calls whole and streamed, good and bad tools, all with the canary."""

    @otel_tools.tool
    def look_up(query, note):
        return {"answer": CANARY}

    @otel_tools.tool
    def fail(query):
        raise ValueError(f"cannot find {CANARY}")

    @otel_tools.tool(criticality="optional")
    def optional(query):
        raise RuntimeError(CANARY)

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=CANARY, max_retries=0) as client:
        with otel_tools.session("support", user_id="user-7", conversation_id="conversation-7"):
            question = [{"role": "user", "content": f"What about {CANARY}?"}]
            server.reply(bodies.chat(f"It is {CANARY}."))
            client.chat.completions.create(model="gpt-4o-mini", messages=question)
            server.reply(events=bodies.chat_stream())
            for _ in client.chat.completions.create(model="gpt-4o-mini", messages=question, stream=True):
                pass
            server.reply(bodies.error(f"Incorrect key {CANARY}"), status=401)
            with pytest.raises(openai.AuthenticationError):
                client.chat.completions.create(model="gpt-4o-mini", messages=question)
            look_up(CANARY, note=CANARY)
            with pytest.raises(ValueError, match=CANARY):
                fail(CANARY)
            assert CANARY not in optional(CANARY)


def everything(recorder):
    """All signals as they go over the wire, OTLP."""
    return b"".join(
        message.SerializeToString()
        for message in (
            encode_spans(recorder.finished),
            encode_metrics(recorder._metrics.get_metrics_data()),
            encode_logs(recorder._logs.get_finished_logs()),
        )
    )


def counted(recorder):
    """Metrics without what differs from run to run: the sums of times."""
    metrics = recorder.metrics
    timed = {metric.name for metric in semconv.METRICS if metric.unit == "s"}
    for name in timed & set(metrics):
        for point in metrics[name]:
            del point["sum"]
    return metrics


def test_metrics_do_not_depend_on_sampling(server):
    """With the sampler off there are no spans and the very same metrics."""
    seen = []
    for sampler in (None, ALWAYS_OFF):
        recorder = Recorder(sampler)
        recorder.instrument()
        agent(server)
        seen.append((counted(recorder), len(recorder.spans), [record["event"] for record in recorder.logs]))
        recorder.uninstrument()
        recorder.shutdown()
    (sampled, spans, logs), (unsampled, none, unsampled_logs) = seen
    assert (spans > 0, none) == (True, 0)
    assert unsampled == sampled
    assert unsampled_logs == logs


def test_nothing_sensitive_by_default(otel, server):
    """No prompt, argument, result, key or exception text leaves the process; argument keys do."""
    agent(server)
    wire = everything(otel)
    assert CANARY.encode() not in wire
    assert b"note" in wire


def test_no_identity_on_metrics(otel, server):
    """User and conversation are on spans and log records, never on metrics."""
    agent(server)
    metrics = json.dumps(otel.metrics)
    assert b"user-7" in everything(otel)
    assert "user-7" not in metrics
    assert "conversation-7" not in metrics


def test_content_when_switched_on(recorder, server, monkeypatch):
    """With capture on, the same canary is where it is expected: on spans and on log records."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_AND_EVENT")
    recorder.instrument()
    agent(server)
    recorder.uninstrument()
    spans = {span["name"]: span["attributes"] for span in recorder.spans}
    assert CANARY in spans["execute_tool look_up"]["gen_ai.tool.call.arguments"]
    assert json.loads(spans["execute_tool look_up"]["gen_ai.tool.call.result"]) == {"answer": CANARY}
    assert "gen_ai.tool.call.result" not in spans["execute_tool fail"]
    [first, *_] = [record for record in recorder.logs if record["event"] == semconv.EVENT_CONTENT]
    assert first["attributes"]["gen_ai.input.messages"][0]["parts"][0]["content"] == f"What about {CANARY}?"
    assert first["severity"] == "DEBUG"


def test_only_declared_metrics_and_attributes(otel, server):
    """Every metric, and every attribute on it, is one that `semconv` declares, with its unit and boundaries."""
    agent(server)
    declared = {metric.name: metric for metric in semconv.METRICS}
    for name, points in otel.metrics.items():
        for point in points:
            assert set(point["attributes"]) <= set(declared[name].attributes), name


def test_every_metric_of_a_run_is_there(otel, server):
    """A run with everything in it feeds every metric but those of what did not happen."""
    agent(server)
    missing = {metric.name for metric in semconv.METRICS} - set(otel.metrics)
    assert missing == {
        semconv.CLIENT_UNPRICED.name,
        semconv.TOOL_ABANDONED.name,
        semconv.CIRCUIT_TRANSITIONS.name,
    }


def test_thresholds_are_boundaries():
    """Each threshold of the mission's alerts and objectives is an exact bucket boundary."""
    assert 5 in semconv.TOOL_DURATION.boundaries
    assert 15 in semconv.AGENT_DURATION.boundaries
    assert {0.1, 0.5} <= set(semconv.SESSION_COST_USD.boundaries)
    assert 7 in semconv.AGENT_INFERENCE_CALLS.boundaries
    for metric in semconv.METRICS:
        assert list(metric.boundaries) == sorted(set(metric.boundaries))
        assert metric.unit != "1"


def test_exemplars_lead_to_the_trace(otel):
    """A tool's duration carries the trace id of its span."""

    @otel_tools.tool
    def work():
        return 1

    work()
    data = otel._metrics.get_metrics_data()
    points = [
        point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == semconv.TOOL_DURATION.name
        for point in metric.data.data_points
    ]
    [span] = otel.finished
    assert {exemplar.span_id for point in points for exemplar in point.exemplars} == {span.context.span_id}


def test_counters_start_at_zero(recorder):
    """A configured tool, and an agent when it is first seen, have their series before anything happens."""
    recorder.instrument(tools={"search": {"timeout": "5s"}})
    with otel_tools.session("support"):
        data = recorder._metrics.get_metrics_data()
    points = {
        (metric.name, *point.attributes.values())
        for scope in data.resource_metrics[0].scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if point.value == 0
    }
    assert {("otel_tools.tool.calls", "search", outcome, False) for outcome in ("ok", "error", "timeout")} <= points
    assert {("otel_tools.sessions", "support", outcome) for outcome in semconv.SESSION_OUTCOMES} <= points
    recorder.uninstrument()


def test_tool_names_are_bounded(otel):
    """A process puts at most 256 tool names on metrics; spans keep the real ones."""

    def work():
        return 1

    for number in range(300):
        otel_tools.tool(f"invented_{number}")(work)()
    labels = {point["attributes"]["gen_ai.tool.name"] for point in otel.points(semconv.TOOL_CALLS.name)}
    assert len(labels) == 257
    assert semconv.OTHER in labels
    assert otel.spans[-1]["name"] == "execute_tool invented_299"


def test_huge_and_strange_results(otel):
    """Results that are large, cyclic or not JSON are measured or left out, and never in the way."""
    cyclic: list = []
    cyclic.append(cyclic)
    for value, size in (("ä" * 1_000_000, 2_000_000), (object(), None), (cyclic, None), (b"1234", 4), (None, None)):
        assert otel_tools.tool("work")(lambda value=value: value)() is value
        measured = otel.spans[-1]["attributes"].get("otel_tools.tool.result.size")
        assert size is None or measured == size


def test_agent_names_are_bounded(otel):
    """So are agents, whose names a program may make up for each session."""
    for number in range(300):
        with otel_tools.session(f"agent {number}"):
            pass
    assert len(otel.points(semconv.SESSIONS.name)) == 257
    assert otel.points(semconv.SESSIONS.name, gen_ai__agent__name=semconv.OTHER)[0]["value"] == 44


def test_memory_does_not_grow(server):
    """Calls, sessions, streams left early and invented tool names leave nothing behind; arguments die with the call."""
    recorder = Recorder(ALWAYS_OFF)
    recorder.instrument(mode="enforce")
    server.default = Reply(events=bodies.chat_stream())

    class Argument:
        pass

    def fail(value):
        raise ValueError(value)

    def round_of_calls(client, number):
        for name in range(20):
            value = Argument()
            with otel_tools.session(f"agent {name % 3}", conversation_id=f"{number} {name}"):
                otel_tools.tool("work")(lambda value: None)(value)
                with pytest.raises((ValueError, otel_tools.CircuitOpen)):
                    otel_tools.tool("fail")(fail)(value)
                otel_tools.tool(f"invented {number} {name}")(lambda value: None)(value)
        question = [{"role": "user", "content": "hi"}]
        with client.chat.completions.create(model="m", messages=question, stream=True) as stream:
            next(stream)
        recorder.clear()
        server.requests.clear()
        alive = weakref.ref(value)
        del value
        gc.collect()
        assert alive() is None

    gc.collect()
    gc.freeze()  # the libraries' own objects need not be looked at in each round
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client:
        for number in range(75):  # past the bounds on names
            round_of_calls(client, number)
        before = len(gc.get_objects())
        for number in range(75, 95):
            round_of_calls(client, number)
        grown = len(gc.get_objects()) - before
    recorder.uninstrument()
    recorder.shutdown()
    assert grown < 200  # objects, for 1200 tool calls, 400 sessions and 20 streams


def test_our_faults_are_logged_once_and_swallowed(otel, monkeypatch, caplog):
    """When recording fails the call goes on, and the log says so once."""
    monkeypatch.setattr(errors, "raise_internal_errors", False)
    monkeypatch.setattr(errors, "_reported", set())
    monkeypatch.setattr("otel_tools.telemetry.Telemetry.log", lambda *args, **kwargs: 1 / 0)
    caplog.set_level(logging.WARNING, "otel_tools")
    work = otel_tools.tool(lambda: "x")
    assert [work(), work()] == ["x", "x"]
    assert [record.message for record in caplog.records if record.name == "otel_tools"] == [
        "otel-tools failed while recording a call; the program goes on (reported once)"
    ]
    assert len(otel.spans) == 2  # the spans are ended all the same


async def test_a_cancellation_is_no_error(otel):
    """A call that its caller cancels has no `error.type`: on no signal, or error rates would count it."""

    @otel_tools.tool
    async def work():
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await work()
    [duration] = otel.points("gen_ai.execute_tool.duration")
    [record] = otel.logs
    shown = [otel.span()["attributes"], duration["attributes"], record["attributes"]]
    assert ["error.type" in attributes for attributes in shown] == [False, False, False]
