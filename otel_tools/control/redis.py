"""Overrides and reports in Redis or Valkey, for the processes of a service on many machines.

All keys of a service have one hash tag, so that in a cluster one node has them. Every command is bounded in time; the
calls of tools never come here.
"""

from __future__ import annotations

import contextlib
import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from otel_tools.control import directives, report
from otel_tools.control.directives import Document
from otel_tools.control.redis_server import TIMEOUT, RedisServer
from otel_tools.control.report import Report
from otel_tools.errors import StoreError

LIFETIME: Final = 15.0
"""Seconds after its last report in which a process counts as alive."""

_SAME_CLOCK: Final = 1.0
"""Clocks that are no more seconds apart count as equal."""

_ATTEMPTS: Final = 200
"""How often a change is tried again because somebody else was faster."""

_READ: Final = "return {redis.call('GET', KEYS[1]), redis.call('TIME')}"

_REPLACE: Final = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

_PUBLISH: Final = """
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('SADD', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
"""

_WITHDRAW: Final = "redis.call('DEL', KEYS[2]) return redis.call('SREM', KEYS[1], ARGV[1])"


class RedisStore:
    """A `Store` in Redis or Valkey.

    A server that comes back empty, because it keeps nothing on disk, is given back what was last read here: a restart
    does not switch on what an operator has switched off.

    Args:
        url: See `RedisServer`.
        service: Whose overrides and processes.
        timeout: Seconds to connect, and seconds for the answer to a command.
        lifetime: Seconds after its last report in which a process counts as alive.

    Attributes:
        label: The URL without user, password and options.
        server: The connection, for those who share more through it.

    Raises:
        StoreError: The URL is none, or redis-py is not installed.
    """

    def __init__(self, url: str, service: str, *, timeout: float = TIMEOUT, lifetime: float = LIFETIME) -> None:
        self.server = RedisServer(url, timeout)
        self.label = self.server.label
        self._prefix = f"otel-tools:{{{service}}}:"
        self._lifetime = lifetime
        self._ahead = 0.0
        self._last = b""

    def key(self, name: str) -> str:
        """The key of *name* in this service."""
        return self._prefix + name

    # --- overrides ----------------------------------------------------------------------------------------------
    def read(self) -> Document:
        """All overrides, with times of this machine's clock."""
        return self._read()[1]

    def _read(self) -> tuple[bytes, Document]:
        began = time.monotonic()
        raw, (seconds, microseconds) = self.server.script(_READ, (self.key("overrides"),))
        if time.monotonic() - began < _SAME_CLOCK / 2:  # else this thread was suspended: the difference says nothing
            self._look_at_clock(int(seconds) + int(microseconds) / 1e6 - time.time())
        if raw is None and self._last:
            last, self._last = self._last, b""
            self.server.script(_REPLACE, (self.key("overrides"),), b"", last)  # or somebody else has been faster
            return self._read()
        if raw is None:
            return b"", Document(ahead=self._ahead)
        document = self._parse(raw)
        self._last = raw
        return raw, _moved(document, -self._ahead)

    def _look_at_clock(self, ahead: float) -> None:
        """Learn how many seconds the server's clock is *ahead* of ours; small changes would only make noise."""
        if abs(ahead - self._ahead) > _SAME_CLOCK:
            self._ahead = 0.0 if abs(ahead) <= _SAME_CLOCK else ahead

    def _parse(self, raw: bytes) -> Document:
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{self.label} has something else at {self.key('overrides')}: delete it") from error
        return directives.from_json(value, self.label)

    def change(self, change: Callable[[Document], Document]) -> Document:
        """Compare and set, until nobody came in between."""
        for attempt in range(_ATTEMPTS):
            before, document = self._read()
            after = _moved(change(document), self._ahead)
            written = json.dumps(directives.to_json(after)).encode()
            if self.server.script(_REPLACE, (self.key("overrides"),), before, written):
                self._last = written
                return _moved(after, -self._ahead)  # to the last bit what `read` gives
            time.sleep(random.random() * min(0.001 * 2**attempt, 0.05))  # noqa: S311  spreads writers, no secret
        raise StoreError(f"{self.label} was changed by others {_ATTEMPTS} times in a row: try again")

    # --- reports ------------------------------------------------------------------------------------------------
    def publish(self, report_: Report) -> None:
        """Keep *report_* for the lifetime of a process that is not heard of again."""
        process = report_.process.id
        raw = json.dumps(report.to_json(report_))
        self.server.script(_PUBLISH, self._places(process), process, raw, milliseconds(self._lifetime))

    def withdraw(self, process: str) -> None:
        """Forget the report of *process*; if the server is away it is forgotten after its lifetime."""
        with contextlib.suppress(StoreError):
            self.server.script(_WITHDRAW, self._places(process), process)

    def reports(self) -> list[Report]:
        """The reports that have not expired, by process."""
        processes: list[bytes] = sorted(self.server.run("SMEMBERS", self.key("processes")))
        if not processes:
            return []
        found = self.server.run("MGET", *(self.key(f"report:{process.decode()}") for process in processes))
        gone = [process for process, raw in zip(processes, found, strict=True) if raw is None]
        if gone:
            self.server.run("SREM", self.key("processes"), *gone)
        reports = [_report(raw) for raw in found if raw is not None]
        return [one for one in reports if one is not None]

    def _places(self, process: str) -> tuple[str, str]:
        return self.key("processes"), self.key(f"report:{process}")

    def close(self) -> None:
        """Close the connection."""
        self.server.close()


def milliseconds(seconds: float) -> int:
    """*seconds* as Redis wants a time to live: at least 1."""
    return max(1, math.ceil(seconds * 1000))


def _report(raw: bytes) -> Report | None:
    try:
        return report.from_json(json.loads(raw))
    except (ValueError, RecursionError):
        return None


def _moved(document: Document, seconds: float) -> Document:
    """*document* with its times told by a clock that is *seconds* ahead.

    Not those of resets: a process tells by them what it has seen, also after its clock was put right.
    """
    if not seconds:
        return document
    moved = tuple(
        replace(
            one,
            set_at=one.set_at + seconds,
            expires_at=None if one.expires_at is None else one.expires_at + seconds,
        )
        for one in document.directives
    )
    changes = tuple(replace(one, at=one.at + seconds) for one in document.changes)
    return Document(moved, document.resets, changes, document.ahead - seconds)
