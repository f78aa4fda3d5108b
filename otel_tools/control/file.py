"""Overrides and reports in a directory, for the processes of one machine."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

from otel_tools.control import directives, files, report
from otel_tools.control.directives import Document
from otel_tools.control.places import directory_name
from otel_tools.control.report import Process, Report
from otel_tools.errors import StoreError

_MOST_BYTES: Final = 8_000_000
_SILENT: Final = 60.0
"""Seconds after its last report in which a process of another machine counts as alive."""

_SILENT_HERE: Final = 600.0
"""The same for one of this machine whose number is in use: by itself, or by a later process."""

_SETTLED: Final = 100_000_000
"""Nanoseconds after which a file's times tell one version of it from the next."""

_ELSEWHERE: Final = "name another directory as control.store (OTEL_TOOLS_STORE), or false for none"

_Signature: TypeAlias = tuple[int, int, int]


class FileStore:
    """The directory `<directory>/<service>` with `overrides.json` and one report for each process.

    It is this user's alone: who can write to it can switch tools off and on.

    Args:
        directory: Where the directories of all services are; created when something is written.
        service: The service.
    """

    def __init__(self, directory: Path, service: str) -> None:
        self._base = directory
        self._directory = directory / directory_name(service)
        self._path = self._directory / "overrides.json"
        self._processes = self._directory / "processes"
        self._seen: tuple[_Signature, Document] | None = None
        self._published = False
        self.label = str(self._path)

    # --- overrides ----------------------------------------------------------------------------------------------
    def read(self) -> Document:
        """All overrides, also those that have expired. Costs a look at the file as long as it is the same one.

        Raises:
            StoreError: It cannot be read, holds something else, or is not this user's alone.
        """
        if not self._is_there():
            return Document()
        try:
            return self._read()
        except FileNotFoundError:
            return Document()
        except OSError as error:
            raise StoreError(f"{self._path} cannot be read: {files.reason(error)}") from error

    def _read(self) -> Document:
        found = self._path.stat()
        if not stat.S_ISREG(found.st_mode):  # to open a pipe could take for ever
            raise StoreError(f"{self._path} is no file: move it away")
        if self._seen is not None and self._seen[0] == _signature(found):
            return self._seen[1]
        with self._path.open("rb") as file:
            signature = _signature(os.fstat(file.fileno()))
            document = self._parse(file.read(_MOST_BYTES))
        settled = time.time_ns() - signature[1] > _SETTLED  # else a second change may have left the same signature
        self._seen = (signature, document) if settled else None
        return document

    def _parse(self, content: bytes) -> Document:
        try:
            return directives.from_json(_json(content), str(self._path))
        except StoreError as error:
            raise StoreError(f"{error}. Put it right, or remove it, which lifts all overrides") from error
        except (ValueError, RecursionError) as error:
            raise StoreError(
                f"{self._path} is damaged, it holds no JSON. Put it right, or remove it, which lifts all overrides"
            ) from error

    def change(self, change: Callable[[Document], Document]) -> Document:
        """Replace what is there by what *change* makes of it, as one step; gives the result.

        Raises:
            StoreError: It cannot be written; or it holds something else, and is left as it is.
        """
        with self._writing(self._directory):
            files.remove_leftovers(self._directory, files.LOCK_SECONDS)
            with files.locked(self._directory / "lock"):
                changed = change(self.read())
                content = json.dumps(directives.to_json(changed), indent=1).encode()
                files.replace(self._path, content, durable=True)
        return changed

    def check_writable(self) -> None:
        """Look whether overrides could be written, and leave nothing behind.

        Raises:
            StoreError: They could not.
        """
        if self._is_there():
            place = self._directory
        else:
            place = next(path for path in (self._base, *self._base.parents) if path.exists())
        if not os.access(place, os.W_OK | os.X_OK):
            raise StoreError(f"{place} cannot be written to: make it writable, or {_ELSEWHERE}")

    # --- reports ------------------------------------------------------------------------------------------------
    def publish(self, report_: Report) -> None:
        """Keep *report_* in the place of the process's last one.

        Raises:
            StoreError: It cannot be written.
        """
        with self._writing(self._processes):
            content = json.dumps(report.to_json(report_), separators=(",", ":")).encode()
            files.replace(self._report(report_.process.id), content, durable=False)
        if not self._published:
            self._published = True
            self._remove_dead()

    def withdraw(self, process: str) -> None:
        """Forget the report of *process*."""
        with contextlib.suppress(OSError):
            self._report(process).unlink(missing_ok=True)

    def reports(self) -> list[Report]:
        """The reports of the processes that are alive; those of others are removed.

        Raises:
            StoreError: They cannot be read.
        """
        if not (self._is_there() and files.check_private(self._processes)):
            return []
        files.remove_leftovers(self._processes, _SILENT)
        alive = []
        for path in sorted(self._processes.glob("*.json")):
            found = _read_report(path)
            if found is None:
                continue  # of another release, or just gone
            if _is_alive(found.process, time.time() - found.at):
                alive.append(found)
            else:
                self.withdraw(found.process.id)
        return alive

    def _remove_dead(self) -> None:
        """Remove what processes left that ended without a word: perhaps nobody ever asks for `reports`."""
        now = time.time()
        for path in self._processes.glob("*.json"):
            with contextlib.suppress(OSError):
                unchanged = now - path.stat().st_mtime
                if unchanged < _SILENT:
                    continue
                found = _read_report(path)
                dead = found is not None and not _is_alive(found.process, now - found.at)
                if dead or unchanged >= _SILENT_HERE:  # the latter may be of another release, which cannot be read
                    path.unlink()

    def close(self) -> None:
        """Nothing is kept open."""

    def _report(self, process: str) -> Path:
        return self._processes / f"{directory_name(process)}.json"

    # --- the directory ------------------------------------------------------------------------------------------
    def _is_there(self) -> bool:
        return files.check_private(self._base, shared=True) and files.check_private(self._directory)

    @contextlib.contextmanager
    def _writing(self, directory: Path) -> Iterator[None]:
        """*directory* is there, and what goes wrong with it has a clear message."""
        try:
            if not files.check_private(self._base, shared=True):
                self._base.parent.mkdir(parents=True, exist_ok=True)
                files.make_private(self._base)
            for path in dict.fromkeys((self._directory, directory)):
                files.make_private(path)
            yield
        except OSError as error:
            raise StoreError(
                f"{directory} cannot be written to ({files.reason(error)}): make it writable, or {_ELSEWHERE}"
            ) from error


def services(directory: Path) -> dict[str, list[Report]]:
    """The services with live processes below *directory*, and their processes' reports.

    Raises:
        StoreError: They cannot be read.
    """
    found: dict[str, list[Report]] = {}
    if not files.check_private(directory, shared=True):
        return found
    for path in sorted(directory.glob("*/processes/*.json")):
        report_ = _read_report(path)
        if report_ is not None and _is_alive(report_.process, time.time() - report_.at):
            found.setdefault(report_.process.service, []).append(report_)
    return found


def _read_report(path: Path) -> Report | None:
    try:
        return report.from_json(_json(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return None


def _json(content: bytes) -> Any:
    if len(content) >= _MOST_BYTES:
        raise ValueError("too long")
    return json.loads(content)


def _signature(found: os.stat_result) -> _Signature:
    return found.st_ino, found.st_mtime_ns, found.st_size


def _is_alive(process: Process, silent: float) -> bool:
    if process.host != socket.gethostname() or files.WINDOWS:  # where asking for a process may end it
        return silent < _SILENT
    if silent >= _SILENT_HERE:
        return False
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True
