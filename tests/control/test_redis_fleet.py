"""Several processes and a real Redis: overrides and open circuits arrive, and a server that is away changes nothing."""

from __future__ import annotations

import threading

import pytest

from otel_tools.control.controller import Controller
from otel_tools.control.operator import Operator
from otel_tools.control.redis import RedisStore
from otel_tools.control.redis_server import RedisServer
from otel_tools.control.redis_votes import RedisVotes
from otel_tools.control.sharing import RECOVERED, Vote
from otel_tools.policy import Attempt, CircuitState, Outcome, Refusal, Verdict
from otel_tools.policy.circuit import Action
from otel_tools.settings import Control
from tests.control.fleet import TOOL, Clock, Replica, engine
from tests.control.redis_server import LIMIT, Server, eventually, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

TARGET = ("tool", TOOL)
CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


@pytest.fixture(scope="module")
def server():
    with Server().running() as server:
        yield server


@pytest.fixture
def service(request):
    return request.node.name


def controller(url: str, service: str, clock: Clock | None = None, **control) -> Controller:
    """What looks after one process, driven by hand."""
    settings = Control(store=url, service=service, **control)
    return Controller(engine(clock, control=settings), RedisStore(url, service), service)


def admits(controller: Controller) -> Attempt | Refusal:
    return controller._engine.tool_pipeline(TOOL).admit()


def bounded(work) -> None:
    """Do *work* in a thread of its own; it must come back."""
    thread = threading.Thread(target=work, name="caller")
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive()


# --- overrides ------------------------------------------------------------------------------------------------------
def test_replicas_see_overrides_within_a_tick(server, service):
    """What the command disables through the store is refused by every replica after one look, and lifted likewise."""
    replicas = [controller(server.url, service) for _ in range(2)]
    command = Operator(RedisStore(server.url, service), None)
    command.set("tool", TOOL, Action.DISABLE, reason="it is down", actor="ann", expires_after=600)
    for replica in replicas:
        replica.tick()
        refusal = admits(replica)
        assert isinstance(refusal, Refusal)
        assert (refusal.outcome, refusal.detail) == (Outcome.DISABLED, "it is down")
    command.lift("tool", TOOL, Action.DISABLE, actor="ann")
    for replica in replicas:
        replica.tick()
        assert isinstance(admits(replica), Attempt)
    (report,) = command.reports()  # both are one process, which reports in one place
    assert [tool.name for tool in report.tools] == [TOOL]


def test_override_expires_by_itself(server, service):
    """An override with an expiry is lifted in the process when its time is over, without a further look."""
    clock = Clock()
    replica = controller(server.url, service, clock)
    Operator(RedisStore(server.url, service), None).set(
        "tool", TOOL, Action.DISABLE, reason="it is down", actor="ann", expires_after=600
    )
    replica.tick()
    assert isinstance(admits(replica), Refusal)
    clock.now += 600
    assert isinstance(admits(replica), Attempt)


@pytest.mark.parametrize("how", ["kill", "hang"])
def test_server_is_away(how, caplog):
    """Redis killed or hung in the middle: looks come back, what was set stays, calls go on; then all is as before."""
    with Server().running() as server:
        replica = controller(server.url, "shop", share_circuits=True)
        command = Operator(RedisStore(server.url, "shop"), None)
        command.set("tool", "pay", Action.DISABLE, reason="it is down", actor="ann")
        replica.tick()
        getattr(server, how)()
        bounded(replica.tick)
        bounded(replica.tick)
        assert isinstance(admits(replica), Attempt)
        assert isinstance(replica._engine.tool_pipeline("pay").admit(), Refusal)
        assert "read" in replica._troubles
        (server.start if how == "kill" else server.resume)()

        def recovered() -> bool:
            replica.tick()
            return not replica._troubles

        eventually(recovered)
        assert isinstance(replica._engine.tool_pipeline("pay").admit(), Refusal)
        command.set("tool", TOOL, Action.DISABLE, reason="it is down", actor="ann")
        replica.tick()
        assert isinstance(admits(replica), Refusal)
    said = [record.message for record in caplog.records if " read its store" in record.message]
    assert [line.partition(" store")[0] for line in said] == ["otel-tools cannot read its", "otel-tools can read its"]


def test_a_call_makes_no_command(server, service, otel, monkeypatch):
    """Calls of tools read memory only: no command of theirs reaches the server."""
    import otel_tools

    used = []
    run = RedisServer.run
    monkeypatch.setattr(
        RedisServer, "run", lambda self, *words: used.append(threading.current_thread().name) or run(self, *words)
    )
    otel.instrument(mode="enforce", control={"store": server.url, "service": service, "share_circuits": True})

    @otel_tools.tool
    def search() -> str:
        return "found"

    bounded(lambda: [search() for _ in range(50)])
    eventually(lambda: "otel-tools-control" in used)
    bounded(lambda: [search() for _ in range(50)])
    otel.uninstrument()
    assert set(used) == {"otel-tools-control"}
    assert len(otel.spans) == 100


def test_calls_go_on_while_the_server_hangs(otel):
    """A server that answers nothing, from the first call on: calls are as they always are."""
    import otel_tools

    with Server().running() as server:
        server.hang()
        otel.instrument(mode="enforce", control={"store": server.url, "share_circuits": True})

        @otel_tools.tool
        def search() -> str:
            return "found"

        bounded(lambda: [search() for _ in range(20)])
        otel.uninstrument()
    assert [span["attributes"]["gen_ai.tool.name"] for span in otel.spans] == [TOOL] * 20


# --- open circuits --------------------------------------------------------------------------------------------------
def test_votes(server, service):
    """A vote counts until its time is over or it is withdrawn; the seconds that are left come back."""
    votes = RedisVotes(RedisStore(server.url, service))
    mine, other = Vote(TARGET, "a", 1), Vote(TARGET, "b:1", 7)
    left = votes.exchange({mine: 60.0, other: 30.0}, ())
    assert left == {mine: pytest.approx(60.0, abs=5), other: pytest.approx(30.0, abs=5)}
    assert 0 < RedisServer(server.url).run("PTTL", f"otel-tools:{{{service}}}:open") <= 60_000  # nothing stays behind
    assert votes.exchange({}, [mine._replace(opening=2)]).keys() == {mine, other}  # another opening than was withdrawn
    assert votes.exchange({}, [mine]).keys() == {other}
    brief = Vote(("client", 'ünï "code"'), "c", 1)
    assert brief in votes.exchange({brief: 0.2}, ())
    eventually(lambda: votes.exchange({}, ()).keys() == {other})
    votes.exchange({}, [other])
    assert RedisServer(server.url).run("KEYS", f"otel-tools:{{{service}}}:*") == []


def test_probe_is_lent_once(server, service):
    """The lease has one holder; only that one, in that opening, can say that the probe succeeded."""
    votes = RedisVotes(RedisStore(server.url, service))
    mine, other = Vote(TARGET, "a", 1), Vote(TARGET, "b", 1)
    votes.exchange({mine: 60.0, other: 60.0}, ())
    assert votes.lease(mine, 60.0).mine
    assert votes.lease(mine, 60.0).mine
    refused = votes.lease(other, 60.0)
    assert (refused.mine, 0 < refused.left <= 60) == (False, True)
    assert not votes.recover(other, [mine, other], 60.0)
    assert not votes.recover(mine._replace(opening=2), [mine, other], 60.0)
    assert votes.exchange({}, ()).keys() == {mine, other}
    assert votes.recover(mine, [other], 60.0)
    assert votes.exchange({}, ()).keys() == {mine}
    assert votes.lease(other, 60.0) is RECOVERED


def test_lease_ends_by_itself(server, service):
    """A probe that is not heard of makes room for the next one, and has no say any more; so does a recovery."""
    votes = RedisVotes(RedisStore(server.url, service))
    mine, other = Vote(TARGET, "a", 1), Vote(TARGET, "b", 1)
    votes.exchange({mine: 60.0}, ())
    votes.lease(mine, 0.05)
    eventually(lambda: votes.lease(other, 60.0).mine)
    assert not votes.recover(mine, [mine], 60.0)
    assert votes.exchange({}, ()).keys() == {mine}
    assert votes.recover(other, [], 0.05)
    eventually(lambda: votes.lease(mine, 60.0).mine)


def test_three_engines(server, service):
    """One opens its circuit: nobody follows. A second one does: the third follows, and all recover."""
    a, b, c = (Replica(name, RedisVotes(RedisStore(server.url, service)), quorum=2) for name in "abc")
    a.fail()
    for replica in (a, b, c):
        replica.tick()
    assert [a.state, b.state, c.state] == [OPEN, CLOSED, CLOSED]
    b.fail()
    b.tick()
    c.tick()
    assert [a.state, b.state, c.state] == [OPEN, OPEN, OPEN]
    assert 0 < c.left <= min(a.left, b.left) + 1
    for replica in (a, b):
        replica.engine.tools.reset(TOOL)
        replica.tick()
    c.tick()
    assert c.state is HALF_OPEN
    assert c.call()
    assert [a.state, b.state, c.state] == [CLOSED, CLOSED, CLOSED]


def test_controller_shares_when_configured(server, service):
    """The look of the background thread includes the votes; one that is not configured to takes no part."""
    sharing, apart = (controller(server.url, service, share_circuits=share, quorum=2) for share in (True, False))
    others = RedisVotes(RedisStore(server.url, service))
    others.exchange({Vote(TARGET, "x", 1): 60.0, Vote(TARGET, "y", 1): 60.0}, ())
    for replica in (sharing, apart):
        replica.tick()
    refusal = admits(sharing)
    assert isinstance(refusal, Refusal)
    assert refusal.outcome is Outcome.CIRCUIT_OPEN
    assert isinstance(admits(apart), Attempt)


def test_votes_end_with_the_process(server, service):
    """A process that ends takes its votes back: its successor is not a second one."""
    replica, votes = controller(server.url, service, share_circuits=True), RedisVotes(RedisStore(server.url, service))
    pipeline = replica._engine.tool_pipeline(TOOL)
    pipeline.settle(pipeline.admit(), Verdict.FAILURE)
    replica.tick()
    assert [vote.target for vote in votes.exchange({}, ())] == [TARGET]
    replica.end()
    assert votes.exchange({}, ()) == {}


def test_sharing_needs_redis(tmp_path, caplog):
    """Sharing configured with a store that cannot: said once, and everything else works."""
    from otel_tools.control.file import FileStore

    cannot = "otel-tools cannot share circuits in its store, they open by this process's own calls only"
    control = Control(store=str(tmp_path), share_circuits=True)
    replica = Controller(engine(control=control), FileStore(tmp_path, "shop"), "shop")
    replica.tick()
    assert isinstance(admits(replica), Attempt)
    assert [record.message for record in caplog.records] == [
        f"{cannot}: control.share_circuits needs a redis:// URL as control.store: open circuits stay local"
    ]
