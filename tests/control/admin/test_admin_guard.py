"""Who is let in: Host, Origin and token, and that a refused write is put on record."""

from __future__ import annotations

from http import HTTPStatus

import httpx
import pytest

from otel_tools.control.admin.asgi import admin_app
from otel_tools.control.admin.guard import Guard, is_loopback
from otel_tools.control.admin.problems import Problem
from otel_tools.control.operator import Operator
from otel_tools.engine import active
from otel_tools.settings import Admin

TOKEN = "s3cret-token"
AUTHORIZED = (b"authorization", b"Bearer s3cret-token")
ORDER = {"reason": "INC-42"}


def problem(status, kind, detail):
    return {"type": kind, "title": HTTPStatus(status).phrase, "status": status, "detail": detail}


def refusal(check, *arguments):
    """The type of problem that *check* raises, `None` if it lets in."""
    try:
        check(*arguments)
    except Problem as found:
        return found.status.value, found.type
    return None


def host(name, *more):
    return [(b"host", name.encode()), *more]


@pytest.fixture
def engine(recorder):
    recorder.instrument(mode="enforce")
    yield active()
    recorder.uninstrument()


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "localhost:9465",
        "LocalHost",
        "localhost.",
        "127.0.0.1:80",
        "127.8.9.1",
        "[::1]:9465",
        "10.1.2.3",
        "Ops.example.com:8443",
    ],
)
def test_hosts_that_are_let_in(name):
    """Loopback names, the address that the request arrived at, and those of the settings; the port does not matter."""
    guard = Guard(Admin(hosts=("ops.Example.com",)), open_reads=True)
    assert refusal(guard.check, host(name), ("10.1.2.3", 9465)) is None


@pytest.mark.parametrize(
    "headers",
    [
        host("evil.example.com"),
        host("localhost.evil.example.com"),
        host("127.0.0.1.evil.example.com"),
        host("10.1.2.4"),
        host("0.0.0.0"),
        host("::1"),
        host("user@localhost"),
        host("localhost/path"),
        host("localhost:port"),
        host("[localhost"),
        host(""),
        [],
        host("localhost") + host("evil.example.com"),
    ],
)
def test_hosts_that_are_not(headers):
    """Any other name is one that somebody made resolve to this machine; no host, or two, is no browser of ours."""
    guard = Guard(Admin(host="0.0.0.0"), open_reads=True)
    assert refusal(guard.check, headers, ("10.1.2.3", 9465)) == (403, "host_not_allowed")


def test_a_name_that_resolves_here_is_no_address():
    """What a server says of itself counts only if it is an address: a name may be somebody else's."""
    guard = Guard(Admin(), open_reads=True)
    assert refusal(guard.check, host("evil.example.com"), ("evil.example.com", 80)) == (403, "host_not_allowed")
    assert refusal(guard.check, host("localhost"), None) is None


def test_the_configured_address_is_let_in():
    """A server on a name of its own is reached by it."""
    assert (
        refusal(Guard(Admin(host="agent.internal"), open_reads=False).check, host("agent.internal:9465"), None) is None
    )


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("localhost:9465", "http://localhost:9465"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("ops.example.com", "https://ops.example.com"),
        ("ops.example.com:443", "https://ops.example.com"),
        ("[::1]:9465", "http://[::1]:9465"),
    ],
)
def test_our_own_origin(name, origin):
    """The page's own requests name the host that it is reached by."""
    guard = Guard(Admin(hosts=("ops.example.com",)), open_reads=True)
    assert refusal(guard.check, host(name, (b"origin", origin.encode())), None) is None


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example.com",
        "http://localhost:8000",
        "http://127.0.0.1:9465",
        "https://localhost",
        "http://localhost:9465.evil.example.com",
        "http://localhost:9465/path",
        "http://user@localhost:9465",
        "null",
        "localhost:9465",
        "",
        "file://",
        "chrome-extension://abc",
    ],
)
def test_another_origin(origin):
    """A page of anybody else's, also one on another port of this machine, is refused, whatever it asks."""
    guard = Guard(Admin(), open_reads=True)
    headers = host("localhost:9465", (b"origin", origin.encode()))
    assert refusal(guard.check, headers, None) == (403, "origin_not_allowed")


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        (b"Bearer s3cret-token", None),
        (b"bearer s3cret-token", None),
        (b"BEARER  s3cret-token", None),
        (b"Bearer wrong", (401, "token_wrong")),
        (b"Bearer s3cret-token2", (401, "token_wrong")),
        (b"Bearer ", (401, "token_wrong")),
        (b"Bearer \xff", (401, "token_wrong")),
        (b"Basic s3cret-token", (401, "token_missing")),
        (b"s3cret-token", (401, "token_missing")),
        (b"", (401, "token_missing")),
        (None, (401, "token_missing")),
    ],
)
def test_tokens(value, refused):
    """Only the whole token will do; a write needs it under any name."""
    guard = Guard(Admin(token=TOKEN), open_reads=True)
    headers = host("localhost", *([(b"authorization", value)] if value is not None else []))
    assert refusal(guard.may_write, headers) == refused


def test_two_tokens_are_none():
    """Which of two headers counts would depend on who reads it."""
    guard = Guard(Admin(token=TOKEN), open_reads=True)
    assert refusal(guard.may_write, host("localhost", AUTHORIZED, AUTHORIZED)) == (401, "token_missing")


@pytest.mark.parametrize("token", [None, "", "  "])
def test_without_a_token_nothing_can_be_written(token):
    """And no header changes that."""
    guard = Guard(Admin(token=token), open_reads=True)
    for headers in (host("localhost"), host("localhost", (b"authorization", b"Bearer "))):
        assert refusal(guard.may_write, headers) == (403, "no_token_configured")


def test_reads():
    """Open under a loopback name on a loopback address; else they need the token, too."""
    local, elsewhere = Guard(Admin(token=TOKEN), open_reads=True), Guard(Admin(token=TOKEN), open_reads=False)
    assert refusal(local.may_read, host("localhost:9465")) is None
    assert refusal(local.may_read, host("ops.example.com")) == (401, "token_missing")
    assert refusal(local.may_read, host("ops.example.com", AUTHORIZED)) is None
    assert refusal(elsewhere.may_read, host("localhost")) == (401, "token_missing")
    assert refusal(elsewhere.may_read, host("localhost", AUTHORIZED)) is None
    assert refusal(Guard(Admin(), open_reads=False).may_read, host("localhost")) == (403, "no_token_configured")


def test_loopback():
    """What always means this machine."""
    assert [
        name
        for name in ("localhost", "127.0.0.1", "127.1.1.1", "::1", "0.0.0.0", "::", "10.0.0.1", "box")
        if is_loopback(name)
    ] == [
        "localhost",
        "127.0.0.1",
        "127.1.1.1",
        "::1",
    ]


async def test_refused_writes_are_on_record(engine, recorder):
    """Each attempt is one log record with what was asked and why it was refused, and never the token."""
    app = admin_app(Operator(None, engine), Admin(token=TOKEN), open_reads=True, prefix="/admin")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:9465") as http:
        where, good = "/admin/tools/search/disable", {"Authorization": f"Bearer {TOKEN}"}
        answers = [
            await http.post(where, json=ORDER),
            await http.post(where, json=ORDER, headers={"Authorization": "Bearer guess"}),
            await http.post(where, json=ORDER, headers=good | {"Host": "evil.example.com"}),
            await http.post(where, json=ORDER, headers=good | {"Origin": "http://evil.example.com"}),
            await http.post(f"{where}?kind=client", json={}, headers=good),
            await http.post("/admin/nothing", json={}, headers=good),
            await http.delete(where, headers=good),
            await http.get("/admin/tools", headers={"Origin": "null"}),
        ]
    assert [answer.status_code for answer in answers] == [401, 401, 403, 403, 422, 404, 405, 403]
    assert answers[0].headers["www-authenticate"] == 'Bearer realm="otel-tools"'
    assert answers[1].headers["www-authenticate"] == 'Bearer realm="otel-tools", error="invalid_token"'
    assert answers[0].json() == problem(401, "token_missing", "Send the token as `Authorization: Bearer TOKEN`.")
    assert recorder.logs == [
        refused("disable", "token_missing", "search"),
        refused("disable", "token_wrong", "search"),
        refused("disable", "host_not_allowed", "search"),
        refused("disable", "origin_not_allowed", "search"),
        refused("disable", "invalid", "client:search"),
        refused("unknown", "not_found"),
        refused("disable", "method_not_allowed", "search"),
    ]
    assert engine.tools.views() == []


def refused(word, why, target=None):
    attributes = {"otel_tools.control.action": word, "otel_tools.control.refused": why}
    return {
        "event": "otel_tools.control",
        "severity": "WARN",
        "body": f"refused: {word} by way of the admin server ({why})",
        "attributes": attributes | ({"otel_tools.control.target": target} if target else {}),
    }


async def test_without_a_token_the_answer_says_what_to_set(engine):
    """403, and what to do, before anything else is looked at."""
    app = admin_app(Operator(None, engine), Admin(), open_reads=True, prefix="/admin")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:9465") as http:
        answer = await http.post("/admin/tools/search/disable", content=b"nonsense")
    assert answer.json() == problem(
        403,
        "no_token_configured",
        "No token is configured, so nothing can be changed here: start the program with OTEL_TOOLS_ADMIN_TOKEN set, "
        "and send its value as a bearer token.",
    )
