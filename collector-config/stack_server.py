"""One server of the stack: a process with a file that holds its id, so that another command can find and end it."""  # noqa: INP001  a script's module

from __future__ import annotations

import contextlib
import http
import http.client
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, Self

from stack_build import StackError, binaries

HOST: Final = "127.0.0.1"
_DEADLINE: Final = 60.0
"""Seconds a server gets to be ready, or to end."""


def setting(port: str) -> str:
    """The variable that moves a port of `Ports`."""
    return f"STACK_PORT_{port.upper()}"


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Ports on 127.0.0.1; the variable STACK_PORT_ and the name in capitals changes one."""

    otlp_grpc: int = 4317
    otlp_http: int = 4318
    collector_health: int = 13133
    jaeger_otlp: int = 14317
    jaeger_query: int = 16686
    jaeger_query_grpc: int = 16685
    jaeger_health: int = 13134
    prometheus: int = 9090
    alertmanager: int = 9093

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """The usual ones, except those that *environment* moves."""
        named = {it.name: environment.get(setting(it.name)) for it in fields(cls)}
        try:
            return cls(**{name: int(port) for name, port in named.items() if port})
        except ValueError as error:
            raise StackError(f"a STACK_PORT_ variable is not a number: {error}") from error

    @classmethod
    def free(cls) -> Self:
        """Ports that nobody listens on now."""
        names = [it.name for it in fields(cls)]
        with contextlib.ExitStack() as held:
            sockets = [held.enter_context(socket.create_server((HOST, 0))) for _ in names]
            return cls(**{name: taken.getsockname()[1] for name, taken in zip(names, sockets, strict=True)})


@dataclass(kw_only=True)
class Server:
    """Starts, finds and ends one program.

    Args:
        name: What messages and files call it.
        command: Name of the program in the cache folder, and its arguments.
        ready: Address that answers 200 when it is ready.
        ports: Variable -> port, of all that it listens on.
        directory: Gets `NAME.pid`, `NAME.log` and a working folder `NAME`.
        environment: All its variables.
    """

    name: str
    command: tuple[str, ...]
    ready: str
    ports: Mapping[str, int]
    directory: Path
    environment: Mapping[str, str]
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def output(self) -> Path:
        """What it wrote to its standard output and error."""
        return self.directory / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Its process id, if it runs; whoever started it."""
        if self._child is not None:
            return self._child.pid if self._child.poll() is None else None
        try:
            pid = int(self._pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if self._program in _command_of(pid) else None

    def check_ports(self) -> None:
        """See that nobody has its ports.

        Raises:
            StackError: One is taken.
        """
        for variable, port in self.ports.items():
            try:
                socket.create_server((HOST, port)).close()
            except OSError as error:
                raise StackError(
                    f"{self.name}: cannot listen on port {port} ({os.strerror(error.errno or 0)}): "
                    f"stop what does, or set {variable} to another port"
                ) from error

    def spawn(self) -> None:
        """Start it; `wait_ready` waits until it can be used."""
        folder = self.directory / self.name
        folder.mkdir(parents=True, exist_ok=True)
        with self.output.open("ab") as output:
            self._child = subprocess.Popen(  # noqa: S603  a program we built
                [self._program, *self.command[1:]],
                cwd=folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._pid_file.write_text(str(self._child.pid))

    def wait_ready(self) -> None:
        """Wait until it answers.

        Raises:
            StackError: It ended, or took too long.
        """
        deadline = time.monotonic() + _DEADLINE
        while not _answers(self.ready):
            if self.pid is None:
                last = "\n".join(self.output.read_text(errors="replace").splitlines()[-5:])
                raise StackError(f"{self.name} ended at once; {self.output} ends with:\n{last}")
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} is not ready after {_DEADLINE:.0f} s; see {self.output}")
            time.sleep(0.1)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, by SIGKILL when it does not follow; nothing when it does not run."""
        deadline = time.monotonic() + _DEADLINE
        while (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how if time.monotonic() < deadline else signal.SIGKILL)
            self._wait_gone(deadline)
        self._child = None
        self._pid_file.unlink(missing_ok=True)

    def _wait_gone(self, deadline: float) -> None:
        while self.pid is not None and time.monotonic() < deadline:
            time.sleep(0.05)

    @property
    def _program(self) -> str:
        return str(binaries() / self.command[0])

    @property
    def _pid_file(self) -> Path:
        return self.directory / f"{self.name}.pid"


def _command_of(pid: int) -> str:
    """The command line of a process; empty for one that ended."""
    if not Path("/proc/self").exists():
        asked = ["ps", "-o", "command=", "-p", str(pid)]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout  # noqa: S603  a number
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy
    try:
        with opener.open(url, timeout=5) as response:
            return bool(response.status == http.HTTPStatus.OK)
    except (OSError, http.client.HTTPException):
        return False
