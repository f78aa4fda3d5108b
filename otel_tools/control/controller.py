"""What an instrumented process does about its store: brings operators' overrides from it, tells it how we are."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from math import inf
from typing import Any, Final

from otel_tools import semconv
from otel_tools.control.applied import Applied, applied_in
from otel_tools.control.report import Hand, Report, report_of, this_process
from otel_tools.control.sharing import Sharing
from otel_tools.control.store import Store
from otel_tools.control.stores import open_sharing
from otel_tools.engine import Engine
from otel_tools.errors import StoreError, internal_error

HEARTBEAT: Final = 5.0
"""Seconds after which a process says again that it is alive."""

COUNTERS: Final = 2.0
"""Seconds between two reports that differ in counters only."""

_SHARE: Final = "share circuits in"
_GOES_ON: Final = {
    "read": "what operators set last stays in force",
    "write": "this process is not seen there",
    _SHARE: "they open by this process's own calls only",
}

_logger = logging.getLogger("otel_tools")


class Controller:
    """Keeps the policy of *engine* as operators have set it in *store*, and reports there.

    Nothing here is on the path of a call. `plane` says when it looks.

    Args:
        engine: Whose policy.
        store: Where overrides are, and reports go.
        service: The service that this process is one of.
    """

    def __init__(self, engine: Engine, store: Store, service: str) -> None:
        self._engine = engine
        self._store = store
        self._applied: Applied = applied_in(engine)
        self._reporter = Reporter(engine, store, service)
        self._troubles: set[str] = set()
        self._sharing = self._open_sharing(service)

    def _open_sharing(self, service: str) -> Sharing | None:
        try:
            return open_sharing(self._engine, self._store, service)
        except StoreError as error:
            self._trouble(_SHARE, error)
            return None

    def end(self) -> None:
        """Withdraw what was told. What is set stays in force."""
        for withdraw in [self._reporter.withdraw, *([] if self._sharing is None else [self._sharing.withdraw])]:
            try:
                withdraw()
            except StoreError:
                pass  # it forgets by itself
            except Exception:
                internal_error("withdrawing from the store")
        self._store.close()

    # --- one look -----------------------------------------------------------------------------------------------
    def tick(self) -> None:
        """Look at the store once, and report if there is something to tell. Never raises."""
        self.look()
        self._guarded("write", self._reporter.report)
        if self._sharing is not None and not self._troubles & {"read", "write"}:
            self._guarded(_SHARE, self._sharing.tick)

    def look(self) -> None:
        """Apply what has changed in the store. Never raises."""
        self._guarded("read", self._read)

    def _read(self) -> None:
        turn = self._applied.turn()
        self._applied.update(self._store.read(), turn)

    def _guarded(self, what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except StoreError as error:
            self._trouble(what, error)
        except Exception:
            internal_error(f"looking after the store ({what})")
        else:
            self._well(what)

    def _trouble(self, what: str, error: StoreError) -> None:
        if what not in self._troubles:
            self._troubles.add(what)
            _logger.warning("otel-tools cannot %s its store, %s: %s", what, _GOES_ON[what], error)
            self._log(f"{what.partition(' ')[0]}_failed", failed=True)

    def _well(self, what: str) -> None:
        if what in self._troubles:
            self._troubles.remove(what)
            _logger.warning("otel-tools can %s its store again: %s", what, self._store.label)
            self._log(f"{what.partition(' ')[0]}_recovered", failed=False)

    def _log(self, word: str, *, failed: bool) -> None:
        attributes: dict[str, Any] = {semconv.CONTROL_ACTION: word, semconv.CONTROL_LAYER: "store"}
        try:
            self._engine.telemetry.log(semconv.EVENT_CONTROL, attributes, failed=failed, body=f"store: {word}")
        except Exception:
            internal_error("writing down the state of the store")


class Reporter:
    """Publishes what *engine* knows: at once what an operator waits for, counters now and then, else a heartbeat."""

    def __init__(self, engine: Engine, store: Store, service: str) -> None:
        self._engine = engine
        self._store = store
        self._process = this_process(service)
        self._published: tuple[float, tuple[int, int], Any] | None = None

    def report(self) -> None:
        """Publish if there is something to tell.

        Raises:
            StoreError: It cannot be published.
        """
        ledger = self._engine.ledger
        now, revision = time.monotonic(), (ledger.revision, ledger.orders)
        published_at, known, shown = self._published or (-inf, (-1, -1), None)
        if revision == known and now - published_at < HEARTBEAT:
            return
        found = report_of(self._engine, self._process)
        visible = ledger.orders, _visible(found)
        if visible != shown or now - published_at >= COUNTERS:
            self._store.publish(found)
            self._published = now, revision, visible

    def withdraw(self) -> None:
        """Forget what was published.

        Raises:
            StoreError: The store cannot be reached.
        """
        if self._published is not None:
            self._published = None
            self._store.withdraw(self._process.id)


def _visible(found: Report) -> Any:
    """What an operator waits to see change."""
    circuits = [(one.kind, one.name, one.key, one.state, _hand(one.override)) for one in found.circuits]
    return circuits, [(one.kind, one.name, _hand(one.disabled)) for one in found.tools]


def _hand(hand: Hand | None) -> tuple[str, ...] | None:
    return None if hand is None else (hand.action, hand.reason, hand.actor, hand.layer)
