"""Settings: read from code, the environment and `otel-tools.yaml`, checked as a whole, frozen.

Precedence: code > environment > file > defaults. This is the only module that reads the environment and the file. The
structure of the file is the table `keys.SCHEMA`; the variables are:

====================================================  ===============================================================
`OTEL_TOOLS_CONFIG`                                   path of the file, else `otel-tools.yaml` or `otel-tools.yml` in
                                                      the working directory, if there is one
`OTEL_TOOLS_POLICY`                                   `observe` (default) or `enforce`
`OTEL_TOOLS_DISCOVER`                                 `false`: leave the functions alone that an LLM request declares
                                                      as tools
`OTEL_TOOLS_DISABLED_LIBRARIES`                       libraries that are not patched, separated by commas
`OTEL_TOOLS_CONTENT_LIMIT`                            characters that are kept of each captured text
`OTEL_TOOLS_STRICT`                                   `true`: optional tools are treated as critical
`OTEL_TOOLS_STORE`                                    where operators' overrides are kept: `file` (default), a
                                                      directory, a `redis://` URL, or `false`
`OTEL_TOOLS_ADMIN`                                    the admin server: `true`, a port, `host:port`, or `false`, which
                                                      is the default
`OTEL_TOOLS_ADMIN_TOKEN`                              the bearer token that writes to it must carry; only from here
`OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`  `NO_CONTENT` (default), `SPAN_ONLY`, `EVENT_ONLY` or
                                                      `SPAN_AND_EVENT`; anything else is a warning and `NO_CONTENT`
====================================================  ===============================================================

An empty variable counts as unset. Durations are `250ms`, `30s`, `2m`, `1h`; a plain number is seconds.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from otel_tools.errors import ConfigError, internal_error
from otel_tools.keys import SCHEMA, VARIABLES
from otel_tools.policy.options import Circuit, Limits, Policy
from otel_tools.schema import Reader, merge
from otel_tools.settings import Admin, Capture, Control, Settings

__all__ = ["SCHEMA", "Capture", "Settings", "load", "load_or_default"]

_T = TypeVar("_T")
_logger = logging.getLogger("otel_tools")
_TOKEN = "OTEL_TOOLS_ADMIN_TOKEN"  # noqa: S105  the variable's name
_CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_AS_THEY_ARE = ("mode", "capture", "content_limit", "prices", "strict", "alerts", "slos", "links")
_FILES = ("otel-tools.yaml", "otel-tools.yml")


# --- sources --------------------------------------------------------------------------------------------------------
def load(
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read and check the settings.

    Args:
        environ: By default the process's environment.
        directory: Where the file is looked for and what its path is relative to, by default the working directory.
        overrides: Settings given in code, structured as the file. Policies may be `Policy` objects.

    Raises:
        ConfigError: Something is wrong; the message lists all of it.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    source = _find(environ, directory or Path())
    values = merge(_from_file(source, problems) if source else {}, _from_environment(environ, problems))
    values = merge(values, _from_code(overrides, problems))
    if problems:
        raise ConfigError(_message(problems))
    return _settings(values, source, environ)


def load_or_default(
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """As `load`, but a wrong file or variable is logged (once) and neither is used: the program must start.

    Raises:
        ConfigError: *overrides* are wrong, which the program itself has to know.
    """
    problems: list[str] = []
    values = _from_code(overrides, problems)
    if problems:
        raise ConfigError(_message(problems))
    try:
        return load(environ, directory, overrides)
    except ConfigError as error:
        _log_once(str(error))
    except Exception:
        internal_error("reading the configuration")
    return _settings(values, None, os.environ if environ is None else environ)


@functools.lru_cache(maxsize=16)
def _log_once(problem: str) -> None:
    _logger.error("otel-tools ignores its file and variables, and goes on with the defaults: %s", problem)


def _message(problems: list[str]) -> str:
    return problems[0] if len(problems) == 1 else "\n  ".join([f"{len(problems)} settings are wrong:", *problems])


def _find(environ: Mapping[str, str], directory: Path) -> Path | None:
    named = environ.get("OTEL_TOOLS_CONFIG")
    if named:
        return directory / named
    return next((path for path in (directory / name for name in _FILES) if path.is_file()), None)


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, (path, leaf, decode) in VARIABLES.items():
        if environ.get(variable):
            reader = Reader(f"environment variable {variable}")
            value = reader.read(leaf, decode(environ[variable]))
            values = merge(values, functools.reduce(lambda inner, key: {key: inner}, reversed(path), value))
            problems += reader.problems
    return merge(values, _captured(environ.get(_CAPTURE)))


def _captured(value: str | None) -> dict[str, Capture]:
    """A wrong value must not record content, nor (it is not our variable alone) spoil the rest of the settings."""
    if not value:
        return {}
    try:
        return {"capture": Capture(value.strip().lower())}
    except ValueError:
        allowed = ", ".join(Capture).upper()
        _logger.warning("%s must be one of %s, not %r; content is not captured", _CAPTURE, allowed, value)
        return {"capture": Capture.NO_CONTENT}


def _from_file(path: Path, problems: list[str]) -> dict[str, Any]:
    from otel_tools import yaml_file  # noqa: PLC0415  PyYAML is only imported when there is a file

    document = yaml_file.read(path)
    reader = Reader(str(path), document.lines)
    values: dict[str, Any] = reader.read(SCHEMA, document.value)
    problems += document.problems + reader.problems
    return values


def _from_code(overrides: Mapping[str, Any] | None, problems: list[str]) -> dict[str, Any]:
    reader = Reader("settings given in code")
    values: dict[str, Any] = reader.read(SCHEMA, overrides)
    problems += reader.problems
    return values


# --- building -------------------------------------------------------------------------------------------------------
def _settings(values: Mapping[str, Any], source: Path | None, environ: Mapping[str, str]) -> Settings:
    defaults = values.get("defaults", {})
    tool = defaults.get("tool", {})
    client = merge({"circuit": None}, defaults.get("client", {}))
    patch = values.get("patch", {})
    given = {
        "patch_tools": patch.get("tools"),
        "patch_sessions": patch.get("sessions"),
        "discover": patch.get("discover"),
        **{name: values.get(name) for name in _AS_THEY_ARE},
    }
    return Settings(
        tool_defaults=_named("defaults.tool", _policy, tool),
        client_defaults=_named("defaults.client", _policy, client),
        tools=_policies("tools", values, tool),
        clients=_policies("clients", values, client),
        limits=_named("sessions", lambda given: Limits(**given), values.get("sessions", {})),
        disabled_libraries=frozenset(_canonical(name) for name in patch.get("disabled", ()) if name.strip()),
        control=Control(**values.get("control", {})),
        admin=_admin(values.get("admin"), environ),
        source=source,
        **{name: value for name, value in given.items() if value is not None},
    )


def _policies(kind: str, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Policy]:
    given: Mapping[str, Any] = values.get(kind, {})
    return {name: _named(f"{kind}.{name}", _policy, merge(defaults, policy)) for name, policy in given.items()}


def _named(key: str, build: Callable[[Mapping[str, Any]], _T], values: Mapping[str, Any]) -> _T:
    """What *build* makes of *values*; settings that do not go together are told with the key they stand under."""
    try:
        return build(values)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from error


def _admin(values: Mapping[str, Any] | None, environ: Mapping[str, str]) -> Admin | None:
    return None if values is None else replace(Admin(**values), token=environ.get(_TOKEN) or None)


def _canonical(library: str) -> str:
    return library.strip().lower().replace("_", "-")


def _policy(values: Mapping[str, Any]) -> Policy:
    circuit = values.get("circuit", {})
    return Policy(**{**values, "circuit": None if circuit is None else _circuit(circuit)})


def _circuit(values: Mapping[str, Any]) -> Circuit:
    """An open time above the default bound raises the bound."""
    longest = max(Circuit().max_reset_after, values.get("reset_after", 0))
    return Circuit(**{"max_reset_after": longest, **values})


# --- what others decide ---------------------------------------------------------------------------------------------
def service_name(environ: Mapping[str, str] | None = None) -> str | None:
    """The service that OpenTelemetry's variables name, if they do."""
    environ = os.environ if environ is None else environ
    attributes = (pair.partition("=") for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    named = [unquote(value.strip()) for key, _, value in attributes if key.strip() == "service.name"]
    return environ.get("OTEL_SERVICE_NAME", "").strip() or (named[-1] if named else None) or None


def state_directory(environ: Mapping[str, str] | None = None) -> Path:
    """Where programs of this user keep what shall outlast them and is neither data nor configuration."""
    environ = os.environ if environ is None else environ
    if os.name == "nt":
        return Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    named = Path(environ.get("XDG_STATE_HOME") or "")
    return named if named.is_absolute() else Path.home() / ".local" / "state"
