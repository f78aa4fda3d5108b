"""Overrides and reports in a real Redis: nothing lost, nothing waited for, no password shown."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
import traceback

import pytest

from otel_tools.control import redis as redis_store
from otel_tools.control.directives import Change, Directive, Document
from otel_tools.control.redis import RedisStore
from otel_tools.control.redis_server import RedisServer
from otel_tools.control.report import Report, this_process
from otel_tools.control.store import Store
from otel_tools.errors import StoreError
from otel_tools.policy.circuit import Action
from tests.control.redis_server import Server, eventually, free_port, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

NOW = 1_700_000_000.0


@pytest.fixture(scope="module")
def server():
    with Server().running() as server:
        yield server


@pytest.fixture
def store(server, request):
    store = RedisStore(server.url, request.node.name)
    yield store
    store.close()


def directive(name: str = "search", **changes) -> Directive:
    return Directive(
        **{
            "kind": "tool",
            "name": name,
            "action": Action.DISABLE,
            "reason": "it is down",
            "actor": "ann",
            "set_at": time.time(),
            **changes,
        }
    )


def setting(one: Directive):
    return lambda document: document.with_directive(one)


# --- overrides ------------------------------------------------------------------------------------------------------
def test_is_a_store(store):
    """What the rest of the control plane asks of a store, type by type."""
    typed: Store = store
    assert typed.label.startswith("redis://127.0.0.1:")


def test_overrides_are_seen_by_all(server, store):
    """What one process sets another one reads, as it was: also what has expired, resets and the record of changes."""
    assert store.read() == Document()
    document = Document(
        (directive(), directive("pay", expires_at=NOW), directive("x", kind="client", action=Action.BYPASS)),
        {("tool", "search"): NOW},
        (Change(kind="tool", name="search", word="reset", actor="ann", at=NOW),),
    )
    assert store.change(lambda _: document) == document
    other = RedisStore(server.url, store._prefix.split("{")[1].split("}")[0])
    assert other.read() == document
    assert RedisStore(server.url, "another").read() == Document()


def test_concurrent_changes_lose_nothing(server):
    """Eight writers with a connection each set ten overrides each, all at once."""
    start = threading.Barrier(8)

    def write(writer: int) -> None:
        store = RedisStore(server.url, "writers")
        start.wait()
        for number in range(10):
            store.change(setting(directive(f"{writer}.{number}")))
        store.close()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {one.name for one in RedisStore(server.url, "writers").read().directives}
    assert names == {f"{writer}.{number}" for writer in range(8) for number in range(10)}


def test_a_change_that_fails_changes_nothing(store):
    """What the change raises reaches the caller, and the store is as it was."""
    before = store.change(setting(directive()))
    with pytest.raises(ZeroDivisionError):
        store.change(lambda _: 1 / 0)
    assert store.read() == before


def test_times_are_the_servers(server, monkeypatch):
    """An override set by a machine whose clock is an hour ahead expires at the same moment on this one."""
    real = time.time
    ahead = RedisStore(server.url, "clocks")
    with monkeypatch.context() as there:
        there.setattr(redis_store.time, "time", lambda: real() + 3600)
        set_there = ahead.change(
            lambda document: document.with_directive(
                directive(set_at=real() + 3600, expires_at=real() + 3600 + 60)
            ).with_reset(("tool", "pay"), real() + 3600)
        )
        assert ahead.read() == set_there  # to the last bit, or a reset would seem to be another one
    here = RedisStore(server.url, "clocks").read()
    assert here.directives[0].expires_at == pytest.approx(real() + 60, abs=5)
    assert here.resets[("tool", "pay")] == pytest.approx(real(), abs=5)
    assert set_there.directives[0].expires_at == pytest.approx(real() + 3660, abs=5)


def test_what_is_not_ours_is_not_overwritten(server, store):
    """Something else at our key: an error that names it, and no change."""
    client = RedisServer(server.url)
    for raw, complaint in (
        ("not json", f"{store.label} has something else at {store.key('overrides')}: delete it"),
        ('{"version": 99}', f"{store.label} is of version 99 and this otel-tools reads 1: use the same release"),
    ):
        client.run("SET", store.key("overrides"), raw)
        with pytest.raises(StoreError, match=f"^{complaint}".replace("{", "\\{").replace("}", "\\}")):
            store.change(setting(directive()))
        assert client.run("GET", store.key("overrides")) == raw.encode()


# --- reports --------------------------------------------------------------------------------------------------------
def report(pid: int) -> Report:
    process = this_process("shop")
    return Report(
        process=type(process)(
            id=f"host-{pid}", host="host", pid=pid, service="shop", program="app", started_at=process.started_at
        ),
        at=NOW + pid,
    )


def test_reports_of_live_processes(store):
    """Each process has one report, the last one, until it withdraws it."""
    assert store.reports() == []
    store.publish(report(2))
    store.publish(report(1))
    store.publish(report(1))
    assert store.reports() == [report(1), report(2)]
    store.withdraw("host-1")
    store.withdraw("host-1")
    assert store.reports() == [report(2)]


def test_a_dead_process_vanishes(server):
    """A process that is not heard of any more is gone after its lifetime, and leaves nothing in the server."""
    store = RedisStore(server.url, "dying", lifetime=0.05)
    lasting = RedisStore(server.url, "dying")
    lasting.publish(report(1))
    store.publish(report(2))
    eventually(lambda: lasting.reports() == [report(1)])
    lasting.withdraw("host-1")
    assert RedisServer(server.url).run("KEYS", "otel-tools:{dying}:*") == []
    store.publish(report(2))
    eventually(lambda: RedisServer(server.url).run("KEYS", "otel-tools:{dying}:*") == [])


def test_reports_of_another_release_are_left_out(server, store):
    """What this release cannot read is no report."""
    store.publish(report(1))
    client = RedisServer(server.url)
    for process, raw in (("new", '{"version": 99}'), ("odd", "not json")):
        client.run("SADD", store.key("processes"), process)
        client.run("SET", store.key(f"report:{process}"), raw)
    assert store.reports() == [report(1)]


# --- trouble --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("redis://", "redis://localhost"),
        ("redis://:secret@h/", "redis://h"),
        ("redis://user:se%2Fcret@h:1/2?socket_timeout=1", "redis://h:1/2"),
        ("rediss://[::1]:6380/2?password=secret", "rediss://[::1]:6380/2"),
        ("unix://user:secret@/run/redis.sock?db=1", "unix:///run/redis.sock"),
    ],
)
def test_label_has_no_secret(url, label):
    """People see where the store is, never the password."""
    assert RedisStore(url, "shop").label == label


@pytest.mark.parametrize(
    "url",
    [
        "redis://:se/cret@host",
        "redis://:12/34@host:6379/0",
        "redis://:se#cret@host",
        "redis://:se?cret@host",
        "redis://user:secret@h:99999",
        "redis://user:secret@h?no_such_option=secret",
        "http://secret@h",
        "secret",
    ],
)
def test_wrong_url(url):
    """One message with what to write instead; not one character of what may be the password, anywhere."""
    with pytest.raises(StoreError, match=r"write redis://\[user:password@\]host\[:port\]\[/database\]") as caught:
        RedisStore(url, "shop")
    shown = "".join(traceback.format_exception_only(caught.value)) + str(caught.value.__cause__)
    assert "cret" not in shown
    assert "34" not in shown


def test_missing_library(monkeypatch):
    """Without redis-py the message says what to install."""
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(StoreError, match=r"^redis://h needs redis-py: pip install 'otel-tools\[redis\]'$"):
        RedisStore("redis://:secret@h", "shop")


def test_nobody_there():
    """No server: the message says so, and withdrawing at the end does not raise."""
    store = RedisStore(f"redis://:secret@127.0.0.1:{free_port()}/0", "shop")
    for use in (store.read, store.reports, lambda: store.publish(report(1)), lambda: store.change(lambda one: one)):
        with pytest.raises(StoreError, match=r"^redis://127\.0\.0\.1:\d+/0 cannot be reached: is it running, and"):
            use()
    store.withdraw("host-1")
    store.close()


def test_wrong_host_name():
    """A name that cannot be one is no other kind of error."""
    with pytest.raises(StoreError, match=r"^redis://a\.\.b cannot be reached"):
        RedisStore("redis://a..b", "shop").read()


def test_password():
    """The right password works; a wrong one, or none, is named as the trouble and not shown."""
    with Server("--requirepass", "right-secret").running() as server:
        RedisStore(server.url.replace("://", "://:right-secret@"), "shop").change(setting(directive()))
        for url in (server.url, server.url.replace("://", "://:wrong-secret@")):
            with pytest.raises(StoreError) as caught:
                RedisStore(url, "shop").read()
            label = server.url
            assert str(caught.value) == f"{label} refused the password: check user and password in the URL"
            assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_refused_command():
    """A server that allows too little: the message says what is needed."""
    with Server("--user", "default", "on", "nopass", "~*", "+@all", "-eval").running() as server:
        with pytest.raises(StoreError, match=r"must be a primary and allow EVAL and all commands on otel-tools:\*"):
            RedisStore(server.url, "shop").read()


def test_hung_server_and_back():
    """A server that answers nothing is given up; the next commands fail at once, and work when it is back."""
    with Server().running() as server:
        store = RedisStore(server.url, "shop")
        document = store.change(setting(directive()))
        server.hang()
        with pytest.raises(StoreError, match=r"did not answer within 0\.5 s: is it overloaded, stopped, or behind"):
            store.read()
        store.withdraw("nobody waits for this")
        server.resume()
        eventually(lambda: _works(store))
        assert store.read() == document


def test_killed_server_and_back():
    """A server that is killed and started anew, empty, is found again; what operators set is given back to it."""
    with Server().running() as server:
        store, late = RedisStore(server.url, "shop"), RedisStore(server.url, "shop")
        document = store.change(setting(directive()))
        assert store.read() == document
        server.kill()
        assert not _works(store)
        server.start()
        assert late.read() == Document()
        assert store.read() == document
        assert late.read() == document


def test_what_was_set_since_is_not_undone():
    """Nothing is given back to a server that has something."""
    with Server().running() as server:
        store = RedisStore(server.url, "shop")
        store.change(setting(directive()))
        store.read()
        server.kill()
        server.start()
        newer = RedisStore(server.url, "shop").change(setting(directive("pay")))
        assert store.read() == newer


def test_restart_between_commands_goes_unnoticed():
    """A connection that the server has closed in the meantime is opened again, without an error."""
    with Server().running() as server:
        store = RedisStore(server.url, "shop")
        assert store.read() == Document()
        server.kill()
        server.start()
        assert store.read() == Document()


def _works(store: RedisStore) -> bool:
    with contextlib.suppress(StoreError):
        store.read()
        return True
    return False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_forked_child_has_its_own_connection(server):
    """Parent and child work at the same time, each over its own connection."""
    client = RedisServer(server.url)
    parents = client.run("CLIENT", "ID")
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.write(writes, str(client.run("CLIENT", "ID")).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        childs = int(pipe.read())
    assert childs != parents
    assert client.run("CLIENT", "ID") == parents


# --- clusters -------------------------------------------------------------------------------------------------------
def _cluster_node(directory) -> Server:
    name = f"{socket.gethostname()}-{free_port()}.conf"
    options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-config-file", name]
    return Server(*options, "--dir", str(directory))


def test_cluster(tmp_path):
    """All keys of a service are in one slot, and a node that does not have it sends us to the one that does."""
    with _cluster_node(tmp_path).running() as asked, _cluster_node(tmp_path).running() as owner:
        first, second = RedisServer(asked.url), RedisServer(owner.url)
        second.run("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        second.run("CONFIG", "SET", "cluster-require-full-coverage", "no")
        port = owner.option("--cluster-port")
        first.run("CLUSTER", "MEET", "127.0.0.1", owner.port, port)
        eventually(lambda: b"cluster_state:ok" in first.run("CLUSTER", "INFO"))
        eventually(lambda: b"cluster_state:ok" in second.run("CLUSTER", "INFO"))
        store = RedisStore(asked.url, "shop")
        document = store.change(setting(directive()))
        store.publish(report(1))
        assert (store.read(), store.reports()) == (document, [report(1)])
        assert RedisStore(owner.url, "shop").read() == document
        owner.kill()
        assert not _works(store)
