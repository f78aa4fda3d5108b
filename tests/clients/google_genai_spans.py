"""The spans that calls of the `google-genai` client shall give."""

from __future__ import annotations

from typing import Any
from unittest.mock import ANY

import pytest

from tests.clients.google_genai_bodies import MODEL, VERSION
from tests.fake_server import FakeServer


def llm_span(server: FakeServer, *, status: str = "UNSET", **attributes: Any) -> dict[str, Any]:
    """The whole span of a call (dots in names are double underscores; `None` takes one away).

    The cost is the bill of the tokens, calculated by hand: 0.30 USD per million tokens in, 2.50 out.
    """
    expected = {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": MODEL,
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "gen_ai.response.id": "r1",
        "gen_ai.response.model": VERSION,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 2,
        "otel_tools.usage.quality": "exact",
        "otel_tools.outcome": "ok",
        "otel_tools.cost.source": "genai-prices",
        **{name.replace("__", "."): value for name, value in attributes.items()},
    }
    expected = {name: value for name, value in expected.items() if value is not None}
    if "otel_tools.cost.source" in expected:
        given, generated = expected["gen_ai.usage.input_tokens"], expected.get("gen_ai.usage.output_tokens", 0)
        expected["otel_tools.cost.usd"] = pytest.approx(given * 0.3e-6 + generated * 2.5e-6)
    return {
        "name": f"{expected['gen_ai.operation.name']} {MODEL}",
        "kind": "CLIENT",
        "status": status,
        "parent": None,
        "attributes": expected,
        "events": [],
    }


STREAMED = {
    "gen_ai__request__stream": True,
    "gen_ai__response__time_to_first_chunk": ANY,
    "gen_ai__usage__output_tokens": 6,
    "gen_ai__usage__reasoning__output_tokens": 4,
}
UNANSWERED = dict.fromkeys(
    (
        "gen_ai__response__id",
        "gen_ai__response__model",
        "gen_ai__response__finish_reasons",
        "gen_ai__usage__input_tokens",
        "gen_ai__usage__output_tokens",
        "otel_tools__usage__quality",
        "otel_tools__cost__source",
    )
)
LEFT = STREAMED | {
    "gen_ai__response__finish_reasons": ("error",),
    "gen_ai__usage__output_tokens": 4,
    "gen_ai__usage__reasoning__output_tokens": 3,
    "otel_tools__usage__quality": "partial",
    "otel_tools__outcome": "cancelled",
}
