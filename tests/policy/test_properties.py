"""The twenty properties of policy and the tests that hold each; `pytest -s tests/policy/test_properties.py` lists them.

A test names its properties in its docstring: "(property 11)", "(properties 3 and 16)", or "(11)" at the end of a line.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]

PROPERTIES: Final[dict[int, tuple[str, tuple[str, ...]]]] = {
    1: (
        "Refinement: the implementation is, after each step, where a plain model of it is.",
        ("policy/test_breaker_model.py::BreakerMachine", "policy/test_parity.py::test_one_history_gives_one_log"),
    ),
    2: (
        "Closed admits every call; open, before its time, runs none.",
        ("policy/test_breaker_model.py::BreakerMachine", "policy/test_parity.py::test_a_history_in_full"),
    ),
    3: (
        "It opens exactly at the k-th counted failure; a success in between resets, a neutral call does not.",
        (
            "policy/test_breaker_model.py::BreakerMachine",
            "policy/test_breaker_threads.py::test_no_failure_is_lost",
        ),
    ),
    4: (
        "At most one probe at a time, for any number of threads.",
        ("policy/test_breaker_threads.py::test_one_probe_among_many_threads",),
    ),
    5: (
        "A probe's success closes, its failure opens for longer, and after a neutral one the very next call may probe.",
        ("policy/test_breaker_model.py::BreakerMachine", "policy/test_breaker.py::test_cancelled_probe_frees_its_slot"),
    ),
    6: (
        "No wedge: after the open time or the lease some call is admitted, even if no call ever comes back.",
        (
            "policy/test_breaker_model.py::BreakerMachine",
            "simulation/test_simulation.py::test_traffic_with_faults",
        ),
    ),
    7: (
        "What a call of an older generation says changes nothing.",
        ("policy/test_breaker_model.py::BreakerMachine",),
    ),
    8: (
        "No late failure moves the time at which an open circuit admits again.",
        ("policy/test_breaker_model.py::BreakerMachine",),
    ),
    9: (
        "Every admitted call is reported exactly once, however it ends; reporting it again changes nothing.",
        (
            "policy/test_calls_end_once.py::test_each_call_is_settled_once",
            "policy/test_breaker_model.py::BreakerMachine",
        ),
    ),
    10: (
        "The value or exception of an admitted call reaches the caller itself, also when it opens the circuit.",
        ("policy/test_calls_are_transparent.py::test_every_admitted_call_keeps_its_own_end",),
    ),
    11: (
        "A rejection never waits, and nothing of past calls is kept: no exception, no frame, no longer traceback.",
        (
            "policy/test_rejections.py::test_a_rejection_waits_for_no_probe",
            "policy/test_rejections.py::test_tracebacks_do_not_grow",
            "policy/test_rejections.py::test_no_call_is_kept_by_its_policy",
        ),
    ),
    12: (
        "Forced open admits none, disabled and metrics-only all; nothing automatic leaves what an operator set.",
        (
            "policy/test_breaker_model.py::BreakerMachine",
            "policy/test_pipeline.py::test_a_shadow_tells_what_its_enforcing_twin_does",
        ),
    ),
    13: (
        "Jumps of the wall clock change nothing; jitter is drawn once per opening and stays in its bounds.",
        (
            "policy/test_clock.py::test_jumps_of_the_wall_clock_change_nothing",
            "policy/test_clock.py::test_every_opening_lasts_as_long_as_it_says",
        ),
    ),
    14: (
        "Keys and names are independent, and none that is not closed is ever dropped for a newer one.",
        (
            "policy/test_keyed.py::test_keys_are_independent",
            "policy/test_keyed.py::test_what_is_not_closed_is_never_dropped",
            "policy/test_pipelines.py::test_what_is_not_idle_is_never_dropped",
        ),
    ),
    15: (
        "No update is lost between threads, and the transitions are a path of the state graph.",
        (
            "policy/test_breaker_threads.py::test_no_failure_is_lost",
            "policy/test_breaker_threads.py::test_events_of_many_threads_are_a_path",
            "policy/test_parity.py::test_one_history_gives_one_log",
        ),
    ),
    16: (
        "Whose timeout it was is told right, for every order of deadline, outer cancel and completion in one tick.",
        (
            "policy/test_same_tick.py::test_a_callers_cancellation_always_escapes",
            "policy/test_same_tick.py::test_a_deadline_around_ours_is_not_ours",
            "policy/test_same_tick.py::test_a_siblings_error_is_not_ours",
            "policy/test_same_tick.py::test_our_deadline_is_ours",
            "policy/test_same_tick.py::test_a_tick_before_the_deadline_nothing_is_ours",
        ),
    ),
    17: (
        "A sync tool with a deadline has its caller's context; hung calls are capped, starve nobody, and come back.",
        (
            "policy/test_process_life.py::test_a_worker_has_the_callers_context",
            "policy/test_process_life.py::test_hung_calls_are_capped_and_come_back",
            "policy/test_process_life.py::test_tools_with_deadlines_nest",
        ),
    ),
    18: (
        "A child forked in any state can call, a process with hung calls ends, and importing starts no thread.",
        (
            "policy/test_process_life.py::test_fork_in_any_state",
            "policy/test_process_life.py::test_a_process_with_hung_tools_ends",
        ),
    ),
    19: (
        "Faults of listeners and exporters change no outcome, and all accounts agree.",
        (
            "policy/test_calls_are_transparent.py::test_faulty_exporters_change_no_outcome",
            "policy/test_breaker_threads.py::test_a_blocking_listener_blocks_nobody_else",
            "simulation/test_simulation.py::test_traffic_with_faults",
        ),
    ),
    20: (
        "The structured error is valid JSON of constant bytes, and holds no text of the dependency or the arguments.",
        (
            "policy/test_degradation.py::test_bytes_are_stable",
            "policy/test_calls_are_transparent.py::test_the_model_reads_nothing_of_the_dependency",
        ),
    ),
}
"""Property -> what it says, and the tests without which it would not be held."""

_NAMED: Final = re.compile(r"propert(?:y|ies) ((?:\d+|\([^)]*\)|,|and|\s)+)")
_SHORT: Final = re.compile(r"\((\d+)\)\.?$", re.MULTILINE)


def claims() -> Iterator[tuple[str, set[int]]]:
    """Every test (or state machine) of the tree that names properties, with their numbers."""
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                numbers = _numbers(ast.get_docstring(node) or "")
                if numbers:
                    yield f"{path.relative_to(TESTS).as_posix()}::{node.name}", numbers


def _numbers(docstring: str) -> set[int]:
    """Numbers after "property" or "properties", what stands in parentheses behind one left out."""
    found = " ".join([*_NAMED.findall(docstring), *_SHORT.findall(docstring)])
    return {int(number) for number in re.findall(r"\d+", re.sub(r"\([^)]*\)", "", found))}


CLAIMS: Final = dict(claims())


@pytest.mark.parametrize("number", PROPERTIES)
def test_every_property_has_its_tests(number: int) -> None:
    """The tests that a property rests on exist and say so; their names are printed."""
    says, needed = PROPERTIES[number]
    holding = [name for name, numbers in CLAIMS.items() if number in numbers]
    print(f"\n{number:>2}  {says}")
    for name in holding:
        print(f"      {'*' if name in needed else ' '} {name}")
    assert [name for name in needed if name not in holding] == []


def test_no_other_property_is_claimed() -> None:
    """Properties are numbered 1 to 20, and what claims one is a test that pytest finds."""
    assert set().union(*CLAIMS.values()) == set(PROPERTIES) == set(range(1, 21))
    for name in CLAIMS:
        path, _, function = name.partition("::")
        assert Path(path).name.startswith("test_"), name
        assert function.startswith("test_") or f"{function}.TestCase" in (TESTS / path).read_text(), name
