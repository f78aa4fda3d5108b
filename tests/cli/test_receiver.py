"""The OTLP receiver, spoken to by the real exporters and by hand."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import queue
import socket
import zlib

import pytest
from google.protobuf import json_format
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_tools.cli.receiver import PortInUseError, Receiver
from tests.cli import messages as make


@pytest.fixture
def arrived():
    """What the receiver was sent."""
    return queue.SimpleQueue()


@pytest.fixture
def receiver(arrived):
    """A receiver on free ports."""
    with Receiver(arrived.put, grpc_port=0, http_port=0) as receiver:
        yield receiver


def _http_exporter(receiver, **options):
    return HttpExporter(endpoint=f"http://127.0.0.1:{receiver.http_port}/v1/traces", **options)


@pytest.mark.parametrize(
    "exporter",
    [
        lambda receiver: GrpcExporter(endpoint=f"http://127.0.0.1:{receiver.grpc_port}", insecure=True),
        _http_exporter,
        lambda receiver: _http_exporter(receiver, compression=Compression.Gzip),
        lambda receiver: _http_exporter(receiver, compression=Compression.Deflate),
    ],
    ids=["grpc", "http", "http gzip", "http deflate"],
)
def test_the_real_exporters_get_through(receiver, arrived, exporter):
    """Every protocol and compression that the SDK speaks."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter(receiver)))
    provider.get_tracer("t").start_span("hello").end()
    provider.shutdown()
    message = arrived.get(timeout=10)
    assert isinstance(message, ExportTraceServiceRequest)
    assert message.resource_spans[0].scope_spans[0].spans[0].name == "hello"


def _post(receiver, path, body, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", receiver.http_port, timeout=10)
    named = {
        "content-type": "application/x-protobuf",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    connection.request("POST", path, body, named)
    response = connection.getresponse()
    answer = (response.status, response.headers["content-type"], response.read())
    connection.close()
    return answer


SIGNALS = {
    "/v1/traces": make.traces(make.chat("t", "a", "b")),
    "/v1/metrics": make.metrics(),
    "/v1/logs": make.logs(make.transition("search", "closed", "open", "threshold")),
}


@pytest.mark.parametrize("path", SIGNALS)
def test_every_signal_over_http_in_protobuf(receiver, arrived, path):
    """The answer is in the format of the question."""
    assert _post(receiver, path, SIGNALS[path].SerializeToString()) == (200, "application/x-protobuf", b"")
    assert arrived.get(timeout=10) == SIGNALS[path]


def _with_hex(value):
    if isinstance(value, list):
        return [_with_hex(item) for item in value]
    if isinstance(value, dict):
        return {key: _hex(item) if key.endswith(("Id", "traceId")) else _with_hex(item) for key, item in value.items()}
    return value


def _hex(value):
    return base64.b64decode(value).hex()


@pytest.mark.parametrize("path", SIGNALS)
@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
def test_every_signal_over_http_in_json(receiver, arrived, path, encoding):
    """Identifiers are hex there, unlike in protobuf's own JSON; unknown fields are passed over."""
    document = {**_with_hex(json_format.MessageToDict(SIGNALS[path])), "future": {"field": 1}}
    compress = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    status, kind, body = _post(
        receiver,
        path,
        compress(json.dumps(document).encode()),
        content_type="application/json; charset=utf-8",
        content_encoding=encoding,
    )
    assert (status, kind, json.loads(body)) == (200, "application/json", {})
    assert arrived.get(timeout=10) == SIGNALS[path]


JSON = {"content_type": "application/json"}
GZIP = {"content_encoding": "gzip"}


@pytest.mark.parametrize(
    ("sent", "status", "text"),
    [
        (("/", b"", {}), 404, "expected one of /v1/traces, /v1/metrics, /v1/logs"),
        (("/v1/traces", b"\xff\xff", {}), 400, "the body is no OTLP"),
        (("/v1/traces", b"{", JSON), 400, "the body is no OTLP"),
        (("/v1/traces", b'{"resourceSpans": 1}', JSON), 400, "the body is no OTLP"),
        (("/v1/traces", b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz"}]}]}]}', JSON), 400, "no OTLP"),
        (("/v1/traces", b"", {"content_type": "text/plain"}), 415, "expected content-type application/x-protobuf or"),
        (("/v1/traces", b"", {"content_encoding": "br"}), 415, "content-encoding br is not supported"),
        (("/v1/traces", b"plain", GZIP), 400, "the body is not gzip"),
        (("/v1/traces", gzip.compress(b"x" * 99)[:-9], GZIP), 400, "the body is cut short"),
        (("/v1/traces", gzip.compress(b"0" * 2**26 + b"0"), GZIP), 400, "or too large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_otlp_is_refused_with_a_reason(receiver, arrived, sent, status, text):
    """The sender is told what is wrong, and nothing arrives."""
    path, body, headers = sent
    answer = _post(receiver, path, body, **headers)
    assert answer[:2] == (status, "text/plain")
    assert text in answer[2].decode()
    assert arrived.empty()


def test_a_body_without_length_is_refused(receiver):
    """How much to read must be known beforehand."""
    connection = http.client.HTTPConnection("127.0.0.1", receiver.http_port, timeout=10)
    connection.putrequest("POST", "/v1/traces")
    connection.endheaders()
    with connection.getresponse() as response:
        assert response.status == 411
    connection.close()


@pytest.mark.parametrize(("grpc", "option"), [(True, "--grpc-port"), (False, "--http-port")])
def test_a_port_in_use_says_what_to_do(arrived, grpc, option):
    """One message that names the port and the option."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"grpc_port": port if grpc else 0, "http_port": 0 if grpc else port}
        with pytest.raises(PortInUseError, match=f"port {port} on 127.0.0.1 is in use.*another port with {option}"):
            Receiver(arrived.put, **ports)


def test_two_receivers_do_not_share_a_port(receiver, arrived, capfd):
    """By default gRPC would let both have it and give each a part of the telemetry; it does not log on its own."""
    with pytest.raises(PortInUseError):
        Receiver(arrived.put, grpc_port=receiver.grpc_port, http_port=0)
    assert capfd.readouterr() == ("", "")
