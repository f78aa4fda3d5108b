"""The Collector killed under load: what the agent feels of it, and what is lost."""

from __future__ import annotations

import statistics
import time

import pytest
from stack import Stack

from otel_tools.demo.program import Program, installed_models
from tests.e2e.conftest import demo_agent
from tests.e2e.test_demo_on_the_stack import query
from tests.stack.servers import eventually

OUTAGE = 30
"""Seconds without a Collector; half as long before and after."""
WAITED = 5.0
"""Seconds that a session of half a second cannot take unless it waits for an export (10 s)."""
SMALL_QUEUE = {"OTEL_BSP_MAX_QUEUE_SIZE": "64", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "32"}
"""So that half a minute of one agent is more than the SDK holds."""


def _load(program: Program, seconds: float) -> list[float]:
    """How long each session took, one after the other."""
    took: list[float] = []
    end = time.monotonic() + seconds
    while (began := time.monotonic()) < end:
        assert "answer" in program.ask("Where is my order 1042, and is the trail shoe in stock?", installed_models()[0])
        took.append(time.monotonic() - began)
    return took


def _line(name: str, took: list[float], base: float) -> str:
    median, p95 = statistics.median(took), statistics.quantiles(took, n=20)[-1]
    return (
        f"  {name:<7} {len(took):>4} sessions  median {median:.3f} s ({median / base:.2f})"
        f"  p95 {p95:.3f} s  max {max(took):.3f} s"
    )


@pytest.mark.parametrize("service", ["outage"])
def test_an_outage_of_the_collector(stack: Stack, service: str):
    """Sessions take as long as before, what the SDK drops is counted, and telemetry goes on afterwards."""
    with demo_agent(stack, OTEL_SERVICE_NAME=service, **SMALL_QUEUE) as (program, _):
        first = _load(program, 2)  # imports, connections
        before = _load(program, OUTAGE / 2)
        stack.kill("collector")
        during = _load(program, OUTAGE)
        stack.start("collector")
        after = _load(program, OUTAGE / 2)
        print(f"\nCollector killed for {OUTAGE} s; in brackets the ratio to before")
        for name, took in (("before", before), ("during", during), ("after", after)):
            print(_line(name, took, statistics.median(before)))
        assert max(during) < WAITED
        spans = f'otel_sdk_processor_span_processed_total{{service_name="{service}", error_type!=""}}'
        counted = eventually(lambda: query(stack, f"sum by (error_type) ({spans})"))
        print({it["metric"]["error_type"]: int(it["value"][1]) for it in counted}, "spans dropped by the SDK, counted")
    total = len(first) + len(before) + len(during) + len(after)
    # counters are cumulative: the sessions of the outage are in the next export
    sessions = f'sum(otel_tools_sessions_total{{service_name="{service}"}})'
    assert eventually(lambda: [it for it in query(stack, sessions) if int(it["value"][1]) == total])
    print(f"{total} sessions asked, {total} counted in Prometheus: the outage is in no metric")
