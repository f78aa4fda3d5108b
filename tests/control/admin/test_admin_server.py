"""The admin server of a program: only where configured, one port for many processes, never in the program's way."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

import otel_tools
from otel_tools.control import admin, plane
from otel_tools.control.admin import connections
from otel_tools.control.admin import server as server_module
from otel_tools.control.admin.server import AdminServer
from otel_tools.control.file import FileStore
from otel_tools.control.operator import Operator
from otel_tools.engine import active
from otel_tools.settings import Admin
from tests.control.admin.reports import SECOND, Told

TOKEN = "s3cret-token"


@pytest.fixture
def taken():
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(server_module, "RETRY_SECONDS", 0.05)


def served(**settings):
    server = AdminServer(Told(SECOND), Admin(**{"port": 0, "token": TOKEN} | settings))
    server.start()
    return server


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("otel-tools-admin")]


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.01)


def run(program, *arguments, timeout=30):
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=timeout
    )


def test_it_serves_until_it_is_stopped(caplog):
    """The page and the API over HTTP; afterwards the port is free and the thread gone."""
    caplog.set_level(logging.INFO, "otel_tools")
    server = served()
    assert server.listening.wait(10)
    url = server.url
    assert httpx.get(url).headers["content-type"] == "text/html; charset=utf-8"
    assert [row["name"] for row in httpx.get(f"{url}/circuits").json()["circuits"]] == ["search"]
    assert httpx.get(f"{url}/circuits", headers={"Host": "evil.example.com"}).status_code == 403
    assert caplog.messages == [f"otel-tools shows circuits, tools and sessions at {url}"]
    server.stop()
    assert (server.url, threads()) == (None, [])
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_without_a_token_it_says_that_it_only_reads(caplog):
    """The log tells why buttons will not work."""
    caplog.set_level(logging.INFO, "otel_tools")
    server = served(token=None)
    assert server.listening.wait(10)
    url = server.url
    server.stop()
    assert caplog.messages == [
        f"otel-tools shows circuits, tools and sessions at {url}; read-only, as OTEL_TOOLS_ADMIN_TOKEN is not set"
    ]


def test_elsewhere_than_on_loopback_reads_need_the_token():
    """A server that others can reach shows nothing to whoever has no token, whatever name they use."""
    server = served(host="0.0.0.0")
    assert server.listening.wait(10)
    url = server.url.replace("0.0.0.0", "127.0.0.1")
    assert httpx.get(f"{url}/tools").status_code == 401
    assert httpx.get(f"{url}/tools", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    server.stop()


def test_ipv6():
    """The loopback address of the other family."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    server = served(host="::1")
    assert server.listening.wait(10)
    assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
    server.stop()


def test_a_port_in_use_is_told_once_and_taken_when_free(taken, caplog):
    """The program goes on; the message names the port and what to do; once its holder ends, this one serves."""
    port = taken.getsockname()[1]
    server = served(port=port)
    wait_for(lambda: caplog.messages)
    assert not server.listening.wait(0.2)  # four more tries
    (message,) = caplog.messages
    assert message == (
        f"otel-tools has no admin page at 127.0.0.1:{port}, the port is in use. If another process of this service "
        "has it, its page shows this one, too, and this one takes over when it ends. Otherwise set admin.port, or "
        "OTEL_TOOLS_ADMIN, to a free port."
    )
    taken.close()
    assert server.listening.wait(10)
    assert httpx.get(f"http://127.0.0.1:{port}/admin/healthz").json() == {"status": "ok"}
    server.stop()


def test_an_address_that_is_not_ours(caplog):
    """Likewise one message, with what the system says."""
    server = served(host="192.0.2.1", port=9465)
    wait_for(lambda: caplog.messages)
    server.stop()
    (message,) = caplog.messages
    assert message == (
        "otel-tools has no admin page: it cannot listen on 192.0.2.1:9465 (Cannot assign requested address). "
        "Set admin.host and admin.port to an address of this machine and a port that the program may use."
    )
    assert threads() == []


def test_the_programs_own_uvicorn_keeps_its_logs():
    """A program that itself runs under uvicorn keeps its loggers as they are, and gets no lines about ours."""
    access = logging.getLogger("uvicorn.access")
    handler = logging.Handler()
    seen = []
    handler.emit = seen.append
    access.addHandler(handler)
    try:
        before = (access.level, access.propagate, list(access.handlers), logging.getLogger("uvicorn.error").level)
        server = served()
        assert server.listening.wait(10)
        httpx.get(f"{server.url}/healthz")
        server.stop()
        after = (access.level, access.propagate, list(access.handlers), logging.getLogger("uvicorn.error").level)
    finally:
        access.removeHandler(handler)
    assert (after, seen) == (before, [])


# --- in a program ---------------------------------------------------------------------------------------------------
def test_it_is_there_where_configured(recorder, tmp_path):
    """`admin:` serves the engine at work with its store; uninstrumenting ends it."""
    recorder.instrument(
        mode="enforce", admin={"port": 0}, control={"store": str(tmp_path / "control"), "service": "agent"}
    )

    @otel_tools.tool("search")
    def search():
        return "found"

    search()
    (server,) = [one for one in plane._running if isinstance(one, AdminServer)]
    assert server.listening.wait(10)
    found = httpx.get(f"{server.url}/tools").json()
    assert found["overrides"]["store"] == str(tmp_path / "control" / "agent" / "overrides.json")
    assert [(row["name"], row["calls"]) for row in found["tools"]] == [("search", {"ok": 1})]
    assert len(found["processes"]) == 1
    recorder.uninstrument()
    assert threads() == []


def test_all_processes_are_on_one_page(recorder, tmp_path):
    """What another process has told the store stands beside what this one knows."""
    recorder.instrument(
        mode="enforce", admin={"port": 0}, control={"store": str(tmp_path / "control"), "service": "agent"}
    )
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        alive = SECOND.process.__class__(**{**vars_of(SECOND.process), "host": socket.gethostname(), "pid": other.pid})
        report = SECOND.__class__(process=alive, at=time.time(), circuits=SECOND.circuits)
        FileStore(tmp_path / "control", "agent").publish(report)
        (server,) = [one for one in plane._running if isinstance(one, AdminServer)]
        assert server.listening.wait(10)
        found = httpx.get(f"{server.url}/circuits").json()
    finally:
        other.communicate(b"\n")
        recorder.uninstrument()
    assert {one["id"] for one in found["processes"]} > {"box-2"}
    assert [(row["name"], row["state"], list(row["processes"])) for row in found["circuits"]] == [
        ("search", "open", ["box-2"])
    ]


def vars_of(value):
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


NOT_CONFIGURED = """
import sys, threading, otel_tools, otel_tools.control.admin
otel_tools.instrument()
print(sorted({"starlette", "uvicorn"} & set(sys.modules)), [thread.name for thread in threading.enumerate()])
"""


def test_it_is_not_there_where_not_configured():
    """No thread, and neither starlette nor uvicorn is imported."""
    done = run(NOT_CONFIGURED)
    assert (done.stdout, done.stderr) == ("[] ['MainThread']\n", "")


NO_EXTRA = """
import sys
sys.modules["uvicorn"] = sys.modules["starlette"] = None
import logging, otel_tools
logging.basicConfig(format="%(message)s")
otel_tools.instrument(settings={"admin": {"port": 0}})
print("goes on")
from otel_tools.control import admin
try:
    admin.app()
except ModuleNotFoundError as error:
    print(error)
"""


def test_a_missing_extra_is_told():
    """One message that says what to install; the program goes on, `app` raises the same."""
    done = run(NO_EXTRA)
    hint = "the admin server needs starlette and uvicorn: pip install 'otel-tools[admin]'"
    assert (done.stdout, done.stderr) == (f"goes on\n{hint}\n", f"otel-tools goes on without its admin page: {hint}\n")


HANGS = """
import http.client, threading
from otel_tools.control.admin.server import AdminServer
from otel_tools.control.operator import Operator
from otel_tools.settings import Admin

reading = threading.Event()

class Hung(Operator):
    def reports(self):
        reading.set()
        threading.Event().wait()

server = AdminServer(Hung(None, None), Admin(port=0))
server.start()
server.listening.wait(10)
http_ = http.client.HTTPConnection("127.0.0.1", int(server.url.rsplit(":", 1)[1].removesuffix("/admin")))
http_.request("GET", "/admin/tools")
print(reading.wait(10))
"""


def test_the_end_of_the_program_is_not_delayed():
    """Neither by the server's thread nor by a read of a store that hangs."""
    done = run(HANGS)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


FORKS = """
import json, os, sys, time, urllib.request
from otel_tools.control.admin import server as module
from otel_tools.control.admin.server import AdminServer
from otel_tools.control.operator import Operator
from otel_tools.settings import Admin

module.RETRY_SECONDS = 0.05

class Mine(Operator):
    def reports(self):
        raise StoreError(str(os.getpid()))

from otel_tools.errors import StoreError
server = AdminServer(Mine(None, None), Admin(port=0))
server.start()
server.listening.wait(10)
port = int(server.url.rsplit(":", 1)[1].removesuffix("/admin"))
object.__setattr__(server._settings, "port", port)

def answers():
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/admin/tools", timeout=5)
    except urllib.error.HTTPError as error:
        return int(json.load(error)["detail"].strip("."))
    except OSError:
        return None

assert answers() == os.getpid()
child = os.fork()
if child == 0:
    while os.getppid() != 1 and sys.stdin.readline():
        pass
    deadline = time.monotonic() + 15
    while answers() != os.getpid() and time.monotonic() < deadline:
        time.sleep(0.02)
    print("child", answers() == os.getpid(), flush=True)
    os._exit(0)
print("parent", {answers() for _ in range(20)} == {os.getpid()}, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_does_not_serve_with_its_parents_socket():
    """The parent answers while it lives; after its end the port is free, and the child takes it."""
    done = run(FORKS)
    assert (done.stdout, done.stderr) == ("parent True\nchild True\n", "")


GREEN = """
from gevent import monkey
monkey.patch_all()
import asyncio, logging, threading
logging.basicConfig(format="%(levelname)s %(message)s")
import otel_tools
otel_tools.instrument(settings={"admin": {"port": 0}, "control": {"store": False}})

async def own():
    return [thread.name for thread in threading.enumerate()]

print(asyncio.run(own()))
"""


@pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="gevent is not installed")
def test_under_gevent_there_is_none():
    """It would run in the program's own thread, whose event loop it would take; the program is told."""
    done = run(GREEN)
    told = [line for line in done.stderr.splitlines() if line.startswith("WARNING otel-tools")]
    assert (done.stdout, done.returncode) == ("['MainThread']\n", 0)
    assert told == [
        (
            "WARNING otel-tools goes on without its admin page: gevent has replaced threads, and its event loop would "
            "be in the way of the program's own; use the `otel-tools` command, or the page of another process of this "
            "service"
        )
    ]


# --- connections ----------------------------------------------------------------------------------------------------
def closed(connection: socket.socket) -> bool:
    """Whether the server has closed it, without an answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_connections_take_few_of_the_programs_descriptors(monkeypatch):
    """So many at a time and no more, whoever asks; those that ask nothing make room."""
    monkeypatch.setattr(connections, "MOST", 3)
    server = served()
    assert server.listening.wait(10)
    address = ("127.0.0.1", int(server.url.split(":")[2].removesuffix("/admin")))
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(address, timeout=10)) for _ in range(3)]
        wait_for(lambda: len(server._server.server_state.connections) == 3)
        assert closed(stack.enter_context(socket.create_connection(address, timeout=10)))
        idle.pop().close()
        wait_for(lambda: len(server._server.server_state.connections) == 2)
        assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
    server.stop()


@pytest.mark.parametrize(
    "sent", [b"", b"GET /admin/tools HTTP/1.1\r\nHost: loc", b"POST /x HTTP/1.1\r\nHost: localhost\r\n"]
)
def test_a_request_that_does_not_come_is_not_waited_for(sent, monkeypatch):
    """Neither the first byte nor the last."""
    monkeypatch.setattr(connections, "SECONDS", 0.05)
    server = served()
    assert server.listening.wait(10)
    address = ("127.0.0.1", int(server.url.split(":")[2].removesuffix("/admin")))
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(sent)
        assert closed(connection)
    server.stop()


def test_requests_are_not_in_the_programs_log(caplog):
    """The page asks every few seconds."""
    caplog.set_level(logging.INFO)
    server = served()
    assert server.listening.wait(10)
    assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
    server.stop()
    assert [record.getMessage() for record in caplog.records if record.name == "uvicorn.access"] == []


# --- in the program's own server ------------------------------------------------------------------------------------
async def test_the_app_to_mount(recorder, monkeypatch):
    """It follows the engine at work, takes token and hosts from settings and code, and reads need the token."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    monkeypatch.setenv("OTEL_TOOLS_ADMIN_TOKEN", TOKEN)
    app = Starlette(routes=[Mount("/admin", admin.app(hosts=["agent.example.com"]))])
    recorder.instrument(mode="enforce")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://agent.example.com") as http:
        assert (await http.get("/admin/tools")).status_code == 401
        http.headers["Authorization"] = f"Bearer {TOKEN}"
        done = await http.post("/admin/tools/search/disable", json={"reason": "INC-42"})
        assert done.json()["reaches"] == "process"
        assert (await http.get("/admin/tools")).json()["tools"][0]["disabled"]["reason"] == "INC-42"
        assert active().tools.get("search").view().disabled is not None
        otel_tools.uninstrument()
        assert json.loads((await http.get("/admin/tools")).content)["tools"] == []
    recorder.uninstrument()


@pytest.mark.parametrize("path", ["/internal/admin", "/pre/internal/admin"])
async def test_the_app_behind_a_proxy_that_takes_a_prefix_off(path, recorder):
    """With `FastAPI(root_path="/pre")` the path comes without it, with `uvicorn --root-path /pre` with it."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    recorder.instrument(mode="enforce")
    mounted = Starlette(routes=[Mount("/internal/admin", admin.app(token=TOKEN))])
    transport = httpx.ASGITransport(mounted, root_path="/pre")
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        found = await http.get(f"{path}/tools", headers={"Authorization": f"Bearer {TOKEN}"})
        openapi = await http.get(f"{path}/openapi.json")
    assert (found.status_code, openapi.json()["servers"]) == (200, [{"url": "/pre/internal/admin"}])
    recorder.uninstrument()


async def test_a_token_given_in_code_goes_before(monkeypatch):
    """Code > environment."""
    monkeypatch.setenv("OTEL_TOOLS_ADMIN_TOKEN", "of-the-environment")
    transport = httpx.ASGITransport(admin.app(token="of-the-code"))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        given = [
            (await http.get("/tools", headers={"Authorization": f"Bearer {token}"})).status_code
            for token in ("of-the-environment", "of-the-code")
        ]
    assert given == [401, 200]


def test_an_operator_alone_is_enough():
    """A program may build its own: this process's engine, no store."""
    server = AdminServer(Operator(None, None), Admin(port=0))
    server.start()
    assert server.listening.wait(10)
    assert httpx.get(f"{server.url}/tools").json()["tools"] == []
    server.stop()
