"""What a tool's page is made of: the configuration, what running processes say, and how to reach them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from otel_tools import steering
from otel_tools.errors import ConfigError
from otel_tools.ops.objectives import Links
from otel_tools.policy.options import Criticality, Limits, Mode, Policy
from otel_tools.settings import Settings

Row: TypeAlias = Mapping[str, Any]
"""JSON of `control.admin.rows`."""

_SAID: Final[Mapping[str, Any]] = {
    "criticality": Criticality,
    "dependency": str,
    "max_in_flight": int,
    "owner": str,
    "timeout": float,
}
"""What a process says of a tool's policy, and what turns it into a field of `Policy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """What the processes of a service say.

    Args:
        at: When they were asked, in seconds of the wall clock.
        processes: Those that answered.
        tools, circuits: Their rows, tools only.
        problem: Why they could not be asked, or not all of it is known.
    """

    at: float = 0.0
    processes: tuple[Row, ...] = ()
    tools: tuple[Row, ...] = ()
    circuits: tuple[Row, ...] = ()
    problem: str | None = None

    @classmethod
    def read(cls, tools: Row, circuits: Row) -> Registry:
        """Made of what `GET` of `/tools` and `/circuits` answers."""
        return cls(
            at=tools["at"],
            processes=tuple(tools["processes"]),
            tools=tuple(row for row in tools["tools"] if row["kind"] == "tool"),
            circuits=tuple(row for row in circuits["circuits"] if row["kind"] == "tool"),
            problem=tools["overrides"]["problem"],
        )

    def tool(self, name: str) -> Row | None:
        """What they say of a tool, `None` if none has called it."""
        return next((row for row in self.tools if row["name"] == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where commands are to be run, and how they name the service.

    Args:
        options: What every command that reaches processes carries: `("--service", "shop")`.
        where: For people, a sentence.
    """

    options: tuple[str, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that is known of a tool.

    Args:
        service: What telemetry calls the service, `None` if nobody says.
        policy, mode: What is in force: as running processes say, else as configured.
        limits: Those of a session, `None` where none is in force.
        configured: `otel-tools.yaml` has an entry for it.
        source: Name of the file that was read, if any.
        differing: Field of `Policy` -> what the configuration says, where the processes say something else.
        registry: What the processes say.
    """

    name: str
    service: str | None
    policy: Policy
    mode: Mode
    limits: Limits | None
    configured: bool
    source: str | None
    differing: Mapping[str, Any] = field(default_factory=dict)
    registry: Registry
    place: Place
    links: Links

    @property
    def row(self) -> Row | None:
        """What running processes say of it, `None` if none has called it."""
        return self.registry.tool(self.name)

    @property
    def steerable(self) -> bool:
        """Whether a command can name it."""
        try:
            steering.check(name=self.name, actor="-")
        except ConfigError:
            return False
        return steering.parse(self.name) == ("tool", self.name)

    @property
    def known(self) -> bool:
        """Whether the configuration or a process knows it."""
        return self.configured or self.row is not None


def facts(
    name: str, settings: Settings, registry: Registry, *, service: str | None, place: Place, links: Links
) -> Facts:
    """What is known of the tool *name*."""
    policy, mode = settings.policy("tool", name)
    if settings.strict:
        policy = replace(policy, criticality=Criticality.CRITICAL)
    row = registry.tool(name)
    said = {} if row is None else {key: _read(kind, row[key]) for key, kind in _SAID.items()}
    differing = {key: getattr(policy, key) for key, value in said.items() if value != getattr(policy, key)}
    said_mode = mode if row is None else Mode(row["mode"])
    if said_mode is not mode:
        differing["mode"] = mode
    return Facts(
        name=name,
        service=service,
        policy=replace(policy, **said),
        mode=said_mode,
        limits=settings.limits if settings.mode is Mode.ENFORCE else None,
        configured=name in settings.tools,
        source=None if settings.source is None else settings.source.name,
        differing=differing,
        registry=registry,
        place=place,
        links=links,
    )


def _read(kind: Any, value: Any) -> Any:
    return None if value is None else kind(value)
