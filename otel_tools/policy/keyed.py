"""Circuits of a tool that talks to several dependencies: one per key, bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from otel_tools.policy.circuit import Transition
from otel_tools.policy.generation import CLOSED, Terms
from otel_tools.policy.machine import Machine
from otel_tools.policy.options import Key

MAX_KEYS: Final = 256
"""Keys of one tool that have a circuit of their own at a time."""

_LONGEST: Final = 64
_SHOWN: Final = 40


def key_of(key: Key | None, arguments: Mapping[str, Any] | None) -> str | None:
    """The key of a call with these *arguments*, `None` if it has none. Raises what the user's function raises."""
    if key is None or arguments is None:
        return None
    value = arguments.get(key) if isinstance(key, str) else key(arguments)
    return None if value is None else text_of(value)


def text_of(key: object) -> str:
    """What stands for *key*: its text; of a long one the beginning and a hash, so that it takes no more room."""
    text = str(key)
    if len(text) <= _LONGEST:
        return text
    from hashlib import blake2s  # noqa: PLC0415  slow to import, and hardly ever needed

    digest = blake2s(text.encode(errors="surrogatepass"), digest_size=8)
    return f"{text[:_SHOWN]}…{digest.hexdigest()}"


class Keyed:
    """The circuits of single keys, the most recently used ones of them. Its owner has the lock.

    A circuit that is not closed is never dropped for a newer key; one that has counted failures only when all have.
    """

    __slots__ = ("_machines", "_terms")

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._machines: OrderedDict[str, Machine] = OrderedDict()

    def __iter__(self) -> Iterator[Machine]:
        return iter(self._machines.values())

    def get(self, key: str, now: float) -> Machine | None:
        """The circuit of *key*, made at first use; `None` when there is no room for it."""
        machine = self._machines.get(key)
        if machine is not None:
            self._machines.move_to_end(key)
        elif len(self._machines) < MAX_KEYS or self._drop_one(now):
            machine = self._machines[key] = Machine(self._terms, now, key)
        return machine

    def _drop_one(self, now: float) -> bool:
        machine = self._least_needed()
        if machine is None:
            return False
        del self._machines[str(machine.key)]
        machine.close(now)  # a new generation: what its calls report from now on counts nowhere
        return True

    def _least_needed(self) -> Machine | None:
        least: Machine | None = None
        for machine in self:
            if machine.generation.kind is CLOSED:
                if not machine.generation.has_failures:
                    return machine
                least = least or machine
        return least

    def clear(self, now: float) -> list[Transition]:
        """Close all of them by hand and forget them."""
        machines = list(self)
        self._machines.clear()
        return [transition for machine in machines for transition in machine.close(now)]
