"""The store of one machine: atomic, private, locked, and honest about what it cannot read."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_tools.control import file, files
from otel_tools.control.directives import Change, Directive, Document
from otel_tools.control.file import FileStore, services
from otel_tools.control.places import directory_name
from otel_tools.control.report import Process, Report, this_process
from otel_tools.errors import StoreError
from otel_tools.policy.circuit import Action

CLEAR = "Put it right, or remove it, which lifts all overrides"


def directive(name="search", **given) -> Directive:
    return Directive(**{"kind": "tool", "name": name, "action": Action.DISABLE, "reason": "why", "actor": "me"} | given)


def report(**given) -> Report:
    return Report(process=dataclasses.replace(this_process("shop"), **given), at=time.time())


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "base", "shop")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "base" / "shop" / "overrides.json"


def put(path: Path, content: str) -> None:
    """Write as no store of ours does, at a time long ago."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.parent.chmod(0o700)
    path.write_text(content)


# --- overrides ------------------------------------------------------------------------------------------------------
def test_what_is_written_is_read(store, tmp_path):
    """Every field comes back, in another process's store, too; nothing is there before."""
    assert store.read() == Document()
    one = directive(expires_at=time.time() + 60)
    change = Change(kind="client", name="openai", word="reset", actor="me", at=12.5)
    written = store.change(
        lambda document: document.with_directive(one).with_reset(("client", "openai"), 12.5).noting(change)
    )
    assert written == Document((one,), {("client", "openai"): 12.5}, (change,))
    assert store.read() == FileStore(tmp_path / "base", "shop").read() == written
    assert FileStore(tmp_path / "base", "other").read() == Document()


def test_reading_writes_nothing(store, tmp_path):
    """A program that never had an override leaves no trace of looking for one."""
    assert (store.read(), store.reports()) == (Document(), [])
    store.check_writable()
    assert list(tmp_path.iterdir()) == []


def test_only_its_user_can_look_in(store, tmp_path, monkeypatch):
    """Directories are 0700 and files 0600, whatever the umask is."""
    before = os.umask(0)
    try:
        store.change(lambda document: document.with_directive(directive()))
        store.publish(report())
    finally:
        os.umask(before)
    found = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.suffix != ".json"}
    assert found == {"base": 0o700, "shop": 0o700, "lock": 0o600, "processes": 0o700}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.json")} == {0o600}


def test_an_unchanged_file_is_not_read_again(store, path):
    """The same document comes back as long as the file is the same; a new file is noticed, also of the same size."""
    store.change(lambda document: document.with_directive(directive(id="a")))
    os.utime(path, (1, 1))
    first = store.read()
    assert store.read() is first
    store.change(lambda document: document.with_directive(directive(id="b")))
    assert [one.id for one in store.read().directives] == ["b"]


def test_a_change_within_the_tick_of_the_files_clock_is_seen(store, path):
    """As long as a later write could have the same times, a file is read again."""
    store.change(lambda document: document.with_directive(directive(id="a", reason="x")))
    before = path.stat()
    store.read()
    path.write_text(path.read_text().replace('"x"', '"y"'))  # in place: the same inode and size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [one.reason for one in store.read().directives] == ["y"]


WRITER = """
import sys
from pathlib import Path
from otel_tools.control.directives import Directive
from otel_tools.control.file import FileStore
from otel_tools.policy.circuit import Action
store = FileStore(Path(sys.argv[1]), "shop")
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    one = Directive(kind="tool", name=f"{sys.argv[2]}-{number}", action=Action.DISABLE, reason="why", actor="me")
    store.change(lambda document: document.with_directive(one))
"""


def test_writers_at_the_same_time_lose_nothing(store, tmp_path):
    """Four processes that add twenty overrides each make eighty."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "base")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*command, str(number)], **pipes) for number in range(4)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.close()
    assert [writer.wait(60) for writer in writers] == [0] * 4
    for writer in writers:
        writer.stdout.close()
    names = {one.name for one in store.read().directives}
    assert names == {f"{writer}-{number}" for writer in range(4) for number in range(20)}


CRASH = """
import os, pathlib, sys
from otel_tools.control.directives import Document
from otel_tools.control.file import FileStore
pathlib.Path.replace = lambda *_: os._exit(9)
FileStore(pathlib.Path(sys.argv[1]), "shop").change(lambda document: Document())
"""


def test_a_writer_that_dies_before_the_rename_changes_nothing(store, tmp_path, path):
    """The old file stays, its lock is free, and what the writer left is cleared away later."""
    store.change(lambda document: document.with_directive(directive()))
    assert subprocess.run([sys.executable, "-c", CRASH, str(tmp_path / "base")], check=False).returncode == 9
    assert [one.name for one in store.read().directives] == ["search"]
    [left] = path.parent.glob(".*.tmp")
    os.utime(left, (1, 1))
    store.change(lambda document: document.with_directive(directive("mail")))
    assert [one.name for one in store.read().directives] == ["search", "mail"]
    assert list(path.parent.glob(".*.tmp")) == []


def test_a_failed_rename_leaves_nothing_behind(store, path, monkeypatch):
    """The error is told, the old content stays, the temporary file goes."""
    store.change(lambda document: document.with_directive(directive()))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StoreError, match=r"shop cannot be written to \(No space left on device\): make it writable"):
        store.change(lambda document: Document())
    assert [one.name for one in store.read().directives] == ["search"]
    assert list(path.parent.glob(".*.tmp")) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is damaged, it holds no JSON"),
        ('{"version": 1, "overri', "is damaged, it holds no JSON"),
        ("[" * 100_000, "is damaged, it holds no JSON"),
        ('{"overrides": []}', "does not hold overrides of otel-tools (KeyError: 'version')"),
        ("[]", "does not hold overrides of otel-tools"),
        ('{"version": 1, "overrides": [{"kind": "tool"}], "resets": []}', "does not hold overrides of otel-tools"),
        ('{"version": 2}', "is of version 2 and this otel-tools reads 1: use the same release everywhere"),
    ],
)
def test_what_it_cannot_read_it_does_not_overwrite(store, path, content, message):
    """The error names the file, what is wrong and what to do; a change is refused and leaves the file as it is."""
    put(path, content)
    for use in (store.read, lambda: store.change(lambda document: document)):
        with pytest.raises(StoreError) as caught:
            use()
        assert str(caught.value).startswith(f"{path} {message}")
        assert str(caught.value).endswith(CLEAR)
    assert path.read_text() == content


# --- whose it is ----------------------------------------------------------------------------------------------------
def test_a_directory_that_others_can_write_to_is_refused(store, path):
    """They could switch tools off and on."""
    store.change(lambda document: document)
    path.parent.chmod(0o770)
    with pytest.raises(StoreError, match=r"shop can be written to by other users, .*: chmod go-w it"):
        store.read()
    path.parent.chmod(0o700)
    path.parent.parent.chmod(0o777)
    with pytest.raises(StoreError, match="base can be written to by other users"):
        store.change(lambda document: document)
    path.parent.parent.chmod(0o1777)  # as /tmp is: they cannot replace what is ours
    assert store.read() == Document()


def test_a_directory_of_another_user_is_refused(store, path):
    """Its owner could do the same."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    store.change(lambda document: document)
    os.chown(path.parent, 12345, -1)
    with pytest.raises(StoreError, match=r"shop belongs to another user \(uid 12345\).*control\.store"):
        store.read()


def test_a_file_in_the_place_of_a_directory_is_told(tmp_path):
    """With what to do about it."""
    (tmp_path / "base").write_text("")
    with pytest.raises(StoreError, match="base is no directory: move it away"):
        FileStore(tmp_path / "base", "shop").change(lambda document: document)


def test_a_directory_that_cannot_be_made_is_told(tmp_path, monkeypatch):
    """As in a container whose files are read-only."""

    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(StoreError, match=r"cannot be written to \(Read-only file system\): make it"):
        FileStore(tmp_path / "base", "shop").publish(report())


def test_services_have_names_of_files_of_their_own():
    """On every file system, and whatever the name is."""
    names = [
        "shop",
        "Shop",
        "SHOP",
        "a/b",
        "a-b",
        "..",
        ".",
        "",
        "con",
        "läden",
        "x" * 300,
        "x" * 301,
        "a b",
        "a%b",
        "a.",
    ]
    found = [directory_name(name) for name in names]
    assert found[0] == "shop"
    assert found[3].startswith("a-b~")
    assert len({name.lower() for name in found}) == len(names)
    assert all(len(name) < 100 and not set(name) & set('/\\:*?"<>|. ') for name in found)
    assert directory_name("shop.eu-1") == "shop.eu-1"


# --- the lock -------------------------------------------------------------------------------------------------------
def test_a_lock_that_is_not_given_back_is_told(tmp_path):
    """A writer that was stopped in the middle holds up nobody for long."""
    lock = tmp_path / "lock"
    with files.locked(lock):
        with pytest.raises(StoreError, match="lock is locked by another process that does not go on"):
            with files.locked(lock, seconds=0.05):
                pass
    with files.locked(lock, seconds=0):
        pass


def test_a_child_forked_under_the_lock_does_not_keep_it(tmp_path):
    """The child has the file open, too; the lock is given back all the same."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    lock = tmp_path / "lock"
    reading, writing = os.pipe()
    with files.locked(lock):
        child = os.fork()
        if child == 0:
            os.read(reading, 1)
            os._exit(0)
    try:
        with files.locked(lock, seconds=0):
            pass
    finally:
        os.write(writing, b"x")
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


# --- reports --------------------------------------------------------------------------------------------------------
def test_reports_of_live_processes_are_listed(store):
    """The last one of each."""
    first, second = report(), report()
    store.publish(first)
    store.publish(second)
    assert store.reports() == [second]
    store.withdraw(second.process.id)
    assert store.reports() == []
    store.withdraw(second.process.id)


def test_reports_of_dead_processes_are_removed(store, tmp_path):
    """One of this host whose process is gone, at once; one of another host after a minute of silence."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = report(id="dead", pid=gone.pid)
    silent = dataclasses.replace(report(id="silent", host="elsewhere"), at=time.time() - 61)
    reused = dataclasses.replace(report(id="reused"), at=time.time() - 601)
    fresh = report(id="fresh", host="elsewhere")
    for one in (dead, silent, reused, fresh):
        store.publish(one)
    assert store.reports() == [fresh]
    assert [path.name for path in (tmp_path / "base" / "shop" / "processes").iterdir()] == ["fresh.json"]


def test_a_process_of_another_user_is_alive(store, monkeypatch):
    """It may not be signalled, but it is there."""

    def forbidden(*_):
        raise PermissionError

    one = report()
    store.publish(one)
    monkeypatch.setattr(os, "kill", forbidden)
    assert store.reports() == [one]


def test_reports_that_cannot_be_read_are_passed_over(store, tmp_path):
    """Those of another release stay; who writes them may be alive."""
    store.publish(report())
    processes = tmp_path / "base" / "shop" / "processes"
    (processes / "newer.json").write_text(json.dumps({"version": 99}))
    (processes / "torn.json").write_text("{")
    assert [one.process.pid for one in store.reports()] == [os.getpid()]
    assert {path.name for path in processes.iterdir()} >= {"newer.json", "torn.json"}


def test_services_with_live_processes_are_found(tmp_path):
    """By the names that they gave themselves."""
    assert services(tmp_path / "base") == {}
    one = Report(process=this_process("A/B"), at=time.time())
    old = Report(process=Process(id="x", host="elsewhere", pid=1, service="old", program="p", started_at=0), at=1.0)
    FileStore(tmp_path / "base", "A/B").publish(one)
    FileStore(tmp_path / "base", "old").publish(old)
    FileStore(tmp_path / "base", "none").change(lambda document: document)
    assert services(tmp_path / "base") == {"A/B": [one]}


def test_the_host_of_a_report_is_this_one():
    """What tells a process of this machine from one of another."""
    assert this_process("shop").host == socket.gethostname()
    assert file._is_alive(this_process("shop"), 0)


def test_a_file_system_without_locks(store, monkeypatch):
    """It is not taken for somebody who holds the lock: nobody waits, and the error says what is the matter."""

    def fail(_descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files, "_try_lock", fail)
    with pytest.raises(StoreError, match=r"shop cannot be written to \(No locks available\)"):
        store.change(lambda document: document)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can make a link of somebody else")
def test_a_link_of_somebody_else(store, tmp_path):
    """Where others may write, too, a link of theirs could lead to what was set on another service."""
    other = FileStore(tmp_path / "base", "other")
    other.change(lambda document: document)
    (tmp_path / "base").chmod(0o1777)
    (tmp_path / "base" / "shop").symlink_to("other")
    assert store.read() == Document()
    os.chown(tmp_path / "base" / "shop", 4711, -1, follow_symlinks=False)
    with pytest.raises(StoreError, match=r"shop belongs to another user \(uid 4711\)"):
        store.read()


def test_a_process_that_begins_removes_what_dead_ones_left(store, tmp_path):
    """A program that forks workers for ever does not fill the disk; who is alive and who was heard of lately stays."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    store.publish(report(id="new", pid=gone.pid))
    others = {"dead": report(id="dead", pid=gone.pid), "alive": report(id="alive", pid=os.getpid())}
    for one in others.values():
        store.publish(one)
    processes = tmp_path / "base" / "shop" / "processes"
    (processes / "other-release.json").write_text("{}")
    (processes / "broken.json").write_text("{")
    for name, age in {"dead": 61, "alive": 61, "other-release": 61, "broken": 601}.items():
        os.utime(processes / f"{name}.json", times=(time.time() - age,) * 2)
    FileStore(tmp_path / "base", "shop").publish(report(id="mine"))
    assert sorted(path.stem for path in processes.iterdir()) == ["alive", "mine", "new", "other-release"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_its_place_is_not_waited_for(store, path):
    """The first call of a program looks at it."""
    path.parent.mkdir(mode=0o700, parents=True)
    path.parent.parent.chmod(0o700)
    os.mkfifo(path)
    with pytest.raises(StoreError, match=r"overrides.json is no file: move it away"):
        store.read()
