"""Limits of a session over real clients: reserved before a call, settled after it, refused before any HTTP byte."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import context

import otel_tools
from otel_tools import BudgetExceeded, Limits, MaxIterationsExceeded, PriceUnknown, Session, Unpriced
from otel_tools.calls.estimate import OUTPUT_TOKENS, expected_tokens, tokens_of
from otel_tools.engine import active
from otel_tools.model import Content, LLMRequest
from otel_tools.policy import Budget
from otel_tools.pricing import Prices
from tests.clients import openai_bodies as bodies
from tests.clients.openai_client import drain, make, settle
from tests.fake_server import FakeServer, Reply
from tests.policy.tools import Clock, at_once
from tests.recorder import Recorder

PRICED, UNPRICED = "our-model", "nobody-knows-its-price"
PRICES = {PRICED: {"input_per_million": 0, "output_per_million": 12_500}}
MAX_TOKENS = 10
CALL_USD = 0.125  # MAX_TOKENS at that price: what a call costs, and what is reserved for it
CAP_USD = 0.95
TOKENS = 15  # what a call uses
RESERVED_TOKENS = 30  # at least what is reserved for it: the size of the message and its envelope, and the maximum
CALLS = 50


@pytest.fixture(autouse=True)
def _prices(otel: Recorder) -> None:
    otel.instrument(prices=PRICES)


def answer(model: str = PRICED, tokens: int = MAX_TOKENS) -> dict[str, Any]:
    usage = {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens}
    return {**bodies.chat(), "model": model, "usage": usage}


def ask(client: Any, model: str = PRICED, **options: Any) -> Any:
    options = {"max_tokens": MAX_TOKENS, **options}
    return client.chat.completions.create(model=model, messages=bodies.MESSAGES, **options)


def used(run: Session) -> dict[str, float]:
    return run.budget.accounts[0].used


# --- 50 calls at once -----------------------------------------------------------------------------------------------
class Gate(FakeServer):
    """Answers nobody until everybody has been refused or has sent a request: all calls are under way at once."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self._open = threading.Event()
        self._missing = calls
        self._lock = threading.Lock()

    def arrive(self) -> None:
        with self._lock:
            self._missing -= 1
            if self._missing == 0:
                self._open.set()

    def _next(self) -> Reply:
        if self._replies:
            return self._replies.popleft()
        self.arrive()
        return Reply(answer(self.requests[-1].body["model"]), hold=self._open)


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate(CALLS).running() as gate:
        yield gate


def model_of(number: int, mixed: bool) -> str:
    return UNPRICED if mixed and number % 2 else PRICED


def in_threads(gate: Gate, run: Session, mixed: bool) -> list[Any]:
    client = make("sync", gate.url)

    def one(number: int) -> Any:
        try:
            return ask(client, model_of(number, mixed))
        except BudgetExceeded:
            gate.arrive()
            raise

    here = context.get_current()

    def with_session(number: int) -> Any:
        token = context.attach(here)
        try:
            return one(number)
        finally:
            context.detach(token)

    with client:
        return at_once(CALLS, with_session)


def in_tasks(gate: Gate, run: Session, mixed: bool) -> list[Any]:
    async def one(client: Any, number: int) -> Any:
        try:
            return await ask(client, model_of(number, mixed))
        except BudgetExceeded:
            gate.arrive()
            raise

    async def all_of_them() -> list[Any]:
        async with make("async", gate.url) as client:
            return await asyncio.gather(*(one(client, n) for n in range(CALLS)), return_exceptions=True)

    return asyncio.run(all_of_them())


AT_ONCE = pytest.mark.parametrize("at_the_same_time", [in_threads, in_tasks])


def rush(
    gate: Gate, at_the_same_time: Any, limits: Limits, before: int, mixed: bool = False, first: str = PRICED
) -> tuple[Session, Any]:
    """The session, and what came of 50 calls at once after *before* calls one by one."""
    with otel_tools.session("support", limits=limits) as run:
        with make("sync", gate.url) as client:
            for _ in range(before):
                gate.reply(answer(first))
                ask(client, first)
        results = at_the_same_time(gate, run, mixed)
    return run, results


@AT_ONCE
@pytest.mark.parametrize(("before", "granted"), [(0, 8), (7, 1)])
def test_parallel_calls_stay_within_one_reservation(
    gate: Gate, at_the_same_time: Any, before: int, granted: int
) -> None:
    """50 calls under one cap, the first ones or just short of the money: spend <= cap + one reservation."""
    run, results = rush(gate, at_the_same_time, Limits(max_cost_usd=CAP_USD), before)
    assert CAP_USD <= run.totals.cost_usd <= CAP_USD + CALL_USD
    refused = [result for result in results if isinstance(result, BudgetExceeded)]
    assert (len(refused), len(gate.requests)) == (CALLS - granted, before + granted)
    assert {str(error) for error in refused} == {
        "the LLM was not called, the session's limit is used up: max_cost_usd of 0.95"
    }
    assert used(run)["max_cost_usd"] == pytest.approx(run.totals.cost_usd)
    assert run.outcome == "budget_exceeded"


@AT_ONCE
def test_without_reservations_the_cap_does_not_hold(
    gate: Gate, at_the_same_time: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same without reservations overruns the cap: it is them that the test above is about."""
    nothing = {"max_iterations": 1, "max_tokens": 0, "max_cost_usd": 0.0}
    monkeypatch.setattr(Budget, "_amounts", lambda *_: dict(nothing))
    run, _ = rush(gate, at_the_same_time, Limits(max_cost_usd=CAP_USD), before=7)
    assert run.totals.cost_usd > CAP_USD + CALL_USD
    assert len(gate.requests) == CALLS + 7


@AT_ONCE
@pytest.mark.parametrize("unpriced", list(Unpriced))
def test_half_of_them_without_a_price(gate: Gate, at_the_same_time: Any, otel: Recorder, unpriced: Unpriced) -> None:
    """Calls that money cannot count are refused, bounded by tokens or warned of once; either way they are visible."""
    limits = Limits(max_cost_usd=CAP_USD, max_tokens=300, unpriced=unpriced)
    before = PRICED if unpriced is Unpriced.DENY else UNPRICED
    run, results = rush(gate, at_the_same_time, limits, before=1, mixed=True, first=before)
    sent = [request.body["model"] for request in gate.requests].count(UNPRICED)
    told = sum(point["value"] for point in otel.points("otel_tools.client.unpriced"))
    assert run.totals.cost_usd <= CAP_USD + CALL_USD
    assert run.totals.input_tokens + run.totals.output_tokens <= 300 + RESERVED_TOKENS
    assert run.totals.unpriced_tokens == told == TOKENS * sent
    denied = sum(isinstance(result, PriceUnknown) for result in results)
    assert (denied, sent == 0) == ((CALLS // 2, True) if unpriced is Unpriced.DENY else (0, False))
    events = [log["event"] for log in otel.logs]
    assert events.count("otel_tools.session.unpriced") == (1 if unpriced is Unpriced.WARN else 0)


# --- models without a price -----------------------------------------------------------------------------------------
def test_a_warning_once_a_session(otel: Recorder, server: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    """The cost limit says once in a session, sub-agents included, what it does not count; the next session again."""
    server.default = Reply(answer(UNPRICED))
    with make("sync", server.url) as client:
        for _ in range(2):
            with otel_tools.session("support", limits=Limits(max_cost_usd=1.0), user_id="u-1"):
                ask(client, UNPRICED)
                with otel_tools.session("inner"):
                    ask(client, UNPRICED)
    warnings = [log for log in otel.logs if log["event"] == "otel_tools.session.unpriced"]
    assert (
        warnings
        == [
            {
                "event": "otel_tools.session.unpriced",
                "severity": "WARN",
                "body": f"chat {UNPRICED}: no price is known, so the session's cost limit does not count it",
                "attributes": {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": "openai",
                    "gen_ai.request.model": UNPRICED,
                    "server.address": "127.0.0.1",
                    "server.port": server.port,
                    "gen_ai.agent.name": "support",
                    "user.id": "u-1",
                },
            }
        ]
        * 2
    )
    said = [record.getMessage() for record in caplog.records if record.name == "otel_tools"]
    assert (
        said == [f"max_cost_usd does not count calls of {UNPRICED!r}: no price is known; give one under `prices:`"] * 2
    )


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_denied_before_any_byte(otel: Recorder, server: FakeServer, kind: str) -> None:
    """`deny` refuses a model without a price, says what to do, ends the session so and sends nothing."""
    limits = Limits(max_cost_usd=1.0, unpriced=Unpriced.DENY)
    with otel_tools.session("support", limits=limits) as run, pytest.raises(PriceUnknown) as raised:
        await settle(ask(make(kind, server.url), UNPRICED))
    assert str(raised.value) == (
        "the LLM was not called, its price is not known: max_cost_usd needs the price of 'nobody-knows-its-price': "
        "give it under `prices:` or set `unpriced: warn`"
    )
    assert (server.requests, run.outcome, run.totals.inference_calls) == ([], "budget_exceeded", 0)
    span = otel.span(f"chat {UNPRICED}")
    assert (span["status"], span["attributes"]["error.type"]) == ("ERROR", "budget_exceeded")
    assert otel.points("gen_ai.client.operation.duration") == []


def test_a_sub_agent_may_be_stricter(otel: Recorder, server: FakeServer) -> None:
    """A denial by a sub-agent's own limits ends the sub-agent's run, not the session around it."""
    server.default = Reply(answer(UNPRICED))
    with make("sync", server.url) as client, otel_tools.session("outer") as outer:
        with otel_tools.session("inner", limits=Limits(max_cost_usd=1.0, unpriced=Unpriced.DENY)) as inner:
            with pytest.raises(PriceUnknown):
                ask(client, UNPRICED)
        ask(client, UNPRICED)
    assert (inner.outcome, outer.outcome, len(server.requests)) == ("budget_exceeded", "completed", 1)


# --- time -----------------------------------------------------------------------------------------------------------
def test_a_session_runs_out_of_time(otel: Recorder, server: FakeServer) -> None:
    """After its duration neither a model nor a tool is called, in sub-agents neither."""
    engine, clock = active(), Clock()
    assert engine is not None
    engine.clock = clock
    look_up = otel_tools.tool("look_up")(lambda: "found")
    server.default = Reply(answer())
    with make("sync", server.url) as client:
        with otel_tools.session("support", limits=Limits(max_duration=90)) as run:
            clock.tick(89)
            ask(client)
            assert look_up() == "found"
            clock.tick(1)
            with otel_tools.session("inner") as inner:
                with pytest.raises(BudgetExceeded, match=r"^the LLM was not called, .*: max_duration of 90 s$"):
                    ask(client)
                with pytest.raises(BudgetExceeded, match=r"^look_up was not called, .*: max_duration of 90 s$"):
                    look_up()
    assert (len(server.requests), run.outcome, inner.outcome) == (1, "budget_exceeded", "budget_exceeded")
    span = next(span for span in reversed(otel.spans) if span["name"] == "execute_tool look_up")
    assert span["attributes"]["otel_tools.outcome"] == "budget_exceeded"
    assert span["attributes"]["otel_tools.refusal.detail"] == "max_duration of 90 s"


def test_iterations_end_it_first(otel: Recorder, server: FakeServer) -> None:
    """The first limit that refuses a call says how the session ended."""
    server.default = Reply(answer())
    limits = Limits(max_iterations=1, max_tool_calls=1)
    look_up = otel_tools.tool("look_up")(lambda: "found")
    with make("sync", server.url) as client, otel_tools.session("support", limits=limits) as run:
        ask(client)
        look_up()
        with pytest.raises(MaxIterationsExceeded):
            ask(client)
        with pytest.raises(BudgetExceeded):
            look_up()
    assert run.outcome == "max_iterations"


# --- what counts when the provider does not say ---------------------------------------------------------------------
LIMITS = Limits(max_tokens=100_000, max_cost_usd=100.0)


def test_an_error_is_free(otel: Recorder, server: FakeServer) -> None:
    """A call that the service refused gives back what was reserved for it; it was an iteration all the same."""
    server.reply(bodies.error(), status=500)
    with make("sync", server.url) as client, otel_tools.session("support", limits=LIMITS) as run:
        with pytest.raises(Exception, match="500"):
            ask(client)
    assert used(run) == {"max_iterations": 1, "max_tool_calls": 0, "max_tokens": 0, "max_cost_usd": 0}


async def test_a_cancelled_call_is_free(otel: Recorder, server: FakeServer) -> None:
    """A call that was cancelled before an answer gives back what was reserved for it."""
    arrived, hold = threading.Event(), threading.Event()

    class Told(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            arrived.set()
            return hold.wait(timeout)

    server.reply(answer(), hold=Told())
    async with make("async", server.url) as client:
        with otel_tools.session("support", limits=LIMITS) as run:
            task = asyncio.ensure_future(ask(client))
            await asyncio.to_thread(arrived.wait, 30)
            assert used(run)["max_cost_usd"] == CALL_USD
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    hold.set()
    assert used(run) == {"max_iterations": 1, "max_tool_calls": 0, "max_tokens": 0, "max_cost_usd": 0}


async def stream(server: FakeServer, kind: str, events: list[Any], *, leave: bool) -> Session:
    server.reply(events=events)
    with otel_tools.session("support", limits=LIMITS) as run:
        chunks = await settle(ask(make(kind, server.url), stream=True))
        if not leave:
            await drain(chunks)
        elif kind == "sync":
            next(iter(chunks))
            chunks.close()
        else:
            await anext(aiter(chunks))
            await chunks.close()
    return run


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_stream_that_reports_its_usage(otel: Recorder, server: FakeServer, kind: str) -> None:
    """What the provider bills is what counts."""
    run = await stream(server, kind, bodies.chat_stream(), leave=False)
    assert used(run)["max_tokens"] == 117 + 25


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_whole_stream_without_usage(otel: Recorder, server: FakeServer, kind: str) -> None:
    """A whole answer without usage counts by its size, in limits only: the totals show what was reported."""
    run = await stream(server, kind, bodies.chat_stream(usage=False), leave=False)
    output = [{"role": "assistant", "parts": [{"type": "text", "content": "It is sunny."}], "finish_reason": "stop"}]
    received = tokens_of(output)
    prompt = [{"role": "user", "parts": [{"type": "text", "content": bodies.MESSAGES[0]["content"]}]}]
    assert used(run)["max_tokens"] == tokens_of(prompt) + received
    assert used(run)["max_cost_usd"] == pytest.approx(received * CALL_USD / MAX_TOKENS)
    assert (run.totals.input_tokens, run.totals.output_tokens, run.totals.cost_usd) == (0, 0, 0.0)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_stream_left_early_without_usage(otel: Recorder, server: FakeServer, kind: str) -> None:
    """What was reserved stands for a stream that was cut short: the service may have gone on."""
    run = await stream(server, kind, bodies.chat_stream(), leave=True)
    assert used(run)["max_cost_usd"] == CALL_USD
    assert used(run)["max_tokens"] >= MAX_TOKENS


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_stream_that_fails_at_once(otel: Recorder, server: FakeServer, kind: str) -> None:
    """A stream that brings an error and nothing else is free, as any other refused request."""
    server.reply(events=[{"error": {"message": "overloaded", "code": "overloaded"}}])
    with otel_tools.session("support", limits=LIMITS) as run:
        with pytest.raises(Exception, match="overloaded"):
            await drain(await settle(ask(make(kind, server.url), stream=True)))
    assert used(run)["max_tokens"] == 0


def test_an_answer_that_cannot_be_measured(otel: Recorder, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was reserved stands for an answer that a fault of ours keeps from being measured."""
    monkeypatch.setattr("otel_tools.errors.raise_internal_errors", False)
    monkeypatch.setattr("otel_tools.calls.llm.tokens_of", None)
    server.reply({**bodies.chat(), "usage": None})
    with make("sync", server.url) as client, otel_tools.session("support", limits=LIMITS) as run:
        ask(client)
    assert used(run)["max_cost_usd"] == CALL_USD


async def test_a_stream_left_early_with_known_usage(otel: Recorder, server: FakeServer) -> None:
    """A stream that was cut short after it had reported its usage is billed by that."""
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    events = [bodies.chunk(bodies.delta(content="It"), usage=usage), *bodies.chat_stream()]
    run = await stream(server, "sync", events, leave=True)
    assert used(run)["max_tokens"] == 9


def test_a_call_that_timed_out(otel: Recorder, server: FakeServer) -> None:
    """What was reserved stands for a call at its deadline: nobody knows whether it is billed."""
    otel.instrument(mode="enforce", prices=PRICES, clients={"openai": {"timeout": 0.05}})
    server.reply(answer(), hold=threading.Event())
    with make("sync", server.url) as client, otel_tools.session("support", limits=LIMITS) as run:
        with pytest.raises(otel_tools.CallTimeout):
            ask(client)
    assert used(run)["max_cost_usd"] == CALL_USD


# --- estimates ------------------------------------------------------------------------------------------------------
def request_of(content: Content | None, operation: str = "chat", **fields: Any) -> LLMRequest:
    wire: Any = None
    read = None if content is None else lambda: content
    return LLMRequest(operation, "openai", "openai", "gpt-4o", wire, fields=fields, content=read)


def text(content: str) -> Content:
    return Content(input_messages=[{"role": "user", "parts": [{"type": "text", "content": content}]}])


ENVELOPE = len("roleuserpartstypetextcontent")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (request_of(None), (0, OUTPUT_TOKENS)),
        (request_of(text("x" * (400 - ENVELOPE)), max_tokens=7), (100, 7)),
        (request_of(text("x" * (401 - ENVELOPE)), max_tokens=7, choice_count=3), (101, 21)),
        (request_of(text("é" * 200)), ((400 + ENVELOPE + 3) // 4, OUTPUT_TOKENS)),
        (request_of(text("\ud800")), ((3 + ENVELOPE + 3) // 4, OUTPUT_TOKENS)),
        (request_of(text("abcd"), "embeddings"), ((4 + ENVELOPE + 3) // 4, 0)),
        (request_of(Content(input_messages=[{"type": "blob", "content": "x" * 1_000_000}])), (1024, OUTPUT_TOKENS)),
        (request_of(Content(tool_definitions=[{"n": 12345, "none": None, "s": ("ab",)}])), (3, OUTPUT_TOKENS)),
    ],
    ids=["no content", "ascii", "rounded up, 3 choices", "utf-8", "surrogate", "embeddings", "image", "numbers"],
)
def test_what_a_request_is_expected_to_use(request_: LLMRequest, expected: tuple[int, int]) -> None:
    """Input by the size of the messages, 4 bytes a token, rounded up; output as the request says, or the default."""
    assert expected_tokens(request_) == expected


def test_a_request_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in reading the messages leaves the maximum of output to reserve."""
    monkeypatch.setattr("otel_tools.errors.raise_internal_errors", False)

    def broken() -> Content:
        raise RuntimeError

    request = request_of(None, max_tokens=7)
    request.content = broken
    assert expected_tokens(request) == (0, 7)


def test_no_limit_no_estimate(otel: Recorder, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages are read for their size only where tokens or cost are limited."""
    read: list[LLMRequest] = []

    def reading(request: LLMRequest) -> tuple[int, int]:
        read.append(request)
        return 1, 1

    monkeypatch.setattr("otel_tools.calls.llm.expected_tokens", reading)
    server.default = Reply(answer())
    with make("sync", server.url) as client:
        for limits, expected in ((None, 0), (Limits(max_iterations=5), 0), (Limits(max_tokens=50), 1)):
            with otel_tools.session("support", limits=limits):
                ask(client)
            assert len(read) == expected


# --- price tables ---------------------------------------------------------------------------------------------------
def test_tables_are_loaded_before_they_are_needed(otel: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cost limit has the price tables loaded when the program starts, or with the session that brings it in code."""
    loads: list[str] = []
    monkeypatch.setattr(Prices, "load", lambda _: loads.append("now"))
    otel.instrument(mode="observe", sessions={"max_cost_usd": 1.0})
    otel.instrument(mode="enforce", sessions={"max_tokens": 1})
    with otel_tools.session("support"):
        assert loads == []
    otel.instrument(mode="enforce", sessions={"max_cost_usd": 1.0})
    assert len(loads) == 1
    otel.instrument()
    with otel_tools.session("support", limits=Limits(max_cost_usd=1.0)):
        assert len(loads) == 2


def test_the_endpoint_helps_to_find_the_price(otel: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the provider's name says nothing about the price, the host that is called does."""
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(Prices, "prepare", lambda _, *what: asked.append(what))
    with FakeServer().running() as server, make("sync", server.url) as client:
        server.reply(answer())
        ask(client)
    assert asked == [("openai", PRICED, "https://127.0.0.1")]


def test_usage_that_cannot_be(server: FakeServer) -> None:
    """Negative tokens, and a cost that is negative or no number, give nothing back: the size of the answer counts."""
    with make("sync", server.url) as client, otel_tools.session(limits=Limits(max_cost_usd=1, max_tokens=1000)) as run:
        for cost in (float("nan"), -3.0):
            usage = {"prompt_tokens": -500, "completion_tokens": -5, "total_tokens": 2, "cost": cost}
            server.reply({**answer(), "usage": usage})
            before = dict(used(run))
            ask(client)
            assert all(used(run)[name] > before[name] for name in ("max_tokens", "max_cost_usd"))
