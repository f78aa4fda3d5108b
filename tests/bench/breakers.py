"""The closed path of a circuit breaker, beside the four best-known ones of Python, sync and async."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import otel_tools
from otel_tools.policy import Circuit, CircuitBreaker, Mode, Permit, Pipeline, Policy, Refusal, Verdict, classify
from tests.bench.measure import compare, repeated

OTHERS = ("pybreaker", "purgatory", "circuitbreaker", "aiobreaker")
BATCH = 50
"""Awaits per run of an event loop, whose own start would otherwise be measured."""


def work(number: int, factor: int = 2) -> int:
    """A dependency that is healthy and takes no time."""
    return number * factor


async def async_work(number: int, factor: int = 2) -> int:
    """The same to be awaited."""
    return number * factor


# --- wrappers of ours -----------------------------------------------------------------------------------------------
def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every decorator costs that passes arguments on, without doing anything."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


def async_wrapped(function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """The same for a coroutine function."""

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return call


def breaker(function: Callable[..., Any]) -> Callable[..., Any]:
    """Our circuit breaker alone."""
    circuit = CircuitBreaker("work", Circuit())

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        permit = circuit.acquire()
        if not isinstance(permit, Permit):
            raise otel_tools.CircuitOpen("work", permit.retry_after)
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            circuit.record(permit, classify(error).verdict)
            raise
        circuit.record(permit, Verdict.SUCCESS)
        return value

    return call


def policy(function: Callable[..., Any]) -> Callable[..., Any]:
    """All that stands before and after each call: kill switch, bulkhead, circuit breaker."""
    pipeline = Pipeline("work", Policy(), Mode.ENFORCE)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        attempt = pipeline.admit()
        if isinstance(attempt, Refusal):
            raise attempt.error()
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            pipeline.settle(attempt, classify(error).verdict)
            raise
        pipeline.settle(attempt, Verdict.SUCCESS)
        return value

    return call


def async_policy(function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """The same for a coroutine function."""
    pipeline = Pipeline("work", Policy(), Mode.ENFORCE)

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        attempt = pipeline.admit()
        if isinstance(attempt, Refusal):
            raise attempt.error()
        try:
            value = await function(*args, **kwargs)
        except BaseException as error:
            pipeline.settle(attempt, classify(error).verdict)
            raise
        pipeline.settle(attempt, Verdict.SUCCESS)
        return value

    return call


def async_breaker(function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """Our circuit breaker alone, for a coroutine function."""
    circuit = CircuitBreaker("work", Circuit())

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        permit = circuit.acquire()
        if not isinstance(permit, Permit):
            raise otel_tools.CircuitOpen("work", permit.retry_after)
        try:
            value = await function(*args, **kwargs)
        except BaseException as error:
            circuit.record(permit, classify(error).verdict)
            raise
        circuit.record(permit, Verdict.SUCCESS)
        return value

    return call


# --- the others -----------------------------------------------------------------------------------------------------
def others() -> dict[str, Callable[..., Any]]:
    """Each library's own decorator on the sync function."""
    import aiobreaker
    import circuitbreaker
    import purgatory
    import pybreaker

    lasting = timedelta(seconds=60)
    return {
        "pybreaker": pybreaker.CircuitBreaker(fail_max=3, reset_timeout=60)(work),
        "purgatory": purgatory.SyncCircuitBreakerFactory(3, 60)("work")(work),
        "circuitbreaker": circuitbreaker.CircuitBreaker(3, 60, name="work")(work),
        "aiobreaker": aiobreaker.CircuitBreaker(fail_max=3, timeout_duration=lasting)(work),
    }


def async_others() -> dict[str, Callable[..., Any]]:
    """Each library's own decorator on the coroutine function; pybreaker has none for asyncio."""
    import aiobreaker
    import circuitbreaker
    import purgatory

    lasting = timedelta(seconds=60)
    return {
        "purgatory": purgatory.AsyncCircuitBreakerFactory(3, 60)("work")(async_work),
        "circuitbreaker": circuitbreaker.CircuitBreaker(3, 60, name="async work")(async_work),
        "aiobreaker": aiobreaker.CircuitBreaker(fail_max=3, timeout_duration=lasting)(async_work),
    }


# --- the table ------------------------------------------------------------------------------------------------------
def sync() -> bool:
    """Sync calls: ours is at most 1 µs over the bare wrapper, and below every other one."""
    variants = {
        "bare wrapper": wrapped(work),
        "otel-tools breaker": breaker(work),
        "otel-tools admit + settle": policy(work),
        "@otel_tools.tool, telemetry too": otel_tools.tool(wrapped(work)),
        **(others() if _installed() else {}),
    }
    figures = compare({name: functools.partial(call, 7, factor=3) for name, call in variants.items()}, 1000)
    return _table("sync call through a closed circuit", figures)


def asynchronous() -> bool:
    """The same for async calls."""
    variants = {
        "bare wrapper": async_wrapped(async_work),
        "otel-tools breaker": async_breaker(async_work),
        "otel-tools admit + settle": async_policy(async_work),
        "@otel_tools.tool, telemetry too": otel_tools.tool(async_wrapped(async_work)),
        **(async_others() if _installed() else {}),
    }
    runs = {name: repeated(functools.partial(call, 7, factor=3), BATCH) for name, call in variants.items()}
    figures = {name: figure / BATCH for name, figure in compare(runs, 20).items()}
    return _table("async call through a closed circuit", figures)


def _installed() -> bool:
    missing = [name for name in OTHERS if importlib.util.find_spec(name) is None]
    if missing:
        print(f"not compared, {', '.join(missing)} not installed: `make bench` does that")
    return not missing


def _table(title: str, figures: dict[str, float]) -> bool:
    """What each adds to the bare wrapper. The breaker alone does what the others do; admit + settle does more."""
    bare = figures.pop("bare wrapper")
    added = {name: figure - bare for name, figure in figures.items()}
    fastest = min((added[name] for name in OTHERS if name in added), default=float("inf"))
    bounds = {"otel-tools breaker": min(1.0, fastest), "otel-tools admit + settle": 1.0}
    print(f"\n{title:<34} bare wrapper {bare:.2f} µs")
    for name, microseconds in added.items():
        ratio = f"{microseconds / added['otel-tools breaker']:>6.1f} times our breaker" if name in OTHERS else ""
        print(f"  {name:<32} +{microseconds:>6.2f} µs {ratio}{_verdict(microseconds, bounds.get(name))}".rstrip())
    return all(added[name] <= bound for name, bound in bounds.items())


def _verdict(microseconds: float, bound: float | None) -> str:
    if bound is None:
        return ""
    which = "" if bound == 1.0 else " (the fastest other one)"
    return f"  <= {bound:.2f}{which}   {'ok' if microseconds <= bound else 'over'}"
