"""A secret in every text of an agent: where it can be read afterwards, and where not."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stack import Ports, Stack

from tests.e2e.conftest import instrumented
from tests.fake_server import FakeServer
from tests.stack.servers import QUICK, eventually, get

CANARY = "canary-51d0c7"
FOLDER = Path(__file__).with_name("canary")


@pytest.fixture(scope="module")
def redacting(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with the redaction layer."""
    directory = tmp_path_factory.mktemp("redacting")
    with Stack(ports=Ports.free(), directory=directory, layers=["redaction"], environment=QUICK) as stack:
        yield stack


@pytest.mark.parametrize(
    ("layer", "capture", "found"),
    [
        ("plain", "no_content", []),
        ("plain", "span_and_event", ["Jaeger", "log file"]),  # it does travel when it is asked to
        ("redaction", "span_and_event", []),
    ],
    ids=["by default", "captured", "captured and redacted"],
)
def test_a_canary(
    stack: Stack, server: FakeServer, request: pytest.FixtureRequest, layer: str, capture: str, found: list[str]
):
    """It is nowhere by default; with content capture it is in traces and logs, unless the redaction layer masks it."""
    asked = request.getfixturevalue("redacting") if layer == "redaction" else stack
    service = f"canary-of-{layer}-{capture}"
    server.reply(_completion())
    server.reply({"error": {"message": f"I do not speak of {CANARY}", "type": "refused"}}, status=400)
    ended = instrumented(
        asked,
        FOLDER,
        OTEL_SERVICE_NAME=service,
        OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=capture,
        OPENAI_BASE_URL=f"{server.url}/v1",
        OPENAI_API_KEY="none",
        QUESTION=f"what is {CANARY}?",
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    texts = _everything(asked, service)
    seen = [where for where, text in texts.items() if CANARY in text]
    print(f"\n{layer}, capture {capture}: { ({where: text.count(CANARY) for where, text in texts.items()}) }")
    assert seen == found


def _completion() -> dict[str, Any]:
    calls = [
        {"id": name, "type": "function", "function": {"name": name, "arguments": json.dumps({"query": CANARY})}}
        for name in ("lookup", "explode")
    ]
    message = {"role": "assistant", "content": f"I look for {CANARY}", "tool_calls": calls}
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    frame = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-5-mini"}
    return {**frame, "choices": [choice], "usage": usage}


def _everything(stack: Stack, service: str) -> dict[str, str]:
    """All that the servers have of a service, once its five spans, its metrics and its log records are there."""
    selector = f'{{service_name="{service}"}}'
    series = urllib.parse.urlencode({"match[]": selector})
    exemplars = urllib.parse.urlencode({"query": selector, "start": "0", "end": "99999999999"})
    traces = eventually(lambda: _complete(get(f"{stack.jaeger}/api/traces?service={service}&limit=10")))
    found = eventually(lambda: get(f"{stack.prometheus}/api/v1/series?{series}")["data"])
    log = eventually(lambda: _log(stack, service))
    return {
        "Jaeger": json.dumps(traces),
        "Prometheus": json.dumps([found, get(f"{stack.prometheus}/api/v1/query_exemplars?{exemplars}")]),
        "log file": log,
        "output of the servers": "".join(path.read_text() for path in stack.directory.glob("*.log")),
    }


def _complete(answer: Any) -> Any:
    traces = (answer or {}).get("data") or []
    return traces if [len(trace["spans"]) for trace in traces] == [5] else None


def _log(stack: Stack, service: str) -> str:
    lines = stack.log_file.read_text().splitlines() if stack.log_file.exists() else []
    return "\n".join(line for line in lines if service in line)
