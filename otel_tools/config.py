"""Settings: read from code, the environment and `otel-tools.yaml`, checked as a whole, frozen.

Precedence: code > environment > file > defaults. This is the only module that reads the environment and the file. The
structure of the file is the table `SCHEMA` below; the variables are:

====================================================  ===============================================================
`OTEL_TOOLS_CONFIG`                                   path of the file, else `otel-tools.yaml` or `otel-tools.yml` in
                                                      the working directory, if there is one
`OTEL_TOOLS_POLICY`                                   `observe` (default) or `enforce`
`OTEL_TOOLS_DISCOVER`                                 `false`: leave the functions alone that an LLM request declares
                                                      as tools
`OTEL_TOOLS_DISABLED_LIBRARIES`                       libraries that are not patched, separated by commas
`OTEL_TOOLS_CONTENT_LIMIT`                            characters that are kept of each captured text
`OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`  `NO_CONTENT` (default), `SPAN_ONLY`, `EVENT_ONLY` or
                                                      `SPAN_AND_EVENT`; anything else is a warning and `NO_CONTENT`
====================================================  ===============================================================

An empty variable counts as unset. Durations are `250ms`, `30s`, `2m`, `1h`; a plain number is seconds.
"""

from __future__ import annotations

import enum
import functools
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from otel_tools import schema
from otel_tools.errors import ConfigError, internal_error
from otel_tools.policy.options import Circuit, Criticality, Limits, Mode, Policy
from otel_tools.schema import Each, Leaf, Reader, Section, Switch, choice, merge, optional

_logger = logging.getLogger("otel_tools")
_CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_FILES = ("otel-tools.yaml", "otel-tools.yml")


class Capture(enum.StrEnum):
    """Where prompts, answers, tool arguments and results are recorded."""

    NO_CONTENT = "no_content"
    SPAN_ONLY = "span_only"
    EVENT_ONLY = "event_only"
    SPAN_AND_EVENT = "span_and_event"


# --- what may stand where -------------------------------------------------------------------------------------------
_CIRCUIT = Section(
    failures=schema.count,
    reset_after=schema.duration,
    max_reset_after=schema.duration,
    jitter=schema.fraction,
    lease=schema.duration,
)
_POLICY = Section(
    timeout=optional(schema.duration),
    circuit=Switch(_CIRCUIT),
    criticality=choice(Criticality),
    fallback=optional(schema.function),
    max_in_flight=optional(schema.count),
    is_failure=optional(schema.function),
    mode=optional(choice(Mode)),
    dependency=optional(schema.text),
    owner=optional(schema.text),
)
_PRICE = Section(
    required=("input_per_million", "output_per_million"),
    input_per_million=schema.amount,
    output_per_million=schema.amount,
    cache_read_per_million=schema.amount,
    cache_write_per_million=schema.amount,
    cache_write_1h_per_million=schema.amount,
)
_LIMITS = Section(
    max_iterations=optional(schema.count),
    max_tool_calls=optional(schema.count),
    max_tokens=optional(schema.count),
    max_cost_usd=optional(schema.positive),
)
SCHEMA = Section(
    mode=choice(Mode),
    defaults=Section(tool=_POLICY, client=_POLICY),
    tools=Each(_POLICY),
    clients=Each(_POLICY),
    sessions=_LIMITS,
    patch=Section(tools=schema.objects, sessions=schema.objects, disabled=schema.names, discover=schema.flag),
    capture=choice(Capture),
    content_limit=schema.count,
    prices=Each(_PRICE),
)
_WORDS = {"true": True, "1": True, "false": False, "0": False}
_VARIABLES: Mapping[str, tuple[tuple[str, ...], Leaf, Callable[[str], Any]]] = {
    "OTEL_TOOLS_POLICY": (("mode",), choice(Mode), str),
    "OTEL_TOOLS_DISCOVER": (("patch", "discover"), schema.flag, lambda value: _WORDS.get(value.strip().lower(), value)),
    "OTEL_TOOLS_DISABLED_LIBRARIES": (("patch", "disabled"), schema.names, lambda value: value.split(",")),
    "OTEL_TOOLS_CONTENT_LIMIT": (
        ("content_limit",),
        schema.count,
        lambda text: int(text) if text.isdecimal() else text,
    ),
}
"""Name -> the key it stands for, what it may be, and how its text is turned into what the file would hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a user has decided.

    Args:
        mode: Whether policy acts.
        tool_defaults: Policy of a tool that is not in *tools*.
        client_defaults: Policy of an LLM client that is not in *clients*: no circuit and no timeout of ours.
        tools: Policies by tool name, merged with the defaults.
        clients: Policies by client library, merged with the defaults.
        limits: What a session may use.
        patch_tools: Dotted names (`module:attribute`) of plain functions, or registries of them, that are tools.
        patch_sessions: Dotted names of functions that are sessions.
        discover: Whether the functions that an LLM request declares as tools are instrumented.
        capture: Where content is recorded.
        content_limit: Characters that are kept of each captured text.
        disabled_libraries: Libraries that are not patched, lower case with hyphens.
        prices: USD per million tokens by model, for models without a public price.
        source: The file that was read, if any.
    """

    mode: Mode = Mode.OBSERVE
    tool_defaults: Policy = field(default_factory=Policy)
    client_defaults: Policy = field(default_factory=lambda: Policy(circuit=None))
    tools: Mapping[str, Policy] = field(default_factory=dict)
    clients: Mapping[str, Policy] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    patch_tools: tuple[str, ...] = ()
    patch_sessions: tuple[str, ...] = ()
    discover: bool = True
    capture: Capture = Capture.NO_CONTENT
    content_limit: int = 8192
    disabled_libraries: frozenset[str] = frozenset()
    prices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    source: Path | None = None

    def policy(self, kind: Literal["tool", "client"], name: str) -> tuple[Policy, Mode]:
        """The policy of a tool or LLM client, and whether it acts."""
        named, default = (self.tools, self.tool_defaults) if kind == "tool" else (self.clients, self.client_defaults)
        policy = named.get(name, default)
        return policy, policy.mode or self.mode


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
    return _settings(values, source)


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
    return _settings(values, None)


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
    for variable, (path, leaf, decode) in _VARIABLES.items():
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
def _settings(values: Mapping[str, Any], source: Path | None) -> Settings:
    defaults = values.get("defaults", {})
    tool = defaults.get("tool", {})
    client = merge({"circuit": None}, defaults.get("client", {}))
    patch = values.get("patch", {})
    given = {
        "patch_tools": patch.get("tools"),
        "patch_sessions": patch.get("sessions"),
        "discover": patch.get("discover"),
        **{name: values.get(name) for name in ("mode", "capture", "content_limit", "prices")},
    }
    return Settings(
        tool_defaults=_policy(tool),
        client_defaults=_policy(client),
        tools={name: _policy(merge(tool, policy)) for name, policy in values.get("tools", {}).items()},
        clients={name: _policy(merge(client, policy)) for name, policy in values.get("clients", {}).items()},
        limits=Limits(**values.get("sessions", {})),
        disabled_libraries=frozenset(_canonical(name) for name in patch.get("disabled", ()) if name.strip()),
        source=source,
        **{name: value for name, value in given.items() if value is not None},
    )


def _canonical(library: str) -> str:
    return library.strip().lower().replace("_", "-")


def _policy(values: Mapping[str, Any]) -> Policy:
    circuit = values.get("circuit", {})
    return Policy(**{**values, "circuit": None if circuit is None else _circuit(circuit)})


def _circuit(values: Mapping[str, Any]) -> Circuit:
    """An open time above the default bound raises the bound."""
    longest = max(Circuit().max_reset_after, values.get("reset_after", 0))
    return Circuit(**{"max_reset_after": longest, **values})
