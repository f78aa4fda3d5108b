"""The operations pack without Docker: its servers, built with Go, on this machine with the same configuration.

python collector-config/stack.py build | up [LAYER ...] | down | status

Data and logs are in a state folder outside this tree. Ports are the usual ones; STACK_PORT_PROMETHEUS=19090 and the
like (see `Ports`) move them; STACK_WEBHOOK_URL says where alerts go.
"""  # noqa: INP001  a script beside the configuration it runs, not a package

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, Self

from stack_build import HERE, StackError, build, missing, only_one, say
from stack_server import HOST, Ports, Server, setting

LAYERS: Final = ("tail-sampling", "redaction", "loki", "tempo")
WEBHOOK: Final = f"http://{HOST}:9095/"
PROMETHEUS_FLAGS: Final = (
    "--storage.tsdb.retention.time=35d",
    "--web.enable-otlp-receiver",
    "--web.enable-lifecycle",
    "--enable-feature=exemplar-storage,created-timestamp-zero-ingestion",
)


class Stack:
    """Collector, Jaeger, Prometheus and Alertmanager with the shipped configuration, on loopback.

    A context manager: `up()` and `down()`. With the directory of one that runs, it is that one.

    Args:
        ports: Where they listen.
        directory: Data, output and process ids; the state folder of this user unless given.
        layers: Names of further files of collector/, without `.yaml`.
        webhook: Where Alertmanager sends notifications.
        rules: Folder of rule files for Prometheus; the rendered ones unless given.
        environment: More variables for all of them, e.g. STACK_SAMPLE_WAIT.

    Raises:
        StackError: A layer that does not exist.
    """

    def __init__(
        self,
        *,
        ports: Ports | None = None,
        directory: Path | None = None,
        layers: Sequence[str] = (),
        webhook: str = WEBHOOK,
        rules: Path = HERE / "prometheus" / "rules",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if unknown := sorted({*layers} - {*LAYERS}):
            raise StackError(f"there is no layer {', '.join(unknown)}; there are {', '.join(LAYERS)}")
        self.ports = ports or Ports()
        self.directory = (directory or state_folder()).absolute()
        self.layers = tuple(layers)
        self.webhook = webhook
        self.rules = rules
        # what is set for the programs that are watched is not meant for the servers
        inherited = {name: it for name, it in os.environ.items() if not name.startswith("OTEL_")}
        self._environment = {**inherited, **self._addresses(), **(environment or {})}
        self.servers = {server.name: server for server in self._servers()}

    def __enter__(self) -> Self:
        """Up."""
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        """Down."""
        self.down()

    @property
    def otlp_grpc(self) -> str:
        """Endpoint for OTLP over gRPC."""
        return self._url("otlp_grpc")

    @property
    def otlp_http(self) -> str:
        """Endpoint for OTLP over HTTP, without `/v1/traces` and so on."""
        return self._url("otlp_http")

    @property
    def jaeger(self) -> str:
        """Address of Jaeger's query API."""
        return self._url("jaeger_query")

    @property
    def prometheus(self) -> str:
        """Address of Prometheus."""
        return self._url("prometheus")

    @property
    def alertmanager(self) -> str:
        """Address of Alertmanager."""
        return self._url("alertmanager")

    @property
    def log_file(self) -> Path:
        """The log records that the Collector received, as OTLP JSON, a line a batch."""
        return self.directory / "collector" / "logs.jsonl"

    def up(self) -> None:
        """Start what does not run, and wait until all are ready.

        Raises:
            StackError: Nothing is built, a port is taken, it runs with other settings, or a server does not get ready.
        """
        if absent := missing():
            raise StackError(f"not built: {', '.join(absent)}. Run `make stack` first")
        with only_one(self.directory / "lock"):
            todo = [server for server in self.servers.values() if server.pid is None]
            self._same_settings(fresh=len(todo) == len(self.servers))
            for server in todo:
                server.check_ports()
            self._write_files()
            try:
                for server in todo:  # the Collector last: it finds the others there
                    server.spawn()
                    server.wait_ready()
            except BaseException:
                for server in todo:
                    server.end(signal.SIGKILL)
                raise

    def down(self) -> None:
        """Stop all, the Collector first: what it holds can still be delivered."""
        if self.directory.exists():
            with only_one(self.directory / "lock"):
                for server in reversed(self.servers.values()):
                    server.end()

    def start(self, name: str) -> None:
        """Start one server and wait until it is ready."""
        server = self.servers[name]
        if server.pid is None:
            server.check_ports()
            server.spawn()
        server.wait_ready()

    def stop(self, name: str) -> None:
        """End one server in order."""
        self.servers[name].end()

    def kill(self, name: str) -> None:
        """End one server without a warning."""
        self.servers[name].end(signal.SIGKILL)

    def restart(self, name: str) -> None:
        """Stop one server and start it again."""
        self.stop(name)
        self.start(name)

    def _servers(self) -> list[Server]:
        prometheus = (
            "prometheus",
            f"--config.file={self.directory / 'prometheus/prometheus.yaml'}",
            f"--storage.tsdb.path={self.directory / 'prometheus/data'}",
            f"--web.listen-address={HOST}:{self.ports.prometheus}",
            *PROMETHEUS_FLAGS,
        )
        alertmanager = (
            "alertmanager",
            f"--config.file={HERE / 'alertmanager/alertmanager.yaml'}",
            f"--storage.path={self.directory / 'alertmanager/data'}",
            f"--web.listen-address={HOST}:{self.ports.alertmanager}",
            "--cluster.listen-address=",
        )
        jaeger = ("jaeger", f"--config={HERE / 'jaeger/jaeger.yaml'}")
        collector = ("otelcol", *(f"--config={HERE / 'collector' / name}.yaml" for name in ("otelcol", *self.layers)))
        return [
            self._server("prometheus", prometheus, self.prometheus + "/-/ready"),
            self._server("alertmanager", alertmanager, self.alertmanager + "/-/ready"),
            self._server("jaeger", jaeger, self._url("jaeger_health") + "/status"),
            self._server("collector", collector, self._url("collector_health"), "collector", "otlp"),
        ]

    def _server(self, name: str, command: tuple[str, ...], ready: str, *prefixes: str) -> Server:
        """A server, with the ports whose names begin with one of *prefixes*, or with its name."""
        ports = {setting(it): port for it, port in asdict(self.ports).items() if it.startswith(prefixes or name)}
        environment = self._environment
        return Server(
            name=name, command=command, ready=ready, ports=ports, directory=self.directory, environment=environment
        )

    def _addresses(self) -> dict[str, str]:
        """What the configuration files read from the environment."""
        at = {name: f"{HOST}:{port}" for name, port in asdict(self.ports).items()}
        return {
            "STACK_OTLP_GRPC": at["otlp_grpc"],
            "STACK_OTLP_HTTP": at["otlp_http"],
            "STACK_COLLECTOR_HEALTH": at["collector_health"],
            "STACK_QUEUE_DIRECTORY": str(self.directory / "collector" / "queue"),
            "STACK_LOG_FILE": str(self.log_file),
            "STACK_JAEGER_OTLP": at["jaeger_otlp"],
            "STACK_JAEGER_QUERY": at["jaeger_query"],
            "STACK_JAEGER_QUERY_GRPC": at["jaeger_query_grpc"],
            "STACK_JAEGER_HEALTH": at["jaeger_health"],
            "STACK_PROMETHEUS": self.prometheus,
        }

    def _write_files(self) -> None:
        """What Prometheus and Alertmanager read from files, and not from the environment."""
        folder = self.directory / "prometheus"
        (folder / "targets").mkdir(parents=True, exist_ok=True)
        alertmanager = {"targets": [f"{HOST}:{self.ports.alertmanager}"]}
        scraped = [
            {"targets": [f"{HOST}:{self.ports.prometheus}"], "labels": {"service_name": "prometheus"}},
            {**alertmanager, "labels": {"service_name": "alertmanager"}},
        ]
        (folder / "targets" / "alertmanager.yaml").write_text(json.dumps([alertmanager]))  # JSON is YAML
        (folder / "targets" / "stack.yaml").write_text(json.dumps(scraped))
        _link(folder / "prometheus.yaml", HERE / "prometheus" / "prometheus.yaml")
        _link(folder / "rules", self.rules.absolute())
        (self.directory / "alertmanager").mkdir(exist_ok=True)
        (self.directory / "alertmanager" / "webhook-url").write_text(self.webhook)

    def _same_settings(self, *, fresh: bool) -> None:
        wanted = json.dumps({"ports": asdict(self.ports), "layers": self.layers})
        path = _settings(self.directory)
        if not fresh and path.exists() and path.read_text() != wanted:
            raise StackError("the stack runs already, with other ports or layers: `make stack-down` first")
        path.write_text(wanted)

    def _url(self, port: str) -> str:
        return f"http://{HOST}:{getattr(self.ports, port)}"


def state_folder() -> Path:
    """Where data, output and process ids of this user's stack are."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "otel-tools" / "stack"


def status(stack: Stack) -> bool:
    """Say what runs and where; whether all do."""
    for server in stack.servers.values():
        say(f"{server.name:<13} {f'process {server.pid}' if server.pid else 'stopped'}, output in {server.output}")
    say(
        f"OTLP          {stack.otlp_grpc} (gRPC), {stack.otlp_http} (HTTP)\n"
        f"Jaeger        {stack.jaeger}/api/v3/services\n"
        f"Prometheus    {stack.prometheus}/api/v1/query?query=up\n"
        f"Alertmanager  {stack.alertmanager}/api/v2/alerts\n"
        f"logs          {stack.log_file}"
    )
    return all(server.pid for server in stack.servers.values())


def main(arguments: Sequence[str]) -> int:
    """The command; its exit code."""
    match arguments:
        case ["build"]:
            build()
        case ["up", *layers]:
            webhook = os.environ.get("STACK_WEBHOOK_URL", WEBHOOK)
            stack = Stack(ports=Ports.of(os.environ), layers=layers, webhook=webhook)
            stack.up()
            status(stack)
        case ["down"]:
            _running().down()
        case ["status"]:
            return 0 if status(_running()) else 1
        case _:
            raise StackError(__doc__ or "")
    return 0


def _running() -> Stack:
    """The stack of this user as it was started."""
    path = _settings(state_folder())
    settings = json.loads(path.read_text()) if path.exists() else {"ports": {}, "layers": []}
    return Stack(ports=Ports(**settings["ports"]), layers=settings["layers"])


def _settings(directory: Path) -> Path:
    return directory / "settings.json"


def _link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except StackError as error:
        say(f"stack: {error}")
        sys.exit(1)
