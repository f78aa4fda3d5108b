"""A tool's policy and a session's limits in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otel_tools.ops.runbooks.markdown import code
from otel_tools.policy.options import Circuit, Criticality, Limits, Mode, Policy
from otel_tools.policy.pipeline import MAX_WORKERS

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_COUNTS: Final = {"max_iterations": "LLM calls", "max_tool_calls": "tool calls", "max_tokens": "tokens"}


def seconds(value: float) -> str:
    """`600 ms`, `2 s`, `90 s`, `30 min`, `6 h`, `3 d`."""
    if value < 1:
        return f"{value * 1000:g} ms"
    for unit, sign in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if value >= unit and value % unit == 0:
            return f"{value / unit:g} {sign}"
    return f"{value:g} s"


def setting(value: float) -> str:
    """*value* seconds as they stand in `otel-tools.yaml`: `600ms`, `2s`, `30m`."""
    for unit, sign in ((_HOUR, "h"), (_MINUTE, "m")):
        if value >= unit and value % unit == 0:
            return f"{value / unit:g}{sign}"
    return f"{value:g}s" if value >= 1 else f"{value * 1000:g}ms"


def several(count: float, noun: str) -> str:
    """`1 failure`, `3 failures`."""
    return f"{count:g} {noun}{'' if count == 1 else 's'}"


def policy(policy: Policy, mode: Mode) -> list[str]:
    """What applies to a tool's calls, a sentence or two each."""
    return [_mode(mode), *_deadlines(policy, mode), *_circuit(policy, mode), _at_once(policy), _retries()]


def _mode(mode: Mode) -> str:
    if mode is Mode.ENFORCE:
        return "**Mode `enforce`**: the limits below act."
    return (
        "**Mode `observe`**: nothing below refuses or cuts short a call, spans and metrics only tell what would have "
        "happened. `disable` and `force-open` work all the same."
    )


def _deadlines(policy: Policy, mode: Mode) -> Iterator[str]:
    if policy.timeout is None:
        yield "**No timeout**: a call takes as long as its dependency lets it, and one that hangs, hangs."
    else:
        late = " A tool that is no coroutine goes on in its thread all the same and may still take effect."
        acts = f"then its caller goes on with the error.{late}" if mode is Mode.ENFORCE else "which is only reported."
        yield f"**Timeout**: a call may take {seconds(policy.timeout)}, {acts}"
    if policy.item_timeout is not None:
        yield f"**Timeout of an item**: the next item of a generator may take {seconds(policy.item_timeout)}."


def _circuit(policy: Policy, mode: Mode) -> Iterator[str]:
    circuit = policy.circuit
    if circuit is None:
        yield "**No circuit breaker**: however often it fails, it is called again. `force-open` opens one by hand."
        return
    shadow = "" if mode is Mode.ENFORCE else " (in shadow: it counts and refuses nothing)"
    yield f"**Circuit breaker**{shadow}: {_trips(circuit)} it, calls are then refused at once {_open_time(circuit)}."
    yield (
        "**What counts**: errors, timeouts and errors returned as data. What does not: cancelled calls, arguments "
        "that do not fit, and HTTP 4xx but 408, 425 and 429. A dependency that says `Retry-After` (429, 503) opens it "
        "at once for as long as it asks."
    )
    if policy.key is not None:
        what = f"the argument {code(policy.key)}" if isinstance(policy.key, str) else "a function in code"
        yield f"**A circuit for each value** of {what}: one that is open refuses calls of its own value only."


def _trips(circuit: Circuit) -> str:
    slow = f"a call of {seconds(circuit.slow_after)} or more is a failure, too; " if circuit.slow_after else ""
    spread = f" that began over {seconds(circuit.min_span)} or more" if circuit.min_span else ""
    trips = f"{several(circuit.failures, 'failure')} in a row{spread}"
    if circuit.failure_rate is None:
        return f"{slow}{trips} {'opens' if circuit.failures == 1 else 'open'}"
    share = f"{circuit.failure_rate:.0%} failures among the last {circuit.window} calls"
    return f"{slow}{trips}, or {share} (of at least {circuit.minimum_calls}), open"


def _open_time(circuit: Circuit) -> str:
    jitter = f" (and up to {circuit.jitter:.0%} more)" if circuit.jitter else ""
    grows = ""
    if circuit.max_reset_after > circuit.reset_after:
        grows = f"; the time doubles with each probe that fails, to at most {seconds(circuit.max_reset_after)}"
    return f"for {seconds(circuit.reset_after)}{jitter}; then exactly one call is let through as a probe{grows}"


def _at_once(policy: Policy) -> str:
    if policy.max_in_flight is not None:
        return f"**At once**: {several(policy.max_in_flight, 'call')} in each process; further ones are refused."
    if policy.timeout is not None:
        return f"**At once**: no limit set; {MAX_WORKERS} calls in each process where it is no coroutine."
    return "**At once**: no limit."


def _retries() -> str:
    return "**Retries**: otel-tools makes none; a client library or the model may."


def criticality(policy: Policy, mode: Mode) -> str:
    """What a failure means for the run."""
    if policy.criticality is Criticality.CRITICAL:
        return (
            "**Critical**: the run cannot do without it. A failure is raised into the agent's code, or becomes the "
            "error below where the framework expects errors as data. The user gets no answer, or one that says so."
        )
    if mode is Mode.OBSERVE:
        return (
            "**Optional**, but in mode `observe` a failure is raised all the same; only calls that an operator refuses "
            "become a note for the model."
        )
    return (
        "**Optional**: the run goes on. The model gets the note below instead of a result (or what the fallback given "
        "in code returns), and is told to tell the user what is missing. The answer is poorer, the session completes."
    )


def limits(limits: Limits | None) -> list[str]:
    """What one session may use, a sentence each."""
    if limits is None:
        return ["**Session limits**: none act (they need `mode: enforce`)."]
    amounts = [f"{amount:,} {noun}" for key, noun in _COUNTS.items() if (amount := getattr(limits, key)) is not None]
    if limits.max_cost_usd is not None:
        amounts.append(f"{limits.max_cost_usd:g} USD")
    if limits.max_duration is not None:
        amounts.append(seconds(limits.max_duration))
    told = [
        f"**Session limits**: {', '.join(amounts)}; calls after that are refused (`budget_exceeded`)."
        if amounts
        else "**Session limits**: none set."
    ]
    if limits.max_repeats is not None:
        told.append(
            f"**Loop guard**: the same arguments may give the same result {limits.max_repeats} times in a session; "
            "further such calls are refused (`loop_detected`)."
        )
    return told
