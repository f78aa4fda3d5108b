"""Other instrumentors of the same libraries: whose span is it, who counts the metrics, who else is there.

Found by experiment (openai 3.54, anthropic 2.12, mcp 1.30, langchain-core 1.7). Most instrumentors have their span
current when our wrapper runs: `owner` recognises it. Some start a span that nobody can see from inside (callbacks,
spans started after the fact): `hidden_owner` finds them on the call stack. Nothing is imported here that the program
has not imported itself.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import wrapt

from otel_tools import semconv as names

_logger = logging.getLogger("otel_tools")


@dataclass(slots=True, frozen=True)
class Foreign:
    """Another instrumentor's span for a call that we see, too: ours is not opened.

    Args:
        scope: The name of its tracer.
        owns_metrics: It counts the call in the conventions' metrics.
    """

    scope: str
    owns_metrics: bool


_INFERENCE: Final = frozenset({names.CHAT, names.GENERATE_CONTENT, names.TEXT_COMPLETION})
_CLIENT: Final = _INFERENCE | {names.EMBEDDINGS}

_METRICS: Final[dict[str, frozenset[str]]] = {
    "opentelemetry.instrumentation.genai": _CLIENT | {names.EXECUTE_TOOL, names.INVOKE_AGENT},
    "opentelemetry.instrumentation.openai_v2": _CLIENT,
    "opentelemetry.instrumentation.openai": _CLIENT,
    "opentelemetry.instrumentation.anthropic": _CLIENT,
    "opentelemetry.instrumentation.langchain": _CLIENT,
    "agent_framework": _CLIENT,
    "gcp.vertex.agent": _CLIENT | {names.EXECUTE_TOOL, names.INVOKE_AGENT},
    "pydantic-ai": _CLIENT,
}
"""Tracers (or families of them) whose owners record the conventions' metrics -> for which operations.

Not in it: OpenInference (none at all), the anthropic and mcp SDKs, strands and others that have metrics of their own.
"""

_OPENINFERENCE_KINDS: Final[dict[str, str]] = {
    **dict.fromkeys(_INFERENCE, "LLM"),
    names.EMBEDDINGS: "EMBEDDING",
    names.EXECUTE_TOOL: "TOOL",
    names.INVOKE_AGENT: "AGENT",
}


# --- a span that is current -----------------------------------------------------------------------------------------
def owner(scope: str, attributes: Mapping[str, Any], operation: str, name: str | None) -> Foreign | None:
    """Whether the current span, of another instrumentor, is its span for this very call.

    Args:
        scope: The name of the tracer that started it.
        attributes: What it has so far.
        operation: Our operation (`chat`, `execute_tool`, ...).
        name: The model, tool or agent that we would name our span after.
    """
    if not (_same_operation(attributes, operation) and _same_name(attributes, operation, name)):
        return None
    return Foreign(scope, _counts(scope, operation))


_announced: set[str] = set()


def announce(foreign: Foreign) -> None:
    """Say once a process that another instrumentor is at work, too. A library's own tracing is no news."""
    if foreign.scope not in _announced and ".instrumentation." in foreign.scope:
        _announced.add(foreign.scope)
        left = "spans and metrics of its calls are" if foreign.owns_metrics else "spans of its calls are"
        _logger.warning("%s is at work beside otel-tools: the %s left to it and enriched", foreign.scope, left)


def _same_operation(attributes: Mapping[str, Any], operation: str) -> bool:
    theirs = attributes.get(names.OPERATION_NAME)
    if theirs is None:
        return attributes.get("openinference.span.kind") == _OPENINFERENCE_KINDS.get(operation, "")
    return theirs == operation or (theirs in _INFERENCE and operation in _INFERENCE)


def _same_name(attributes: Mapping[str, Any], operation: str, name: str | None) -> bool:
    if operation == names.EXECUTE_TOOL:
        return name in {attributes.get(names.TOOL_NAME), attributes.get("tool.name")}
    keys = (names.AGENT_NAME,) if operation == names.INVOKE_AGENT else (names.REQUEST_MODEL, "llm.model_name")
    theirs = next((str(attributes[key]) for key in keys if attributes.get(key)), None)
    return theirs is None or name is None or theirs == name or _same_model(theirs, name)


def _same_model(one: str, other: str) -> bool:
    """`openai/gpt-4o` and `openai:gpt-4o` are `gpt-4o`."""
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    return longer.endswith((f"/{shorter}", f":{shorter}"))


def _counts(scope: str, operation: str) -> bool:
    return any(_within(scope, family) and operation in operations for family, operations in _METRICS.items())


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


# --- a span that cannot be seen -------------------------------------------------------------------------------------
class _Hidden(NamedTuple):
    """An instrumentor whose span is not current inside the call.

    Args:
        scope: The name of its tracer, and of its package.
        frames: Functions of this package are on the call stack then and only then.
        owns_metrics: As in `Foreign`.
        hook: What it wraps, where *frames* is not its own package.
    """

    scope: str
    frames: str
    owns_metrics: bool
    hook: str | None = None


_CALLBACKS: Final = "langchain_core.callbacks.base:BaseCallbackManager.__init__"

_HIDDEN: Final = (
    # starts a span without making it current
    _Hidden("opentelemetry.instrumentation.anthropic", "opentelemetry.instrumentation.anthropic", owns_metrics=True),
    # starts the span when the response is there, and measures nothing
    _Hidden(
        "opentelemetry.instrumentation.openai",
        "opentelemetry.instrumentation.openai.v1.responses_wrappers",
        owns_metrics=False,
    ),
    # `messages.stream()` only; its other spans are current
    _Hidden("openinference.instrumentation.anthropic", "openinference.instrumentation.anthropic", owns_metrics=False),
    # callbacks of a chat model
    _Hidden("opentelemetry.instrumentation.langchain", "langchain_core.language_models", True, _CALLBACKS),
    _Hidden("openinference.instrumentation.langchain", "langchain_core.language_models", False, _CALLBACKS),
)
_FRAMES: Final = 40


def hidden_owner(operation: str) -> Foreign | None:
    """An instrumentor that makes a span for this very LLM call which is not, or not yet, current.

    Call it when `owner` did not recognise the current span. Costs a dictionary look-up each unless such an instrumentor
    is at work, a look at the call stack if one is.

    Args:
        operation: Our operation; only LLM calls have such owners.
    """
    if operation not in _CLIENT:
        return None
    present = [hidden for hidden in _HIDDEN if hidden.scope in sys.modules and _at_work(hidden)]
    if not present:
        return None
    for module in _stack():
        for hidden in present:
            if _within(module, hidden.frames):
                return Foreign(hidden.scope, hidden.owns_metrics)
    return None


def _at_work(hidden: _Hidden) -> bool:
    return hidden.hook is None or any(_within(module, hidden.scope) for module in _wrapping(hidden.hook))


def _stack() -> Iterator[str]:
    """The modules of the functions that led here, innermost first."""
    frame = sys._getframe(1)  # noqa: SLF001  `inspect.stack()` would read source files
    for _ in range(_FRAMES):
        yield frame.f_globals.get("__name__", "")
        if frame.f_back is None:
            return
        frame = frame.f_back


# --- who else is there ----------------------------------------------------------------------------------------------
_HOOKS: Final[dict[str, tuple[str, ...]]] = {
    "openai": ("openai.resources.chat.completions.completions:Completions.create", "openai:OpenAI.request"),
    "anthropic": ("anthropic.resources.messages.messages:Messages.create",),
    "langchain-core": (_CALLBACKS,),
    "mcp": ("mcp.shared.session:BaseSession.send_request",),
}
"""Library -> what its instrumentors wrap, one of them at least."""

_DISTRIBUTIONS: Final[dict[str, str]] = {
    "opentelemetry.instrumentation.genai.openai": "opentelemetry-instrumentation-genai-openai",
    "opentelemetry.instrumentation.genai.anthropic": "opentelemetry-instrumentation-genai-anthropic",
    "opentelemetry.instrumentation.genai.langchain": "opentelemetry-instrumentation-genai-langchain",
    "opentelemetry.instrumentation.openai_v2": "opentelemetry-instrumentation-openai-v2",
    "opentelemetry.instrumentation.openai": "opentelemetry-instrumentation-openai (Traceloop)",
    "opentelemetry.instrumentation.anthropic": "opentelemetry-instrumentation-anthropic (Traceloop)",
    "opentelemetry.instrumentation.langchain": "opentelemetry-instrumentation-langchain (Traceloop)",
    "opentelemetry.instrumentation.mcp": "opentelemetry-instrumentation-mcp (Traceloop)",
    "openinference.instrumentation.openai": "openinference-instrumentation-openai",
    "openinference.instrumentation.anthropic": "openinference-instrumentation-anthropic",
    "openinference.instrumentation.langchain": "openinference-instrumentation-langchain",
}


def active_instrumentors(library: str) -> list[str]:
    """The other instrumentors that have patched *library* by now: distributions, or modules that we do not know."""
    found = {_distribution(module) for hook in _HOOKS.get(library, ()) for module in _wrapping(hook)}
    return sorted(found)


def _distribution(module: str) -> str:
    return next((known for package, known in _DISTRIBUTIONS.items() if _within(module, package)), module)


def _wrapping(hook: str) -> Iterator[str]:
    """The modules of the wrappers around `module:Class.method`, without importing anything."""
    module, _, path = hook.partition(":")
    cls, _, attribute = path.partition(".")
    wrapper = getattr(sys.modules.get(module), cls, None).__dict__.get(attribute) if module in sys.modules else None
    while isinstance(wrapper, wrapt.FunctionWrapper):
        by = str(getattr(wrapper._self_wrapper, "__module__", ""))  # noqa: SLF001  wrapt's documented attribute
        if not by.startswith(("otel_tools.", "functools")):
            yield by
        wrapper = wrapper.__wrapped__


def shadowing(cls: type, attribute: str) -> list[wrapt.FunctionWrapper[..., Any]]:
    """Wrappers that another instrumentor put on subclasses of *cls* before us, around the method they inherit.

    OpenInference wraps `OpenAI.request`, which is `SyncAPIClient.request`: a patch of the latter that comes later is
    never reached. Point their `__wrapped__` to ours, and back when undoing.
    """
    inherited = vars(cls).get(attribute)
    found: list[wrapt.FunctionWrapper[..., Any]] = []
    for subclass in _subclasses(cls) if inherited is not None else ():
        wrapper = vars(subclass).get(attribute)
        while isinstance(wrapper, wrapt.FunctionWrapper):
            if wrapper.__wrapped__ is inherited:
                found.append(wrapper)
            wrapper = wrapper.__wrapped__
    return found


def _subclasses(cls: type) -> Iterator[type]:
    subclass: type
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
