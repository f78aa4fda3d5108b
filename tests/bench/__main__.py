"""`make bench`: added microseconds per call, beside hand-written telemetry for the same signals."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx2
import openai
from langchain_core.tools import StructuredTool

import otel_tools
from otel_tools.policy import Mode, Pipeline, Policy, Verdict
from tests.bench.floor import ByHand
from tests.bench.measure import compare, repeated, report
from tests.bench.providers import Providers

CHUNKS = 200


def search(query: str, limit: int = 5) -> str:
    """Search."""
    return "three results"


def _completion() -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 120, "completion_tokens": 20, "total_tokens": 140},
    }


def _events() -> bytes:
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}

    def event(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    events = [event({"role": "assistant", "content": ""})]
    events += [event({"content": "word "}) for _ in range(CHUNKS - 3)]
    events += [event({}, "stop"), {**chunk, "choices": [], "usage": _completion()["usage"]}]
    return b"".join(b"data: " + json.dumps(item).encode() + b"\n\n" for item in events) + b"data: [DONE]\n\n"


_COMPLETION = json.dumps(_completion()).encode()
_STREAM = _events()


def _answer(request: Any) -> Any:
    if json.loads(request.content).get("stream"):
        return httpx2.Response(200, content=_STREAM, headers={"content-type": "text/event-stream"})
    return httpx2.Response(200, content=_COMPLETION, headers={"content-type": "application/json"})


def _client() -> Any:
    transport = httpx2.MockTransport(_answer)
    return openai.OpenAI(
        base_url="https://llm.test/v1", api_key="x", http_client=httpx2.Client(transport=transport)
    )


def _async_client() -> Any:
    transport = httpx2.MockTransport(_answer)
    return openai.AsyncOpenAI(
        base_url="https://llm.test/v1", api_key="x", http_client=httpx2.AsyncClient(transport=transport)
    )


REQUEST: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Hello?"}],
    "temperature": 0.2,
    "max_tokens": 200,
}
STREAM: dict[str, Any] = {**REQUEST, "stream": True, "stream_options": {"include_usage": True}}


class Switch:
    """Instruments for the duration of one variant's round only: bare and hand-written calls are really bare."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers

    def around(self, variant: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            otel_tools.instrument(
                tracer_provider=self._providers.tracer,
                meter_provider=self._providers.meter,
                logger_provider=self._providers.logger,
            )
            try:
                variant()
            finally:
                otel_tools.uninstrument()

        return run


def _timed(variants: dict[str, Callable[[], Any]], switch: Switch, calls: int, rounds: int = 25) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in variants}

    def spin(variant: Callable[[], Any]) -> float:
        started = time.thread_time_ns()
        for _ in range(calls):
            variant()
        return (time.thread_time_ns() - started) / calls / 1000

    for number in range(rounds + 2):
        for name, variant in variants.items():
            spent: list[float] = []
            run = lambda variant=variant, spent=spent: spent.append(spin(variant))  # noqa: E731
            (switch.around(run) if name == "otel-tools" else run)()
            if number >= 2:
                times[name] += spent
    return {name: statistics.median(values) for name, values in times.items()}


def calls() -> bool:
    """Tool, LangChain tool, chat, stream and async chat."""
    hand, switch = ByHand(Providers()), Switch(Providers())
    decorated = otel_tools.tool(search)
    structured = StructuredTool.from_function(search)
    client, async_client = _client(), _async_client()

    def create() -> Any:
        return client.chat.completions.create(**REQUEST)

    def create_async() -> Any:
        return async_client.chat.completions.create(**REQUEST)

    def create_stream() -> Any:
        return client.chat.completions.create(**STREAM)

    def drain(items: Any) -> None:
        for _ in items:
            pass

    arguments = {"query": "q", "limit": 3}
    batch = 20
    good = True
    print(f"{'':<28} {'bare µs':>9} {'by hand +µs':>12} {'otel-tools +µs':>12} {'ratio':>6}   target")
    table: list[tuple[str, dict[str, Callable[[], Any]], int, int]] = [
        (
            "plain tool",
            {
                "bare": lambda: search("q", limit=3),
                "by hand": lambda: hand.tool(search, "q", limit=3),
                "otel-tools": lambda: decorated("q", limit=3),
            },
            300,
            1,
        ),
        (
            "LangChain tool",
            {
                "bare": lambda: structured.run(arguments),
                "by hand": lambda: hand.tool(lambda query, limit: structured.run(arguments), "q", limit=3),
                "otel-tools": lambda: structured.run(arguments),
            },
            60,
            1,
        ),
        (
            "OpenAI chat",
            {"bare": create, "by hand": lambda: hand.chat(create), "otel-tools": create},
            30,
            1,
        ),
        (
            "OpenAI chat, async",
            {
                "bare": repeated(create_async, batch),
                "by hand": repeated(lambda: hand.async_chat(create_async), batch),
                "otel-tools": repeated(create_async, batch),
            },
            2,
            batch,
        ),
        (
            f"OpenAI stream, {CHUNKS} chunks",
            {
                "bare": lambda: drain(create_stream()),
                "by hand": lambda: drain(hand.stream(create_stream)),
                "otel-tools": lambda: drain(create_stream()),
            },
            3,
            1,
        ),
    ]
    for title, variants, count, per in table:
        good &= report(title, _timed(variants, switch, count), per=per)
    return good


def policy() -> bool:
    """The whole of policy on the closed path: admission and settlement."""
    pipeline = Pipeline("search", Policy(), Mode.ENFORCE)

    def closed() -> None:
        pipeline.settle(pipeline.admit(), Verdict.SUCCESS)

    figures = compare({"nothing": lambda: None, "policy": closed}, 5000)
    added = figures["policy"] - figures["nothing"]
    print(f"\npolicy on the closed path    {added:>9.2f} µs   <= 1    {'ok' if added <= 1 else 'over'}")
    return added <= 1


_START = "import opentelemetry.instrumentation.auto_instrumentation, {}; print(0)"


def start_up() -> bool:
    """What `opentelemetry-instrument` takes longer because otel-tools is there, and what it imports."""

    def start(disabled: str) -> float:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "opentelemetry.instrumentation.auto_instrumentation", sys.executable, "-c", "pass"],
            env={
                **_environment(),
                "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": disabled,
            },
            check=True,
        )
        return time.perf_counter() - started

    times: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(11):
        times["without"].append(start("otel_tools"))
        times["with"].append(start(""))
    without, with_us = (statistics.median(times[name]) * 1000 for name in ("without", "with"))
    added = with_us - without
    print(f"start-up                     {without:>9.0f} ms, with otel-tools +{added:.0f} ms   <= 50  ", end="")
    print("ok" if added <= 50 else "over")
    return added <= 50


def _environment() -> dict[str, str]:
    import os  # noqa: PLC0415  only here

    none = dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"), "none")
    return {**os.environ, **none}


_HANG = """
import threading, time, otel_tools
otel_tools.instrument(settings={"mode": "enforce"})
@otel_tools.tool(timeout=0.2, max_in_flight=200, circuit=None)
def hang(): time.sleep(60)
@otel_tools.tool(timeout=5)
def healthy(): return "ok"
def call():
    try: hang()
    except otel_tools.CallTimeout: pass
started = time.perf_counter(); call(); print(f"{time.perf_counter() - started:.3f}", end=" ")
threads = [threading.Thread(target=call) for _ in range(100)]
for thread in threads: thread.start()
for thread in threads: thread.join()
started = time.perf_counter(); healthy(); print(f"{(time.perf_counter() - started) * 1000:.1f}", end=" ")
print(f"{time.time()}", flush=True)
"""


def hung_tool() -> bool:
    """A tool that hangs for a minute, with a deadline of 0.2 s."""
    done = subprocess.run([sys.executable, "-c", _HANG], capture_output=True, text=True, check=True)
    back, healthy, ended = done.stdout.split()
    exit_took = time.time() - float(ended)
    print(f"\nsync tool hangs 60 s, deadline 0.2 s: caller back after {float(back):.3f} s (<= 0.3)")
    print(f"with 100 more calls hung, another tool with a deadline answers in {float(healthy):.1f} ms")
    print(f"the process, with 101 hung calls, exits in {exit_took:.2f} s")
    return float(back) <= 0.3 and exit_took < 1


if __name__ == "__main__":
    print("CPU time per call, medians of rounds in which the variants take turns\n")
    results = [calls(), policy(), start_up(), hung_tool()]
    print("\nall targets met" if all(results) else "\nsome targets are missed, see above")
