"""Which adapters there are, and for which libraries: without loading one before its library is imported."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import pkgutil
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

from opentelemetry.util._importlib_metadata import entry_points  # reads the metadata of all packages once a process

from otel_tools.model import Adapter

_logger = logging.getLogger("otel_tools")

_ADAPTERS = "otel_tools.adapters"
_FOLDERS = ("llm", "tools", "agents")


class Source(NamedTuple):
    """Where an adapter comes from.

    Args:
        packages: Import packages (candidates) whose import is the time to load it.
        load: Loads it.
        client: It is the adapter of an LLM client.
    """

    packages: tuple[str, ...]
    load: Callable[[], Adapter | None]
    client: bool = False


@cache
def sources() -> tuple[Source, ...]:
    """Every adapter: the modules of `otel_tools.adapters`, and what others register as entry points of that name.

    A module, or an entry point, is named after the import package that it describes, with dots as underscores.
    """
    return (*_own(), *_registered())


def _own() -> Iterator[Source]:
    for folder in _FOLDERS:
        spec = importlib.util.find_spec(f"{_ADAPTERS}.{folder}")
        for module in pkgutil.iter_modules(spec.submodule_search_locations if spec else None):
            load = partial(_load_own, f"{_ADAPTERS}.{folder}.{module.name}")
            yield Source(_packages(module.name), load, client=folder == "llm")


def _registered() -> Iterator[Source]:
    for entry in entry_points(group=_ADAPTERS):
        yield Source(_packages(entry.name), partial(_load_registered, entry))


def _packages(name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((name, name.replace("_", "."))))


def _load_own(name: str) -> Adapter | None:
    adapter = getattr(importlib.import_module(name), "ADAPTER", None)
    return adapter if isinstance(adapter, Adapter) else None


def _load_registered(entry: Any) -> Adapter | None:
    try:
        adapter = entry.load()
    except Exception:
        _logger.warning("otel-tools could not load the adapter %s", entry.name, exc_info=True)
        return None
    if isinstance(adapter, Adapter):
        return adapter
    _logger.warning("otel-tools: the adapter %s is a %s, not an Adapter", entry.name, type(adapter).__name__)
    return None


# --- versions -------------------------------------------------------------------------------------------------------
@cache
def library_version(library: str) -> str | None:
    """The installed version of a distribution, `None` if it is not installed."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def older(version: str, than: str) -> bool:
    """Whether *version* comes before *than*, by the numbers of their release."""
    return _release(version) < _release(than)


def within(version: str | None, since: str | None, until: str | None) -> bool:
    """Whether *version* is in the range; an unknown one is."""
    if version is None:
        return True
    return not (since is not None and older(version, since)) and not (until is not None and not older(version, until))


def _release(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match.group().split("."))) if match else (0,)
