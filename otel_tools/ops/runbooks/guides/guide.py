"""What a person knows about an alert, and the table of alerts does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from otel_tools.ops.runbooks.markdown import command

SERVICE: Final = "support-agent"
TOOL: Final = "search_knowledge_base"
CLIENT: Final = "client:openai"
"""Examples that stand in commands where a reader puts what the alert says; they are the demo's."""

REASON: Final = ("--reason", "INC-0000: what is wrong", "--for", "30m")


class Cause(NamedTuple):
    """A cause of an alert.

    Args:
        what: The cause.
        tell: By what one tells it from the others.
        do: What to do about it.
    """

    what: str
    tell: str
    do: str


class Check(NamedTuple):
    """Something to ask Prometheus."""

    what: str
    query: str


Variables: TypeAlias = Mapping[str, tuple[str, str]]
"""Shell variable -> an example, and the label of the alert that says what to put in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """The page of an alert, as far as it is not in the table. All texts are Markdown.

    Args:
        impact: Who feels it, and how much.
        computed: How it is computed, where the measure does not say it already.
        checks: What to ask Prometheus, in this order.
        traces: What to look for in Jaeger.
        variables: What the commands below need; the service is always among them.
        look: Commands that only read.
        causes: The most likely one first.
        contain: What to do before the cause is known.
        steer: Commands that contain it.
        undo: Commands that take those back.
        silence: When to silence it, and when not.
        escalate: To whom and when.
    """

    impact: str
    computed: str = ""
    checks: tuple[Check, ...]
    traces: str = ""
    variables: Variables = field(default_factory=dict)
    look: tuple[str, ...] = ()
    causes: tuple[Cause, ...]
    contain: str
    steer: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    silence: str
    escalate: str


def steering(word: str, target: str) -> str:
    """A command that sets something for half an hour; *target* is as a shell has it (`"$TOOL"`)."""
    return command(word, *REASON).replace(f" {word} ", f" {word} {target} ", 1)


LOOK: Final = (command("tools"), command("circuits"))
"""What every process says."""
