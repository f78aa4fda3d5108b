"""`make bench`: added microseconds per call, beside hand-written telemetry for the same signals."""

from __future__ import annotations

import compileall
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import openai
from langchain_core.tools import StructuredTool

import otel_tools
from otel_tools.engine import active
from otel_tools.instrumentor import OtelToolsInstrumentor
from otel_tools.patching import Patcher
from tests.bench import breakers, deadlines
from tests.bench.floor import ByHand
from tests.bench.measure import repeated, report
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
    return openai.OpenAI(base_url="https://llm.test/v1", api_key="x", http_client=httpx2.Client(transport=transport))


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
    """Patches for the duration of one variant's round only, so that bare and hand-written calls are really bare."""

    def __init__(self) -> None:
        providers = Providers()
        otel_tools.instrument(
            tracer_provider=providers.tracer, meter_provider=providers.meter, logger_provider=providers.logger
        )
        engine = active()
        assert engine is not None
        self._engine = engine
        patcher = OtelToolsInstrumentor().patcher
        assert patcher is not None
        patcher.undo()

    def around(self, run: Callable[[], float]) -> float:
        patcher = Patcher(self._engine)
        patcher.apply()
        try:
            return run()
        finally:
            patcher.undo()


def _timed(variants: dict[str, Callable[[], Any]], switch: Switch, calls: int, rounds: int = 25) -> dict[str, float]:
    """CPU microseconds per call of each variant: medians of rounds in which the variants take turns."""
    times: dict[str, list[float]] = {name: [] for name in variants}

    def spin(variant: Callable[[], Any]) -> float:
        started = time.thread_time_ns()
        for _ in range(calls):
            variant()
        return (time.thread_time_ns() - started) / calls / 1000

    for number in range(rounds + 2):
        for name, variant in variants.items():
            run = partial(spin, variant)
            spent = switch.around(run) if name == "otel-tools" else run()
            if number >= 2:  # the first rounds warm up
                times[name].append(spent)
    ratios = [(ours - bare) / (by_hand - bare) for bare, by_hand, ours in zip(*times.values(), strict=True)]
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {**medians, "ratio": statistics.median(ratios)}


WHY = """What the hand-written floor does not do, and a call of
ours does: read whatever request and response there is, look up the price, ask policy, look for the session or run that
the call belongs to, guard each of these steps, and come in between without the program's help (wrapt)."""


def calls() -> bool:
    """Tool, LangChain tool, chat, stream and async chat."""
    hand, switch = ByHand(Providers()), Switch()
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


def start_up() -> bool:
    """What `opentelemetry-instrument` takes longer because otel-tools is there (CPU time of the child)."""

    def start(disabled: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [Path(sys.executable).with_name("opentelemetry-instrument"), sys.executable, "-c", "pass"],
            env={**_environment(), "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": disabled, "OTEL_TOOLS_STORE": store.name},
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    store = tempfile.TemporaryDirectory()  # as by default, but not the user's own
    compileall.compile_dir(Path(otel_tools.__file__).parent, quiet=1)  # as installing a package does
    times: dict[str, list[float]] = {"otel_tools": [], "none": []}
    for _ in range(21):
        for disabled, measured in times.items():
            measured.append(start(disabled))
    store.cleanup()
    without, with_us = (statistics.median(times[name]) * 1000 for name in ("otel_tools", "none"))
    added = with_us - without
    print(f"start-up                     {without:>9.0f} ms, with otel-tools +{added:.0f} ms   <= 50  ", end="")
    print("ok" if added <= 50 else "over")
    return added <= 50


def _environment() -> dict[str, str]:
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
    os.environ["OTEL_TOOLS_STORE"] = "false"  # keep off the user's own overrides
    print("CPU time per call, medians of rounds in which the variants take turns\n")
    results = [calls(), breakers.sync(), breakers.asynchronous(), deadlines.sync(), deadlines.asynchronous()]
    print()
    results += [start_up(), hung_tool()]
    print("\nall targets met" if all(results) else f"\nsome targets are missed, see above. {WHY}")
