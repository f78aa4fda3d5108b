"""Where the overrides of a service are on this machine. Quick to import: every program does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from otel_tools.config import service_name, state_directory
from otel_tools.engine import Engine
from otel_tools.errors import StoreError
from otel_tools.settings import FILE

DEFAULT_SERVICE: Final = "default"
"""The service of programs that name none."""

_PLAIN: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_LONGEST: Final = 64
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
"""Names of devices on Windows."""


def service_of(engine: Engine) -> str:
    """The service whose overrides apply to *engine*: by configuration, by its resource, by the environment."""
    return engine.settings.control.service or engine.telemetry.service or service_name() or DEFAULT_SERVICE


def base_directory(where: str) -> Path:
    """The directory that holds those of all services, for `control.store`.

    Raises:
        StoreError: The user has no home directory.
    """
    try:
        return state_directory() / "otel-tools" if where == FILE else Path(where).expanduser().absolute()
    except RuntimeError as error:
        raise StoreError(f"control.store: {error}; name a directory, or false for no store") from error


def overrides_path(where: str | None, service: str) -> Path | None:
    """The file with the overrides of *service*, `None` where `control.store` names no directory.

    Raises:
        StoreError: The user has no home directory.
    """
    if where is None or "://" in where:
        return None
    return base_directory(where) / directory_name(service) / "overrides.json"


def directory_name(service: str) -> str:
    """*service* as the name of a file on every system; different ones have different names."""
    if len(service) <= _LONGEST and _PLAIN.fullmatch(service) and not _RESERVED.fullmatch(service):
        return service
    import hashlib  # noqa: PLC0415  rarely needed

    readable = re.sub(r"[^a-z0-9_-]+", "-", service.lower())[:_LONGEST]
    return f"{readable}~{hashlib.sha256(service.encode(errors='surrogatepass')).hexdigest()[:16]}"
