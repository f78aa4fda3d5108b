"""What a model is told when a tool gave nothing."""

from __future__ import annotations

import json
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tools.policy import FAILED, REFUSED, loop_warning, note, structured_error

REASONS = sorted(FAILED | REFUSED)


def test_a_refusal_in_full() -> None:
    """The whole structured error of an optional tool whose circuit is open (property 20)."""
    assert structured_error("search", "circuit_open", retry_after=33.2) == {
        "is_error": True,
        "error": {
            "type": "tool_unavailable",
            "reason": "circuit_open",
            "tool": "search",
            "retryable": True,
            "retry_after_s": 60,
            "attempted": False,
            "outcome": "not_attempted",
            "critical": False,
            "message": "search is temporarily unavailable. Do not call it again in this turn. "
            "Continue without it and tell the user that its results are missing.",
        },
    }


def test_a_note_is_compact() -> None:
    """For the model the same is one line of JSON, in the tool's own script, optional unless said (property 20)."""
    text = note("поиск", "bulkhead_full")
    assert text.startswith(
        '{"is_error":true,"error":{"type":"tool_unavailable","reason":"bulkhead_full","tool":"поиск",'
    )
    assert json.loads(text) == structured_error("поиск", "bulkhead_full", critical=False)


def test_a_timeout_may_have_happened() -> None:
    """After a timeout nobody knows whether the call took effect: it is not to be repeated (property 20)."""
    error = structured_error("send_payment", "timeout", critical=True, timeout=2.5)["error"]
    assert (error["type"], error["outcome"], error["attempted"], error["retryable"]) == (
        "tool_timeout",
        "unknown",
        True,
        False,
    )
    assert error["message"] == (
        "send_payment did not finish within 2.5 s. Do not repeat it. "
        "Tell the user that its result is unknown and that it may have taken effect."
    )


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("critical", [False, True])
def test_every_reason(reason: str, critical: bool) -> None:
    """Every outcome that policy can replace has its words, says if it was tried and what to tell the user (20)."""
    error = structured_error("search", reason, critical=critical)["error"]
    assert (error["reason"], error["critical"], error["retry_after_s"]) == (reason, critical, None)
    assert error["attempted"] == (reason in FAILED)
    assert error["retryable"] == (reason not in {"timeout", "disabled", "budget_exceeded", "loop_detected"})
    expected = {"timeout": "unknown"} | dict.fromkeys(REFUSED, "not_attempted")
    assert error["outcome"] == expected.get(reason, "failed")
    assert "the user" in error["message"]
    assert "{" not in error["message"]


def test_what_an_operator_opened_is_no_outage() -> None:
    """A circuit that an operator opened has words of its own: it is a control, and does not close by waiting (20)."""
    assert structured_error("search", "forced_open", retry_after=120.0, critical=True) == {
        "is_error": True,
        "error": {
            "type": "tool_unavailable",
            "reason": "forced_open",
            "tool": "search",
            "retryable": False,
            "retry_after_s": 120,
            "attempted": False,
            "outcome": "not_attempted",
            "critical": True,
            "message": "An operator took search out of service. Do not call it again in this turn. "
            "Tell the user that search is out of service.",
        },
    }


@pytest.mark.parametrize("reason", [*REASONS, "forced_open"])
def test_a_note_again_is_shorter(reason: str) -> None:
    """A note that the model was given before is the same without its message (property 20)."""
    full = structured_error("search", reason, retry_after=3)
    del full["error"]["message"]
    assert json.loads(note("search", reason, retry_after=3, again=True)) == full
    assert note("search", reason, retry_after=3, again=True) == note("search", reason, retry_after=4.5, again=True)


def test_a_warning_of_a_loop() -> None:
    """What a model is told with a repeated result names the tool and the count, and no way round (property 20)."""
    assert loop_warning("search", 3) == (
        "Note: search has given this result 3 times in a row for the same arguments. It will not be called with them "
        "again. Do not repeat the call. Use this result, or tell the user what is missing."
    )


@pytest.mark.parametrize("reason", ["disabled", "budget_exceeded", "forced_open", "loop_detected"])
def test_controls_are_not_worked_round(reason: str) -> None:
    """What an operator or a limit stopped is not to be retried, nor to be had in another way (property 20)."""
    error = structured_error("search", reason)["error"]
    hints = ("instead", "another", "alternative", "continue", "try", "without")
    assert not any(hint in error["message"].lower() for hint in hints)
    assert error["retryable"] is False


@given(
    st.sampled_from(REASONS),
    st.text(max_size=20),
    st.none() | st.floats(0, 1e6) | st.sampled_from([1e300, inf]),
    st.booleans(),
    st.none() | st.floats(0.001, 1e4),
)
def test_bytes_are_stable(
    reason: str, tool: str, retry_after: float | None, critical: bool, timeout: float | None
) -> None:
    """Valid JSON, the same bytes within a step, and never less time than there is to wait (property 20)."""
    text = note(tool, reason, retry_after=retry_after, critical=critical, timeout=timeout)
    error = json.loads(text)["error"]
    assert json.loads(text)["is_error"] is True
    assert error["tool"] == tool
    rounded = error["retry_after_s"]
    if retry_after is None or retry_after > 7 * 86_400:  # which a dependency may say: nothing to tell a model
        assert rounded is None
    else:
        below = {5: -1, 15: 5, 60: 15}.get(rounded, rounded - 60)
        assert below < retry_after <= rounded
        assert note(tool, reason, retry_after=rounded, critical=critical, timeout=timeout) == text


@pytest.mark.parametrize(
    ("seconds", "rounded"),
    [(0, 5), (5, 5), (5.01, 15), (15, 15), (15.01, 60), (60, 60), (60.01, 120), (480, 480), (481, 540)],
)
def test_steps(seconds: float, rounded: int) -> None:
    """Times to wait are rounded up to a few values, so that the prompt cache holds (property 20)."""
    assert structured_error("search", "circuit_open", retry_after=seconds)["error"]["retry_after_s"] == rounded


def test_a_note_says_all_that_the_error_does() -> None:
    """Criticality, deadline and time to wait are in the note as in the structured error (property 20)."""
    given = {"retry_after": 7.0, "critical": True, "timeout": 2.5}
    assert json.loads(note("search", "timeout", **given)) == structured_error("search", "timeout", **given)
    assert "did not finish within 2.5 s. " in note("search", "timeout", **given)
    assert structured_error("search", "timeout")["error"]["message"].startswith("search did not finish. ")


def test_a_critical_tool_has_advice_of_its_own() -> None:
    """Without a critical tool the request cannot be completed; without an optional one it goes on (property 20)."""
    messages = [structured_error("search", "circuit_open", critical=it)["error"]["message"] for it in (True, False)]
    assert [message.partition(" in this turn. ")[2] for message in messages] == [
        "Tell the user that the request cannot be completed now without search.",
        "Continue without it and tell the user that its results are missing.",
    ]
