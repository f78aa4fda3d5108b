"""The OpenAPI document: it says what the server does, and schemathesis finds no way to break the server by it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict

import pytest

from otel_tools.control.admin import openapi, rows
from otel_tools.control.admin.routes import READS, WRITES
from otel_tools.control.admin.server import AdminServer
from otel_tools.control.operator import Operator
from otel_tools.engine import active
from otel_tools.settings import Admin
from tests.control.admin.reports import FIRST, NOW, SECOND

TOKEN = "s3cret-token"


def test_every_route_is_described():
    """Path, method, body, good answer and every refusal, from the table that the server goes by."""
    document = openapi.document("/admin")
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": "/admin"}]
    described = {
        (path, method): list(found["responses"])
        for path, ways in document["paths"].items()
        for method, found in ways.items()
    }
    reading, writing = (
        ["200", "401", "403", "405", "503"],
        ["200", "400", "401", "403", "404", "405", "413", "415", "422", "503"],
    )
    assert described == {
        **{(read.path, "get"): reading for read in READS},
        ("/healthz", "get"): ["200", "403", "405"],
        **{(write.path, "post"): writing for write in WRITES},
    }
    assert document["paths"]["/tools/{name}/disable"]["post"]["security"] == [{"token": []}]
    assert document["components"]["schemas"]["Order"]["required"] == ["reason"]


def test_answers_are_as_described():
    """Real answers have just the properties of their schemas, at every depth."""
    document = openapi.document("")
    assert document["servers"] == [{"url": "/"}]
    overrides = rows.Overrides(reaches="process")
    schemas = document["components"]["schemas"]
    compare(asdict(rows.tools([FIRST, SECOND], overrides, NOW)), {"$ref": "#/components/schemas/Tools"}, schemas)
    compare(asdict(rows.circuits([FIRST, SECOND], overrides, NOW)), {"$ref": "#/components/schemas/Circuits"}, schemas)
    compare(asdict(rows.sessions([FIRST, SECOND], NOW)), {"$ref": "#/components/schemas/Sessions"}, schemas)


TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}


def compare(value, schema, schemas):
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rsplit("/", 1)[1]]
        assert value.keys() == schema["properties"].keys() == set(schema["required"])
    if "anyOf" in schema:
        if value is not None:
            compare(value, schema["anyOf"][0], schemas)
    elif schema["type"] == "object":
        for key, one in value.items():
            compare(one, schema.get("properties", {}).get(key, schema["additionalProperties"]), schemas)
    elif schema["type"] == "array":
        for one in value:
            compare(one, schema["items"], schemas)
    else:
        types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        assert any(isinstance(value, TYPES[one]) for one in types), (value, schema)


@pytest.fixture
def server(recorder):
    recorder.instrument(mode="enforce")
    server = AdminServer(Operator(None, active()), Admin(port=0, token=TOKEN))
    server.start()
    assert server.listening.wait(10)
    yield server
    server.stop()
    recorder.uninstrument()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--phases", "coverage,fuzzing", "--generation-codec", "ascii"), id="every check"),
        # which characters are printable depends on the version of Unicode, so what is valid may be refused
        pytest.param(("--phases", "fuzzing", "--exclude-checks", "positive_data_acceptance"), id="all characters"),
    ],
)
def test_schemathesis_finds_nothing(server, tmp_path, options):
    """Requests made from the document, right and wrong ones, get the answers that it promises and never a 5xx."""
    command = (
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
        *("--header", f"Authorization: Bearer {TOKEN}", "--max-examples", "6", "--seed", "1", "--workers", "1"),
        *("--no-color", "--generation-database", "none", *options),
    )
    environment = {**os.environ, "PYTHONUTF8": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    print(done.stdout[done.stdout.rindex("Test cases:") :])  # noqa: T201  how much was tried
