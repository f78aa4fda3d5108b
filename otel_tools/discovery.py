"""Plain tools without a code change: by dotted name from the configuration, and as an LLM request declares them.

A request that tells the model of a function `search` says which functions are tools. When it is made, the modules and
objects that it is made from are searched for plain functions of these names, and for registries (dictionaries) that
hold them; what is found is instrumented in place.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence
from types import FrameType, FunctionType, ModuleType
from typing import Any, Final
from weakref import WeakValueDictionary

import wrapt

from otel_tools.errors import internal_error
from otel_tools.functions import instrument_function, instrument_registry, is_plain
from otel_tools.model import LLMRequest
from otel_tools.runs import session

_logger = logging.getLogger("otel_tools")

_LIBRARIES: Final = frozenset(sys.stdlib_module_names) - {"__main__"} | {
    "agents",
    "anthropic",
    "anyio",
    "google",
    "httpx",
    "httpx2",
    "langchain",
    "langchain_core",
    "langchain_openai",
    "langgraph",
    "mcp",
    "openai",
    "opentelemetry",
    "otel_tools",
    "pydantic",
    "tenacity",
    "uvicorn",
    "wrapt",
}
"""Top-level packages whose frames are not the program's own."""

_FRAMES = 48
_SEEN = 4096


class Discovery:
    """Finds plain callables and instruments them; what it changed in modules can be undone."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self._seen: set[tuple[int, tuple[str, ...]]] = set()
        self._live = True

    def undo(self) -> None:
        """Put the original functions back into the modules."""
        self._live = False
        while self._undo:
            self._undo.pop()()

    # --- by dotted name -----------------------------------------------------------------------------------------
    def bind(self, tools: tuple[str, ...], sessions: tuple[str, ...]) -> None:
        """Instrument what the configuration names (`module:attribute`), when its module is imported."""
        if not tools and not sessions:
            return
        from otel_tools import mainscript  # noqa: PLC0415  needed by few programs, not worth everyone's start-up

        main: dict[str, Callable[[Any], Any]] = {}
        main_names = mainscript.main_module_names()
        for dotted, instrument in (*((name, _as_tool) for name in tools), *((name, _as_session) for name in sessions)):
            module, _, attribute = dotted.partition(":")
            if module in main_names:
                main[attribute] = functools.partial(self._in_main, instrument)
            else:
                wrapt.register_post_import_hook(
                    functools.partial(self._imported, dotted, attribute, instrument), module
                )
        if main:
            mainscript.bind(main)

    def _in_main(self, instrument: Callable[[Any], Any], value: Any) -> Any:
        return instrument(value) if self._live else value

    def _imported(self, dotted: str, attribute: str, instrument: Callable[[Any], Any], module: ModuleType) -> None:
        if not self._live:
            return
        try:
            parent, name, value = wrapt.resolve_path(module, attribute)
        except AttributeError:
            _logger.warning("otel-tools: %s is configured, but %s has no %r", dotted, module.__name__, attribute)
            return
        replacement = instrument(value)
        if replacement is not value:
            before = vars(parent).get(name, value)
            setattr(parent, name, replacement)
            self._undo.append(functools.partial(_put_back, vars(parent), name, replacement, before, parent))

    # --- as an LLM request declares them ------------------------------------------------------------------------
    def on_llm_request(self, request: LLMRequest) -> None:
        """Look for the functions that *request* declares, in the program's frames that lead to it."""
        try:
            if self._live and request.tool_names is not None and (names := tuple(request.tool_names())):
                self._search(names)
        except Exception:
            internal_error("looking for the functions that a request declares")

    def _search(self, names: tuple[str, ...]) -> None:
        frame: FrameType | None = sys._getframe(2)  # noqa: SLF001  the documented way to walk the stack
        for _ in range(_FRAMES):
            if frame is None:
                return
            variables = frame.f_globals
            if not _is_of_library(variables.get("__name__")):
                self._search_module(variables, names)
                local = _locals(frame)
                _search_values(local.values(), names)
                _search_values(tuple(getattr(local.get("self"), "__dict__", {}).values()), names)
            frame = frame.f_back

    def _search_module(self, variables: dict[str, Any], names: tuple[str, ...]) -> None:
        key = (id(variables), names)
        if key in self._seen or len(self._seen) >= _SEEN:
            return
        self._seen.add(key)
        _search_values(tuple(variables.values()), names)
        for module in tuple(variables.values()):
            if isinstance(module, ModuleType) and _is_of_program(module):
                _search_values(tuple(vars(module).values()), names)  # registries only: `tools.TOOL_REGISTRY`
        for name in names:
            value = variables.get(name)
            if isinstance(value, FunctionType) and is_plain(value) and not _is_of_library(value.__module__):
                variables[name] = replacement = _as_named(value, name)
                self._undo.append(functools.partial(_put_back, variables, name, replacement, value))


def _is_of_program(module: ModuleType) -> bool:
    """Whether a module that the program imported is its own, not an installed or a built-in one."""
    file = getattr(module, "__file__", None)
    installed = file is None or not _INSTALLED.isdisjoint(file.replace("\\", "/").split("/"))
    return not installed and not _is_of_library(module.__name__)


_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


def _is_of_library(module: Any) -> bool:
    return str(module or "").partition(".")[0] in _LIBRARIES


def _put_back(variables: Mapping[str, Any], name: str, ours: Any, before: Any, owner: Any = None) -> None:
    if variables.get(name) is not ours:
        return  # the program has put something else there
    if owner is not None:
        setattr(owner, name, before)
    elif isinstance(variables, MutableMapping):
        variables[name] = before


_wrappers: Final[WeakValueDictionary[tuple[int, str], Any]] = WeakValueDictionary()
"""One for each function and name, wherever it is found: pickling looks for the very object. It holds its function."""


def _as_named(function: Any, name: str) -> Any:
    key = (id(function), name)
    found = _wrappers.get(key)
    if found is None:
        found = _wrappers[key] = instrument_function(function, name=name)
    return found


_SNAPSHOTS: Final = frozenset({"locals", "vars", "eval", "exec"})


def _locals(frame: FrameType) -> Mapping[str, Any]:
    """The local variables of *frame*, read without a trace.

    Before Python 3.13 the first look makes the dictionary that `locals()` gives in that frame and keeps it with the
    frame, and so every value alive; a further look changes what the program got from `locals()`.
    """
    code = frame.f_code
    if not code.co_flags & inspect.CO_OPTIMIZED or sys.version_info >= (3, 13):
        return dict(frame.f_locals)
    if not _SNAPSHOTS.isdisjoint(code.co_names):
        return {}
    variables = frame.f_locals
    found = dict(variables)
    variables.clear()
    return found


def _search_values(values: Any, names: tuple[str, ...]) -> None:
    """Instrument the entries of registries among *values* that the request declares."""
    for value in values:
        if type(value) is dict:
            for name in names:
                entry: Any = value.get(name)
                # the program may use more of a callable object than that it can be called
                if (inspect.isroutine(entry) or isinstance(entry, functools.partial)) and is_plain(entry):
                    value[name] = _as_named(entry, name)


def _as_tool(value: Any) -> Any:
    """A registry, a list of functions or a function, as tools."""
    if isinstance(value, MutableMapping):
        return instrument_registry(value)
    if isinstance(value, MutableSequence):
        value[:] = [instrument_function(item) if is_plain(item) else item for item in value]
        return value
    return instrument_function(value) if is_plain(value) else value


def _as_session(value: Any) -> Any:
    return session()(value) if callable(value) and not isinstance(value, type) else value
