"""What doctor says of the store: which one, whether it can be used, who reports to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from otel_tools import config
from otel_tools.control.file import FileStore
from otel_tools.control.operator import Operator
from otel_tools.control.places import DEFAULT_SERVICE
from otel_tools.control.stores import open_store
from otel_tools.errors import StoreError
from otel_tools.settings import Control


@dataclass(slots=True)
class StoreReport:
    """The store of operators' overrides.

    Args:
        store: A path or URL, `None` where there is none.
        processes: The live processes of the service that report to it, as `program host:pid`.
        overrides: How many overrides hold.
        problem: Why it cannot be used.
    """

    store: str | None
    service: str
    processes: list[str] = field(default_factory=list)
    overrides: int = 0
    problem: str | None = None


def examine(control: Control) -> StoreReport:
    """Look at the store that a program with these settings would have."""
    service = control.service or config.service_name() or DEFAULT_SERVICE
    report = StoreReport(_without_secrets(control.store), service)
    try:
        store = open_store(control, service)
        if store is None:
            return report
        report.store = store.label
        if isinstance(store, FileStore):
            store.check_writable()
        operator = Operator(store, None)
        report.overrides = len(operator.document().directives)
        found = [one.process for one in operator.reports()]
        report.processes = [f"{one.program} {one.host}:{one.pid}" for one in found]
        store.close()
    except StoreError as error:
        report.problem = str(error)
    return report


def _without_secrets(where: str | None) -> str | None:
    """What may be shown of `control.store` before the store itself says: a URL that is wrong may have a password."""
    scheme, separator, _ = (where or "").partition("://")
    return f"{scheme}://…" if separator else where
