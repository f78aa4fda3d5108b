"""What exceptions say: outcome, verdict and the dependency's own word on when to come back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.error
from email.message import Message
from types import SimpleNamespace
from typing import Any

import pytest

from otel_tools import workers
from otel_tools.errors import CallTimeout, CircuitOpen
from otel_tools.policy import Outcome, Verdict, classify
from otel_tools.policy.classify import matches

CANCELLED = (Outcome.CANCELLED, Verdict.NEUTRAL, None)
INTERRUPTED = (Outcome.INTERRUPTED, Verdict.NEUTRAL, None)
NEUTRAL = (Outcome.ERROR, Verdict.NEUTRAL, None)
FAILURE = (Outcome.ERROR, Verdict.FAILURE, None)


def error(*, cls: type[BaseException] = RuntimeError, **attributes: Any) -> BaseException:
    """An exception with attributes."""
    one = cls("boom")
    for name, value in attributes.items():
        setattr(one, name, value)
    return one


def named(module: str, name: str, base: type[BaseException] = Exception) -> BaseException:
    """An exception of a class with that qualified name."""
    return type(name, (base,), {"__module__": module, "__qualname__": name})("boom")


def response(status: int, **headers: str) -> BaseException:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return error(response=SimpleNamespace(status_code=status, headers=headers))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (asyncio.CancelledError(), CANCELLED),
        (GeneratorExit(), CANCELLED),
        (KeyboardInterrupt(), CANCELLED),
        (SystemExit(1), CANCELLED),
        (named("trio", "Cancelled", BaseException), CANCELLED),
        (named("pyo3_runtime", "PanicException", BaseException), NEUTRAL),
        (ConnectionError(), FAILURE),
        (TimeoutError(), FAILURE),
        (CallTimeout("inner", 1.0), FAILURE),
        (CircuitOpen("inner", 5.0), NEUTRAL),
        (TypeError("never raised"), FAILURE),
        (named("pydantic_core._pydantic_core", "ValidationError", ValueError), NEUTRAL),
        (named("pydantic.v1.error_wrappers", "ValidationError", ValueError), NEUTRAL),
        (named("my_app.models", "ValidationError", ValueError), FAILURE),
        (ExceptionGroup("", [ValueError(), response(404)]), FAILURE),
        (ExceptionGroup("", [response(404), ExceptionGroup("", [response(400)])]), NEUTRAL),
        (BaseExceptionGroup("", [asyncio.CancelledError()]), CANCELLED),
        (BaseExceptionGroup("", [asyncio.CancelledError(), ConnectionError()]), FAILURE),
    ],
)
def test_by_class(raised: BaseException, expected: tuple[Any, ...]) -> None:
    """Cancellations and the model's own mistakes are neutral, everything else a failure (properties 3 and 16)."""
    assert classify(raised) == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"status_code": 404}, NEUTRAL),
        ({"code": 400}, NEUTRAL),
        ({"status": 422}, NEUTRAL),
        ({"response": SimpleNamespace(status=401)}, NEUTRAL),
        ({"status_code": 408}, FAILURE),
        ({"status_code": 425}, FAILURE),
        ({"status_code": 429}, FAILURE),
        ({"status_code": 399}, FAILURE),
        ({"status_code": 500}, FAILURE),
        ({"status_code": 503}, FAILURE),
        ({"code": "not_found", "status_code": 404}, NEUTRAL),
        ({"code": "404"}, FAILURE),
        ({"code": True}, FAILURE),
        ({"code": 7}, FAILURE),
        ({"code": lambda: 404}, FAILURE),
        ({"code": 3, "status_code": None, "response": SimpleNamespace(status_code=410)}, NEUTRAL),
    ],
)
def test_by_http_status(attributes: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """A request that the dependency rejects as wrong is neutral; being overloaded is a failure (property 3)."""
    assert classify(error(**attributes)) == expected


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("0", None),
        ("-3", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        ("Fri, 13 Feb 2009 23:32:30 GMT", 60.0),
        ("Fri, 13 Feb 2009 23:31:30 GMT", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(header: str, seconds: float | None, status: int) -> None:
    """`Retry-After` is read as seconds or as a date, and anything else is as good as none (property 13)."""
    expected = (Outcome.ERROR, Verdict.FAILURE, seconds)
    assert classify(response(status, retry_after=header), now=lambda: 1234567890.0) == expected
    assert classify(response(status, Retry_After=header), now=lambda: 1234567890.0) == expected


def test_retry_after_of_the_standard_library() -> None:
    """An `urllib` error has the headers itself; another status than 429 and 503 has no say in it (property 3)."""
    headers = Message()
    headers["Retry-After"] = "9"
    for status, seconds in ((429, 9.0), (500, None)):
        with urllib.error.HTTPError("http://127.0.0.1", status, "", headers, None) as raised:
            assert classify(raised) == (Outcome.ERROR, Verdict.FAILURE, seconds)


def test_control_flow_by_name() -> None:
    """An exception that a framework steers with is no failure, nor is one derived from it (property 3)."""
    interrupt = named("langgraph.errors", "GraphInterrupt")
    names = ("langgraph.errors.GraphInterrupt", "agents.exceptions.Handoff")
    derived = type("Approval", (type(interrupt),), {})("wait")
    assert [classify(one, names) for one in (interrupt, derived)] == [INTERRUPTED, INTERRUPTED]
    assert classify(interrupt) == FAILURE
    assert classify(named("agents.exceptions", "Handoff", KeyboardInterrupt), names) == INTERRUPTED
    assert [matches(derived, names), matches(ValueError(), names)] == [True, False]


def _one_argument(value: int) -> int:
    return value + "1"  # type: ignore[operator]  # the fault that a test looks for


def _calls_wrongly(value: int) -> int:
    return _one_argument()  # type: ignore[call-arg]  # likewise


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: _one_argument, NEUTRAL),
        (lambda: lambda: _one_argument(1), FAILURE),
        (lambda: lambda: _calls_wrongly(1), FAILURE),
    ],
)
def test_arguments_that_do_not_fit(call: Any, expected: tuple[Any, ...]) -> None:
    """Calling with wrong arguments is the model's mistake, a `TypeError` in the body the tool's (property 3)."""
    with pytest.raises(TypeError) as raised:
        workers.call(call(), 20, lambda *_: None)
    assert classify(raised.value) == expected


class _HostileError(Exception):
    """Nothing of it can be read."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class _HostileNames(type):
    @property
    def __module__(cls) -> str:  # type: ignore[override]  # the point
        raise RuntimeError


class _HostileHeaders:
    def __getitem__(self, name: str) -> str:
        raise RuntimeError(name)


def test_it_never_raises() -> None:
    """Exceptions whose attributes, headers, class or names raise are failures like any other (property 10)."""
    nameless = _HostileNames("Nameless", (Exception,), {})
    strange = [
        _HostileError(),
        nameless(),
        error(response=SimpleNamespace(status_code=429, headers=_HostileHeaders())),
        error(response=_HostileError()),
        error(status_code=_HostileError()),
    ]
    assert [classify(one) for one in strange] == [FAILURE] * len(strange)
    assert not matches(nameless(), ("a.B",))


def test_real_libraries() -> None:
    """The validation errors of pydantic and jsonschema, as installed, are the model's mistakes (property 3)."""
    pydantic = pytest.importorskip("pydantic")
    jsonschema = pytest.importorskip("jsonschema")
    with pytest.raises(pydantic.ValidationError) as invalid:
        pydantic.TypeAdapter(int).validate_python("x")
    with pytest.raises(jsonschema.ValidationError) as wrong:
        jsonschema.validate("x", {"type": "integer"})
    assert [classify(invalid.value), classify(wrong.value)] == [NEUTRAL, NEUTRAL]


def test_policy_imports_the_standard_library_only() -> None:
    """Importing policy imports the standard library only, without asyncio, and starts no thread (property 18)."""
    code = """
import sys, threading, types, os, json, importlib.util
package = types.ModuleType("otel_tools")  # without its `__init__`, which imports everything
package.__path__ = [os.path.dirname(importlib.util.find_spec("otel_tools").origin)]
sys.modules["otel_tools"] = package
before = set(sys.modules)
import otel_tools.policy
ours = {name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names - {"otel_tools"}
print(json.dumps([sorted(ours), "asyncio" in sys.modules, threading.active_count()]))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == [[], False, 1]


@pytest.mark.parametrize(
    ("module", "expected"),
    [("otel_tools.engine", NEUTRAL), ("otel_tools.demo.agent", FAILURE), ("otel_toolsmith", FAILURE), (None, FAILURE)],
)
def test_whose_frame_a_wrong_call_was_made_in(module: str | None, expected: tuple[Any, ...]) -> None:
    """A `TypeError` whose innermost frame is ours was raised by calling; the demo's tools are not ours (property 3)."""
    code = compile("def call(): raise TypeError", "<call>", "exec")
    names: dict[str, Any] = {"__name__": module}
    exec(code, names)  # the frame of a module of that name
    with pytest.raises(TypeError) as raised:
        names["call"]()
    assert classify(raised.value) == expected
