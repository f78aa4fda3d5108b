"""Where overrides and reports are kept so that all processes of a service see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from otel_tools.control.directives import Document
from otel_tools.control.report import Report


class Store(Protocol):
    """A place for the overrides of one service and the reports of its processes.

    Used by one background thread of each process, and by the command; never by a call of a tool.

    Attributes:
        label: What people call it: a path, a URL without its password.
    """

    label: str

    def read(self) -> Document:
        """All overrides, also those that have expired.

        Raises:
            StoreError: It cannot be reached or read.
        """
        ...

    def change(self, change: Callable[[Document], Document]) -> Document:
        """Replace what is there by what *change* makes of it, as one step; gives the result.

        Raises:
            StoreError: It cannot be written.
        """
        ...

    def publish(self, report: Report) -> None:
        """Keep *report* in the place of the process's last one.

        Raises:
            StoreError: It cannot be written.
        """
        ...

    def withdraw(self, process: str) -> None:
        """Forget the report of *process* (its `Process.id`), which ends."""
        ...

    def reports(self) -> list[Report]:
        """The reports of the processes that are alive.

        Raises:
            StoreError: It cannot be read.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
