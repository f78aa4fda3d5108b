"""What a user has decided, as values: frozen, read by `config` from code, the environment and `otel-tools.yaml`."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from otel_tools.policy.options import Limits, Mode, Policy


class Capture(enum.StrEnum):
    """Where prompts, answers, tool arguments and results are recorded."""

    NO_CONTENT = "no_content"
    SPAN_ONLY = "span_only"
    EVENT_ONLY = "event_only"
    SPAN_AND_EVENT = "span_and_event"


FILE: Final = "file"
"""The store of operators' overrides in a directory of the user's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """How operators reach the processes of a service.

    Args:
        store: Where overrides are kept: `file` (a directory of the user's, by service), the path of another
            directory, a `redis://` URL, or `None` for nowhere. Not in the `repr`: a URL may have a password.
        interval: Seconds between two looks at the store.
        service: The service whose processes share overrides, by default the one that the OpenTelemetry resource names.
        share_circuits: Whether open circuits are shared through Redis, too.
        quorum: Processes that must have opened a circuit before it counts as open for all, 2 or more: one that is
            sick itself must not. The processes of one machine count one by one; where a machine may be cut off with
            all of them, take more than it runs.
    """

    store: str | None = field(default=FILE, repr=False)
    interval: float = 0.5
    service: str | None = None
    share_circuits: bool = False
    quorum: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """The admin server of this process; there is none unless it is configured. Needs `otel-tools[admin]`.

    Reading is free to whoever uses this machine, as long as *host* is a loopback address and the request names one
    (`localhost`); otherwise it needs the token, too. Every change, also one that was refused, is a log record
    (`otel_tools.control`) with target, action and why it was refused, or who did it and why.

    Args:
        host: The address to listen on.
        port: The port. Of several processes of a machine the first has it and shows all; another one takes over.
        hosts: Values of the `Host` header, without port, that are let in besides loopback names and the address
            listened on: the names by which people reach a server behind a proxy.
        token: What a write must carry as a bearer token; without one nothing can be written. From the environment
            (`OTEL_TOOLS_ADMIN_TOKEN`) only, so that it does not stand in a file.
    """

    host: str = "127.0.0.1"
    port: int = 9465
    hosts: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)


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
        strict: Optional tools are treated as critical: for tests and evaluations, where a silent degradation hides
            a fault.
        control: How operators reach this process.
        admin: Its admin server, if any.
        alerts: Changes to alerts by their id. Read, as are the next two, by `otel_tools.ops` alone, which knows them.
        slos: Changes to objectives by their id.
        links: Addresses of dashboards, runbooks and servers, where they are not the defaults.
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
    strict: bool = False
    control: Control = field(default_factory=Control)
    admin: Admin | None = None
    alerts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    slos: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    source: Path | None = None

    def policy(self, kind: Literal["tool", "client"], name: str) -> tuple[Policy, Mode]:
        """The policy of a tool or LLM client, and whether it acts."""
        named, default = (self.tools, self.tool_defaults) if kind == "tool" else (self.clients, self.client_defaults)
        policy = named.get(name, default)
        return policy, policy.mode or self.mode
