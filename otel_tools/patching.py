"""Patches: applied when the target's module is imported, never before; undone without a trace; a status for each.

`wrapt`'s import hooks cannot be taken back, so one hook a module is registered for the life of the process, and it
asks the patcher that is active at that time.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, Literal

import wrapt

from otel_tools import coexistence
from otel_tools import semconv as names
from otel_tools.adoption import AdoptingTracer
from otel_tools.calls import current_call
from otel_tools.engine import Engine
from otel_tools.errors import internal_error
from otel_tools.finding import Source, library_version, older, sources, within
from otel_tools.model import Adapter, Native, Target
from otel_tools.pricing import client_imported
from otel_tools.telemetry import stand_in

_logger = logging.getLogger("otel_tools")

Status = Literal["waiting", "patched", "native", "skipped", "not needed"]


@dataclass(slots=True)
class Place:
    """A place to patch and what became of it.

    Args:
        status: `waiting` for its module to be imported, `patched`, `native` (the library's own tracing, adopted),
            `skipped` (it is missing; *reason* says what) or `not needed` (another version of the library has it).
    """

    adapter: Adapter
    target: Target | Native
    status: Status = "waiting"
    reason: str = ""

    @property
    def name(self) -> str:
        """`module:path`."""
        return f"{self.target.module}:{self.target.path}"


class Patcher:
    """Applies the targets of all adapters with the drivers of one engine, and takes them back.

    Args:
        engine: What the patched methods are driven by.
        found: Where the adapters come from, by default all there are.
        disabled: Libraries to leave alone.
    """

    def __init__(
        self, engine: Engine, found: Iterable[Source] | None = None, disabled: frozenset[str] = frozenset()
    ) -> None:
        self.places: list[Place] = []
        self._engine = engine
        self._disabled = disabled
        self._sources = list(sources() if found is None else found)
        self._live = True
        self._undo: list[Callable[[], None]] = []

    def apply(self) -> None:
        """Patch what is imported already, and the rest when it is imported."""
        for source in tuple(self._sources):
            for package in source.packages:
                when_imported(package, self._undo, partial(self._load, source))

    def load_all(self) -> None:
        """Load the adapters of libraries that are not imported, too, so that *places* is complete."""
        for source in tuple(self._sources):
            self._load(source)

    def _load(self, source: Source, package: ModuleType | None = None) -> None:
        if not self._live or source not in self._sources:
            return
        self._sources.remove(source)
        adapter = source.load()
        if adapter is None or adapter.library in self._disabled:
            return
        if source.client and package is not None:
            client_imported()
        targets: tuple[Target | Native, ...] = (*adapter.targets, *adapter.natives)
        self.places += [Place(adapter, target) for target in targets]
        for module in dict.fromkeys(target.module for target in targets):
            when_imported(module, self._undo, self.imported)

    def undo(self) -> None:
        """Restore every patched attribute."""
        self._live = False
        while self._undo:
            self._undo.pop()()

    def imported(self, module: ModuleType) -> None:
        """Patch the places in *module*."""
        for place in self.places:
            if place.target.module == module.__name__ and place.status == "waiting":
                try:
                    self._patch(place, module)
                except Exception as error:
                    self._skip(place, f"{type(error).__name__}: {error}")

    def _patch(self, place: Place, module: ModuleType) -> None:
        target = place.target
        version = library_version(place.adapter.library)
        if not within(version, target.since, target.until):
            place.status = "not needed"
            return
        if version and older(version, place.adapter.minimum):
            self._skip(place, f"version {version} is older than {place.adapter.minimum}, the oldest supported one")
            return
        try:
            parent, attribute, original = wrapt.resolve_path(module, target.path)
        except AttributeError:
            if isinstance(target, Native) or target.optional or version is None:  # or a package of the same name
                place.status = "not needed"
            else:
                self._skip(place, f"{target.path} is not in {module.__name__}")
            return
        before = vars(parent).get(attribute, _MISSING)
        if isinstance(before, _Patch):  # it was imported from a module where it is patched already
            before = original = before.__wrapped__
        replacement = self._replacement(target, original)
        shadowing = coexistence.shadowing(parent, attribute) if isinstance(parent, type) else []
        self._undo.append(partial(_restore, parent, attribute, before, replacement))
        setattr(parent, attribute, replacement)
        for wrapper in shadowing:
            wrapper.__wrapped__ = replacement
            self._undo.append(partial(setattr, wrapper, "__wrapped__", original))
        place.status = "native" if isinstance(target, Native) else "patched"

    def _replacement(self, target: Target | Native, original: Any) -> Any:
        if isinstance(target, Target):
            return _Patch(original, self._engine.wrapper(target), enabled=lambda: self._live)
        claim = partial(_claim, target)
        if isinstance(original, property):
            return _adopting_property(original, claim)
        return AdoptingTracer(original, claim)

    @staticmethod
    def _skip(place: Place, reason: str) -> None:
        place.status, place.reason = "skipped", reason
        version = library_version(place.adapter.library)
        _logger.warning("otel-tools does not see %s %s: %s (%s)", place.adapter.library, version, reason, place.name)

    def statuses(self) -> Iterator[tuple[float, dict[str, Any]]]:
        """Patched places of each library in use, for the metric `otel_tools.instrumentation.status`."""
        counts: dict[tuple[str, str], int] = {}
        for place in self.places:
            if place.status in ("patched", "native", "skipped"):
                key = (place.adapter.library, place.status)
                counts[key] = counts.get(key, 0) + 1
        for (library, status), count in counts.items():
            version = library_version(library) or "unknown"
            yield count, {names.LIBRARY: library, names.LIBRARY_VERSION: version, names.STATUS: status}


# --- import hooks ---------------------------------------------------------------------------------------------------
Hook = Callable[[ModuleType], None]
_hooks: dict[str, list[Hook]] = {}


def when_imported(name: str, undo: list[Callable[[], None]], hook: Hook) -> None:
    """Call *hook* with the module *name* when it is imported, now if it is; how to take that back goes to *undo*."""
    known = name in _hooks
    hooks = _hooks.setdefault(name, [])
    hooks.append(hook)
    undo.append(partial(_discard, hooks, hook))
    if not known:
        wrapt.register_post_import_hook(_imported, name)
    elif name in sys.modules:
        _call(hook, sys.modules[name])


def _imported(module: ModuleType) -> None:
    for hook in tuple(_hooks.get(module.__name__, ())):
        _call(hook, module)


def _call(hook: Hook, module: ModuleType) -> None:
    try:
        hook(module)
    except Exception:
        internal_error("patching a module at import")


def _discard(hooks: list[Hook], hook: Hook) -> None:
    if hook in hooks:
        hooks.remove(hook)


# --- natives --------------------------------------------------------------------------------------------------------
def _claim(native: Native, name: str, attributes: Mapping[str, Any]) -> Any:
    """Our span, if the library wants to start one for the very call of ours that it is in."""
    call = current_call()
    if call is None or not native.adopt(name, attributes):
        return None
    if _is_same(call.recording, name, attributes):
        return call.recording.span
    return stand_in() if native.precedes is not None and native.precedes(name, attributes) else None


def _is_same(recording: Any, name: str, attributes: Mapping[str, Any]) -> bool:
    """The library's span says what it is about, by its operation or (mcp) at the end of its name."""
    operation = attributes.get("gen_ai.operation.name")
    return name.endswith(f" {recording.label}") if operation is None else bool(operation == recording.operation)


def _adopting_property(original: property, claim: Callable[..., Any]) -> property:
    def get(instance: Any) -> Any:
        tracer = original.fget(instance) if original.fget is not None else None
        return tracer if tracer is None or current_call() is None else AdoptingTracer(tracer, claim)

    return property(get, original.fset, original.fdel, original.__doc__)


# --- restoring ------------------------------------------------------------------------------------------------------
_MISSING = object()


class _Patch(wrapt.FunctionWrapper):  # type: ignore[type-arg]  # cannot be subscripted in wrapt 1.x
    """A patched method. Once undone it only passes calls on: somebody may have patched over it or imported it."""


def _restore(parent: Any, attribute: str, before: Any, ours: Any) -> None:
    if vars(parent).get(attribute) is not ours:
        return  # somebody patched over it: ours stays below theirs
    if before is _MISSING:
        delattr(parent, attribute)
    else:
        setattr(parent, attribute, before)
