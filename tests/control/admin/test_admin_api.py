"""What the admin server answers: whole JSON values of reads, what writes do, and every way to ask wrongly."""

from __future__ import annotations

import json
from http import HTTPStatus
from types import SimpleNamespace

import httpx
import pytest

import otel_tools
from otel_tools import errors
from otel_tools.control.admin import page, routes
from otel_tools.control.admin.asgi import admin_app
from otel_tools.control.directives import Document
from otel_tools.control.file import FileStore
from otel_tools.control.operator import Operator
from otel_tools.engine import active
from otel_tools.errors import StoreError
from otel_tools.settings import Admin
from tests.control.admin.reports import DIRECTIVE, FIRST, NOW, SECOND, Told, circuit, tool

TOKEN = "s3cret-token"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


def client(operator, *, token=TOKEN, open_reads=True, prefix="/admin", **settings):
    app = admin_app(operator, Admin(token=token, **settings), open_reads=open_reads, prefix=prefix)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:9465")


def problem(status, kind, detail):
    return {"type": kind, "title": HTTPStatus(status).phrase, "status": status, "detail": detail}


@pytest.fixture
def at_noon(monkeypatch):
    monkeypatch.setattr(routes, "time", SimpleNamespace(time=lambda: NOW))


@pytest.fixture
def engine(recorder):
    recorder.instrument(mode="enforce")
    yield active()
    recorder.uninstrument()


def controls(recorder):
    return [
        (
            log["severity"],
            log["body"],
            {key.removeprefix("otel_tools.control."): value for key, value in log["attributes"].items()},
        )
        for log in recorder.logs
        if log["event"] == "otel_tools.control"
    ]


# --- reading --------------------------------------------------------------------------------------------------------
PROCESSES = [
    {
        "id": f"box-{n}",
        "host": "box",
        "pid": n,
        "service": "agent",
        "program": "app.py",
        "started_at": 900.0 + n,
        "at": at,
    }
    for n, at in ((1, 999.0), (2, 998.0))
]
LAST = {"type": "SearchDown", "at": 990.0, "trace_id": "cd" * 16}
HAND = {"action": "disable", "reason": "INC-42", "actor": "ada", "expires_at": 1_600.0, "layer": "store"}
CLOSED = {
    "kind": "tool",
    "name": "search",
    "key": None,
    "state": "closed",
    "automatic": None,
    "mode": "enforce",
    "since": 901.0,
    "failures": 0,
    "reopens": 0,
    "retry_after": 0.0,
    "probe_in_flight": False,
    "override": None,
}
OVERRIDES = {
    "reaches": "process",
    "store": None,
    "problem": None,
    "directives": [
        {
            "kind": "tool",
            "name": "search",
            "action": "disable",
            "reason": "INC-42",
            "actor": "ada",
            "set_at": 950.0,
            "expires_at": 1_600.0,
            "id": "d1",
        }
    ],
}


async def test_circuits(at_noon):
    """Every circuit over both processes, with what each of them says."""
    async with client(Told(FIRST, SECOND, document=Document((DIRECTIVE,)))) as http:
        answer = await http.get("/admin/circuits")
    opened = {**CLOSED, "state": "open", "since": 990.0, "failures": 3, "retry_after": 50.0}
    merged = {key: value for key, value in opened.items() if key != "retry_after"}
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {
        "at": NOW,
        "processes": PROCESSES,
        "overrides": OVERRIDES,
        "circuits": [
            {**merged, "retry_at": 1_048.0, "last_error": LAST, "processes": {"box-1": CLOSED, "box-2": opened}}
        ],
    }


async def test_tools(at_noon):
    """Every tool over both processes, with who disabled it."""
    async with client(Told(FIRST, SECOND, document=Document((DIRECTIVE,)))) as http:
        answer = await http.get("/admin/tools")
    common = {
        "kind": "tool",
        "name": "search",
        "mode": "enforce",
        "criticality": "critical",
        "timeout": 5.0,
        "dependency": "search API",
        "owner": "team-search",
        "max_in_flight": None,
    }
    good = {
        "in_flight": 1,
        "abandoned": 0,
        "disabled": None,
        "calls": {"ok": 10},
        "recent_calls": 10,
        "error_rate": 0.0,
        "last_error": None,
    }
    bad = {
        "in_flight": 2,
        "abandoned": 1,
        "disabled": HAND,
        "calls": {"ok": 5, "error": 25},
        "recent_calls": 30,
        "error_rate": 0.8,
        "last_error": LAST,
    }
    unused = {
        "in_flight": 0,
        "abandoned": 0,
        "disabled": None,
        "calls": {},
        "recent_calls": 0,
        "error_rate": None,
        "last_error": None,
    }
    lookup = {**common, "name": "lookup", **unused}
    assert answer.json() == {
        "at": NOW,
        "processes": PROCESSES,
        "overrides": OVERRIDES,
        "tools": [
            {
                **common,
                **bad,
                "in_flight": 3,
                "disabled_in": 1,
                "calls": {"ok": 15, "error": 25},
                "recent_calls": 40,
                "error_rate": 0.6,
                "processes": {"box-1": {**common, **good}, "box-2": {**common, **bad}},
            },
            {**lookup, "disabled_in": 0, "processes": {"box-2": lookup}},
        ],
    }


async def test_sessions(at_noon):
    """The running session first, each with the process that it is in, and never for whom it is."""
    async with client(Told(FIRST, SECOND)) as http:
        answer = await http.get("/admin/sessions")
    running = {
        "process": "box-1",
        "agent": "agent",
        "conversation_id": None,
        "trace_id": "ab" * 16,
        "started_at": 950.0,
        "ended_at": None,
        "outcome": None,
        "input_tokens": 10,
        "output_tokens": 5,
        "cost_usd": 0.25,
        "unpriced_tokens": 0,
        "inference_calls": 2,
        "tool_calls": 3,
        "tool_errors": 1,
    }
    ended = {**running, "process": "box-2", "started_at": 960.0, "ended_at": 970.0, "outcome": "completed"}
    assert answer.json() == {"at": NOW, "processes": PROCESSES, "sessions": [running, ended]}


async def test_a_store_that_is_away_leaves_this_process(at_noon):
    """What is wrong with it is told beside what this process knows."""
    async with client(Told(FIRST, document=StoreError("redis://cache does not answer"))) as http:
        answer = (await http.get("/admin/circuits")).json()
    assert answer["overrides"] == {
        "reaches": "process",
        "store": None,
        "problem": "redis://cache does not answer",
        "directives": [],
    }
    assert [row["name"] for row in answer["circuits"]] == ["search"]


async def test_health_needs_no_token():
    """And says nothing of the program."""
    async with client(Told(FIRST), open_reads=False) as http:
        answer = await http.get("/admin/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_names_that_utf8_cannot_hold():
    """Half of a surrogate pair in a tool's name, which a model's JSON can hold, is escaped."""
    report = SECOND.__class__(
        process=FIRST.process, at=NOW, circuits=(circuit(name="\ud83d"),), tools=(tool(name="\ud83d"),)
    )
    async with client(Told(report)) as http:
        answer = await http.get("/admin/tools")
    assert answer.status_code == 200
    assert json.loads(answer.content)["tools"][0]["name"] == "\ud83d"


@pytest.mark.parametrize("path", ["/admin", "/admin/"])
async def test_the_page(path):
    """The page comes with a policy that allows its own script and style and nothing else."""
    async with client(Told(FIRST), open_reads=False, token=None) as http:
        answer = await http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy.keys() == {
        "default-src",
        "script-src",
        "style-src",
        "connect-src",
        "img-src",
        "base-uri",
        "form-action",
        "frame-ancestors",
        "require-trusted-types-for",
        "trusted-types",
    }
    assert policy["script-src"] == page._hash(answer.content, b"script")
    assert policy["style-src"] == page._hash(answer.content, b"style")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in answer.text


async def test_every_answer_is_kept_from_caches_and_frames():
    """Good answers and errors alike carry the security headers."""
    async with client(Told(FIRST)) as http:
        for path in ("/admin", "/admin/tools", "/admin/openapi.json", "/admin/nothing"):
            headers = (await http.get(path)).headers
            assert {
                name: headers[name]
                for name in (
                    "cache-control",
                    "x-frame-options",
                    "x-content-type-options",
                    "referrer-policy",
                    "cross-origin-resource-policy",
                )
            } == {
                "cache-control": "no-store",
                "x-frame-options": "DENY",
                "x-content-type-options": "nosniff",
                "referrer-policy": "no-referrer",
                "cross-origin-resource-policy": "same-origin",
            }
            assert "frame-ancestors 'none'" in headers["content-security-policy"]


async def test_head_is_answered_as_get():
    """A monitor may ask with HEAD."""
    async with client(Told(FIRST)) as http:
        assert (await http.head("/admin/healthz")).status_code == 200


@pytest.mark.parametrize("path", ["/", "/circuits", "/adminx/circuits", "/admin/nothing", "/admin/tools/search"])
async def test_there_is_nothing_else(path):
    """A path that is not ours says where the page is."""
    async with client(Told(FIRST)) as http:
        answer = await http.get(path)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == problem(404, "not_found", "There is nothing here; the page is at /admin.")


async def test_other_methods():
    """405 names the methods there are."""
    async with client(Told(FIRST)) as http:
        reading = await http.delete("/admin/tools", headers=AUTHORIZED)
        writing = await http.get("/admin/tools/search/disable")
    assert (reading.headers["allow"], reading.json()) == (
        "GET, HEAD",
        problem(405, "method_not_allowed", "Only GET, HEAD is answered here."),
    )
    assert (writing.headers["allow"], writing.json()) == (
        "POST",
        problem(405, "method_not_allowed", "Only POST is answered here."),
    )


async def test_mounted_below_another_path(engine):
    """In a Starlette or FastAPI program everything is below the mount, and the document says so."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    app = Starlette(routes=[Mount("/ops/admin", admin_app(Operator(None, engine), Admin(token=TOKEN)))])
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:80", headers=AUTHORIZED) as http:
        assert (await http.get("/ops/admin/")).headers["content-type"].startswith("text/html")
        assert (await http.get("/ops/admin/tools")).json()["tools"] == []
        assert (await http.get("/ops/admin/openapi.json")).json()["servers"] == [{"url": "/ops/admin"}]
        done = await http.post("/ops/admin/tools/search/disable", json={"reason": "INC-1"})
    assert done.json()["name"] == "search"
    assert active().tools.get("search").view().disabled.reason == "INC-1"


# --- writing --------------------------------------------------------------------------------------------------------
async def test_disable_and_enable(engine, recorder):
    """The tool is refused, as the audit says, until it is enabled."""

    @otel_tools.tool("search")
    def search():
        return "found"

    async with client(Operator(None, engine), token=TOKEN) as http:
        order = {"reason": "INC-42", "expires_after": 60, "actor": "ada"}
        done = await http.post("/admin/tools/search/disable", headers=AUTHORIZED, json=order)
        with pytest.raises(errors.ToolDisabled):
            search()
        undone = await http.post("/admin/tools/search/enable", headers=AUTHORIZED, json={"actor": "bob"})
    assert search() == "found"
    assert done.status_code == 200
    assert done.json() == {
        "kind": "tool",
        "name": "search",
        "action": "disable",
        "actor": "ada",
        "reason": "INC-42",
        "expires_at": pytest.approx(done.json()["expires_at"]),
        "reaches": "process",
    }
    assert undone.json() == {
        "kind": "tool",
        "name": "search",
        "action": "enable",
        "actor": "bob",
        "reason": None,
        "expires_at": None,
        "reaches": "process",
    }
    assert controls(recorder) == [
        (
            "WARN",
            "disable search by ada",
            {
                "target": "search",
                "action": "disable",
                "layer": "process",
                "actor": "ada",
                "reason": "INC-42",
                "expires_after": 60,
            },
        ),
        ("INFO", "enable search by bob", {"target": "search", "action": "enable", "layer": "process", "actor": "bob"}),
    ]


@pytest.mark.parametrize(
    ("word", "state"), [("force-open", "forced_open"), ("bypass", "disabled"), ("metrics-only", "metrics_only")]
)
async def test_circuits_are_steered(engine, word, state):
    """Each action sets its state, on an LLM client when asked for, and reset lifts it."""
    async with client(Operator(None, engine)) as http:
        where = "/admin/circuits/openai"
        done = await http.post(f"{where}/{word}?kind=client", headers=AUTHORIZED, json={"reason": "why"})
        assert engine.clients.get("openai").view().circuit.state == state
        assert "openai" not in engine.tools
        undone = await http.post(f"{where}/reset?kind=client", headers=AUTHORIZED, json={})
    assert (done.status_code, done.json()["action"], done.json()["kind"]) == (200, word.replace("-", "_"), "client")
    assert (undone.status_code, undone.json()["actor"]) == (200, "admin")
    assert engine.clients.get("openai").view().circuit is None


async def test_a_store_carries_it_to_all(engine, tmp_path):
    """With a store what is set stands there, and the answer says how far it reaches."""
    store = FileStore(tmp_path / "control", "agent")
    async with client(Operator(store, engine)) as http:
        done = await http.post("/admin/tools/search/disable", headers=AUTHORIZED, json={"reason": "INC-42"})
        seen = (await http.get("/admin/tools")).json()
    (directive,) = store.read().directives
    assert (directive.target, directive.action, directive.reason, directive.actor) == (
        ("tool", "search"),
        "disable",
        "INC-42",
        "admin",
    )
    assert done.json()["reaches"] == "service"
    assert seen["overrides"]["store"] == store.label
    assert [(row["name"], row["disabled"]["reason"]) for row in seen["tools"]] == [("search", "INC-42")]


async def test_a_store_that_cannot_be_written(engine, tmp_path):
    """503 with what is wrong; nothing has changed."""
    (tmp_path / "control").write_text("a file where a directory should be")
    async with client(Operator(FileStore(tmp_path / "control", "agent"), engine)) as http:
        done = await http.post("/admin/tools/search/disable", headers=AUTHORIZED, json={"reason": "INC-42"})
    assert (done.status_code, done.json()["type"]) == (503, "store_unavailable")
    assert str(tmp_path) in done.json()["detail"]
    assert "search" not in engine.tools


@pytest.mark.parametrize(
    "name",
    ["a/b", "/", "search/disable", "süß", "a b", "100%", "?", "#", "{name}", "%2F", "...", "<img src=x>", "x" * 500],
)
async def test_names_are_decoded(engine, name):
    """Slashes and odd characters arrive as they are; the tool need not be known."""
    from urllib.parse import quote

    async with client(Operator(None, engine)) as http:
        path = f"/admin/tools/{quote(name, safe='')}/disable"
        done = await http.post(path, headers=AUTHORIZED, json={"reason": "INC-42"})
    assert (done.status_code, done.json()["name"]) == (200, name)
    assert [view.name for view in engine.tools.views()] == [name]


@pytest.mark.parametrize("name", ["", "%00", "a%0Ab", "%7F", "%FF", "%E2%80%A8", "x" * 501, "%20"])
async def test_names_that_cannot_be(engine, name):
    """Control characters, bytes that are no UTF-8, nothing at all, and endless ones are refused."""
    async with client(Operator(None, engine)) as http:
        done = await http.post(f"/admin/tools/{name}/disable", headers=AUTHORIZED, json={"reason": "INC-42"})
    assert (done.status_code, done.json()["type"]) == (422, "invalid")
    assert engine.tools.views() == []


WITHIN_A_YEAR = "expires_after must be more than 0 and at most 31622400 seconds (366 days), or None for never"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ([], "The body must be a JSON object."),
        ({}, "Say why: reason is missing."),
        ({"reason": None}, "Say why: reason is null."),
        ({"reason": ""}, "reason must be one line of 1 to 500 printable characters, not ''."),
        ({"reason": "  "}, "reason must be one line of 1 to 500 printable characters, not '  '."),
        ({"reason": 1}, "reason must be one line of 1 to 500 printable characters, not 1."),
        ({"reason": "a\nb"}, "reason must be one line of 1 to 500 printable characters, not 'a\\nb'."),
        ({"reason": "\ud800"}, "reason must be one line of 1 to 500 printable characters, not '\\ud800'."),
        ({"reason": "x", "actor": None}, "actor must be one line of 1 to 500 printable characters, not None."),
        ({"reason": "x", "for": 1}, "Unknown key 'for'; allowed: actor, reason, expires_after."),
        ({"reason": "x", "expires_after": 0}, f"{WITHIN_A_YEAR}, not 0."),
        ({"reason": "x", "expires_after": "1h"}, "expires_after must be seconds or None, not '1h'."),
        ({"reason": "x", "expires_after": True}, "expires_after must be seconds or None, not True."),
        ({"reason": "x", "expires_after": 10**400}, f"{WITHIN_A_YEAR}, not {10**59}."),
    ],
)
async def test_bodies_that_cannot_be(engine, body, detail):
    """422 says what is wrong with which key."""
    async with client(Operator(None, engine)) as http:
        done = await http.post(
            "/admin/tools/search/disable",
            headers=AUTHORIZED | {"Content-Type": "application/json"},
            content=json.dumps(body),
        )
    assert done.json() == problem(422, "invalid", detail)
    assert engine.tools.views() == []


@pytest.mark.parametrize("body", [b"", b"{", b"reason=x", b'{"reason": NaN}', b"\xff", b"[" * 10_000, b"1" * 5_000])
async def test_bodies_that_are_no_json(engine, body):
    """400, however they are broken."""
    async with client(Operator(None, engine)) as http:
        done = await http.post(
            "/admin/tools/search/enable", headers=AUTHORIZED | {"Content-Type": "application/json"}, content=body
        )
    assert done.json() == problem(400, "not_json", 'The body is not JSON. Send an object, such as {"reason": "..."}.')


@pytest.mark.parametrize(
    "given", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
async def test_only_json(engine, given):
    """415 for what a form of another page can send."""
    async with client(Operator(None, engine)) as http:
        headers = AUTHORIZED | ({"Content-Type": given} if given else {})
        done = await http.post("/admin/tools/search/enable", headers=headers, content=b"{}")
    assert done.json() == problem(415, "not_json", "Send the body as `Content-Type: application/json`.")


async def test_json_with_its_charset(engine):
    """What some clients add is fine."""
    async with client(Operator(None, engine)) as http:
        headers = AUTHORIZED | {"Content-Type": 'Application/JSON; charset="UTF-8"'}
        done = await http.post("/admin/tools/search/enable", headers=headers, content=b"{}")
    assert done.status_code == 200


async def test_long_bodies(engine):
    """413, whether the length is announced or not."""

    async def endless():
        for _ in range(100):
            yield b" " * 1024

    async with client(Operator(None, engine)) as http:
        headers = AUTHORIZED | {"Content-Type": "application/json"}
        for content in (b" " * 20_000, endless()):
            done = await http.post("/admin/tools/search/enable", headers=headers, content=content)
            assert done.json() == problem(413, "too_long", "The body is longer than 16384 bytes.")


async def test_kinds(engine):
    """There are tools and clients, nothing else."""
    async with client(Operator(None, engine)) as http:
        done = await http.post("/admin/tools/search/enable?kind=agent", headers=AUTHORIZED, json={})
    assert done.json() == problem(422, "invalid", "kind must be tool or client, not 'agent'.")


async def test_a_fault_of_ours_is_told_and_survived(monkeypatch):
    """A read that fails is a 500 that names no detail."""

    class Broken(Told):
        def reports(self):
            raise ZeroDivisionError

    monkeypatch.setattr(errors, "raise_internal_errors", False)
    async with client(Broken()) as http:
        answer = await http.get("/admin/tools")
    assert answer.json() == problem(500, "internal_error", "A fault of otel-tools; the program's log has more.")


async def test_websockets_are_closed():
    """There are none here."""
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    app = admin_app(Told(), Admin())
    await app({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000, "reason": ""}]
