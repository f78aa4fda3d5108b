"""An OTLP receiver for this machine: gRPC, and HTTP with protobuf or JSON, plain or compressed."""

from __future__ import annotations

import base64
import binascii
import errno
import http
import json
import socket
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple, Self

import grpc
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtobufMessage
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

from otel_tools.cli.otlp import Message
from otel_tools.errors import OtelToolsError

_LARGEST = 64 * 1024 * 1024
_GZIP_OR_ZLIB = 47
"""zlib's `wbits`: the largest window, and the header tells which of the two it is."""
_TYPES = ("application/x-protobuf", "application/json")


class PortInUseError(OtelToolsError):
    """A port of the receiver is taken."""


class _Signal(NamedTuple):
    service: str
    request: type[Message]
    response: type[ProtobufMessage]


_SIGNALS: Final = {
    "/v1/traces": _Signal("trace.v1.TraceService", traces.ExportTraceServiceRequest, traces.ExportTraceServiceResponse),
    "/v1/metrics": _Signal(
        "metrics.v1.MetricsService", metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse
    ),
    "/v1/logs": _Signal("logs.v1.LogsService", logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse),
}


class Receiver:
    """Gives every export request that arrives to *consume*; a context manager.

    Args:
        consume: Called from several threads.
        host: Address to listen on.
        grpc_port, http_port: Ports; 0 takes a free one.

    Attributes:
        grpc_port, http_port: The ports it listens on.

    Raises:
        PortInUseError: A port is taken; the message says what to do.
    """

    def __init__(
        self, consume: Callable[[Message], None], host: str = "127.0.0.1", grpc_port: int = 4317, http_port: int = 4318
    ) -> None:
        self.host = host
        self._http = _http_server(consume, host, http_port)
        self.http_port = int(self._http.server_address[1])
        try:
            self._grpc, self.grpc_port = _grpc_server(consume, host, grpc_port)
        except OtelToolsError:
            self._http.server_close()
            raise
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.1,), name="otlp-http", daemon=True)

    def __enter__(self) -> Self:
        self._grpc.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(grace=0.5).wait()


def _in_use(host: str, port: int, option: str) -> PortInUseError:
    return PortInUseError(
        f"port {port} on {host} is in use, perhaps by a Collector or another `otel-tools watch`; "
        f"stop it, or choose another port with {option} (0 takes a free one)"
    )


# --- gRPC -----------------------------------------------------------------------------------------------------------
def _grpc_server(consume: Callable[[Message], None], host: str, port: int) -> tuple[grpc.Server, int]:
    if not _is_free(host, port):  # asked first, since gRPC's own words about it would go to the terminal
        raise _in_use(host, port, "--grpc-port")
    # without so_reuseport=0 two receivers would silently share the port, and each see a part
    options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", _LARGEST)]
    server = grpc.server(ThreadPoolExecutor(4, "otlp-grpc"), options=options)
    server.add_generic_rpc_handlers([_grpc_handler(signal, consume) for signal in _SIGNALS.values()])
    try:
        bound = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except RuntimeError:
        bound = 0
    if not bound:
        raise _in_use(host, port, "--grpc-port")
    return server, bound


def _is_free(host: str, port: int) -> bool:
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError:
        return False
    return True


def _grpc_handler(signal: _Signal, consume: Callable[[Message], None]) -> grpc.GenericRpcHandler:
    def export(request: Message, _: grpc.ServicerContext) -> Any:
        consume(request)
        return signal.response()

    method = grpc.unary_unary_rpc_method_handler(
        export,
        request_deserializer=signal.request.FromString,
        response_serializer=signal.response.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(f"opentelemetry.proto.collector.{signal.service}", {"Export": method})


# --- HTTP -----------------------------------------------------------------------------------------------------------
class _Refused(Exception):  # noqa: N818  a reply, not a fault
    """A request that gets an error reply."""

    def __init__(self, status: http.HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


def _http_server(consume: Callable[[Message], None], host: str, port: int) -> ThreadingHTTPServer:
    handler = type("Handler", (_Handler,), {"consume": staticmethod(consume)})
    try:
        return ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise _in_use(host, port, "--http-port") from None
        raise OtelToolsError(f"cannot listen on {host}: {error.strerror}") from None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    consume: Callable[[Message], None]

    def do_POST(self) -> None:
        """An export."""
        kind = self.headers.get_content_type()
        try:
            body = self._body()
            signal = _signal(self.path)
            self.consume(_parsed(signal, kind, _decompressed(body, self.headers.get("content-encoding", ""))))
            self._reply(http.HTTPStatus.OK, kind, _serialised(signal.response(), kind))
        except _Refused as refused:
            self.close_connection = True
            self._reply(refused.status, "text/plain", str(refused).encode())

    def _body(self) -> bytes:
        length = self.headers.get("content-length", "")
        if not length.isdigit():
            raise _Refused(http.HTTPStatus.LENGTH_REQUIRED, "content-length is missing")
        if int(length) > _LARGEST:
            raise _Refused(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {_LARGEST} bytes")
        return self.rfile.read(int(length))

    def _reply(self, status: http.HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the terminal belongs to the view."""


def _signal(path: str) -> _Signal:
    signal = _SIGNALS.get(path.partition("?")[0])
    if signal is None:
        raise _Refused(http.HTTPStatus.NOT_FOUND, f"expected one of {', '.join(_SIGNALS)}")
    return signal


def _decompressed(body: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise _Refused(http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"content-encoding {encoding} is not supported")
    stream = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = stream.decompress(body, _LARGEST)
    except zlib.error:
        raise _Refused(http.HTTPStatus.BAD_REQUEST, f"the body is not {encoding}") from None
    if stream.unconsumed_tail or not stream.eof:
        raise _Refused(http.HTTPStatus.BAD_REQUEST, "the body is cut short, or too large")
    return plain


def _parsed(signal: _Signal, kind: str, body: bytes) -> Message:
    try:
        if kind == "application/x-protobuf":
            return signal.request.FromString(body)
        if kind == "application/json":
            document = _base64_ids(json.loads(body))
            return json_format.ParseDict(document, signal.request(), ignore_unknown_fields=True)
    except (DecodeError, json_format.ParseError, ValueError) as error:
        raise _Refused(http.HTTPStatus.BAD_REQUEST, f"the body is no OTLP: {error}") from None
    raise _Refused(http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"expected content-type {' or '.join(_TYPES)}")


def _base64_ids(value: Any) -> Any:
    """OTLP/JSON writes identifiers in hex, where the JSON mapping of protobuf expects base64."""
    if isinstance(value, list):
        return [_base64_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(binascii.unhexlify(item)).decode()
        if key in ("traceId", "spanId", "parentSpanId")
        else _base64_ids(item)
        for key, item in value.items()
    }


def _serialised(response: ProtobufMessage, kind: str) -> bytes:
    if kind == "application/json":
        return json_format.MessageToJson(response).encode()
    return response.SerializeToString()
