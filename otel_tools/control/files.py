"""Files that several processes read and replace: private directories, atomic writes, a lock that does not hang."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from otel_tools.errors import StoreError

LOCK_SECONDS: Final = 5.0
"""How long a lock is waited for: who holds it needs milliseconds, unless it was stopped."""

WINDOWS: Final = os.name == "nt"
_RETRY: Final = 0.01
_REPLACE_ATTEMPTS: Final = 20
_HELD: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK, errno.EINTR})
"""What the system says of a lock that somebody else has; POSIX and Windows differ."""

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _unlock(file: int) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


def check_private(directory: Path, *, shared: bool = False) -> bool:
    """Whether *directory* exists.

    Args:
        directory: The directory.
        shared: Others may own it or write to it, but not replace what is ours in it.

    Raises:
        StoreError: Somebody else could change what is in it.
    """
    try:
        named, found = directory.lstat(), directory.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"{directory} cannot be used: {reason(error)}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise StoreError(f"{directory} is no directory: move it away, or name another one as control.store")
    if not WINDOWS:  # where a user's directories are protected by inherited lists
        if stat.S_ISLNK(named.st_mode):  # somebody else's could lead to the overrides of another service
            _check_owner(directory, named, shared=shared)
        _check_owner(directory, found, shared=shared)
    return True


def _check_owner(directory: Path, found: os.stat_result, *, shared: bool) -> None:
    sticky = shared and found.st_mode & stat.S_ISVTX
    if found.st_uid not in ({0, os.geteuid()} if shared else {os.geteuid()}):
        raise StoreError(
            f"{directory} belongs to another user (uid {found.st_uid}), who could switch your tools off and on: "
            "name a directory of your own as control.store"
        )
    if found.st_mode & _OTHERS_WRITE and not sticky and not stat.S_ISLNK(found.st_mode):
        raise StoreError(
            f"{directory} can be written to by other users, who could switch your tools off and on: chmod go-w it"
        )


def make_private(directory: Path) -> None:
    """Create *directory* for this user only.

    Raises:
        StoreError: It is there, and somebody else could change what is in it.
        OSError: It cannot be created.
    """
    if check_private(directory):
        return
    directory.mkdir(mode=0o700, exist_ok=True)
    check_private(directory)


def replace(path: Path, content: bytes, *, durable: bool) -> None:
    """Let *path* hold *content*; whoever reads sees the old content or all of the new.

    Args:
        path: The file.
        content: What it shall hold.
        durable: Also if the machine fails right after.

    Raises:
        OSError: It cannot be written; the old content stays.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)  # of mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        _put(Path(name), path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if durable:
        _sync(path.parent)


def _put(written: Path, path: Path) -> None:
    for attempt in range(_REPLACE_ATTEMPTS):
        try:
            written.replace(path)
            return
        except PermissionError:  # on Windows while somebody reads it
            if not WINDOWS or attempt == _REPLACE_ATTEMPTS - 1:
                raise
            time.sleep(_RETRY)


def _sync(directory: Path) -> None:
    if WINDOWS:
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock that the file at *path* stands for, against other processes and other threads.

    Raises:
        StoreError: It was not to be had within *seconds*.
        OSError: The file cannot be created, or its file system has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, path, time.monotonic() + seconds)
        try:
            yield
        finally:
            _unlock(descriptor)  # said, not left to `close`: a child forked meanwhile has the file open, too
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path, until: float) -> None:
    while True:
        try:
            _try_lock(descriptor)
            return
        except OSError as error:
            if error.errno not in _HELD:
                raise  # the file system has no locks
            if time.monotonic() >= until:
                raise StoreError(
                    f"{path} is locked by another process that does not go on: look who has it open, and try again"
                ) from error
        time.sleep(_RETRY)


def remove_leftovers(directory: Path, age: float) -> None:
    """Remove what writers left in *directory* that died more than *age* seconds ago."""
    for path in directory.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - age:
                path.unlink()


def reason(error: OSError) -> str:
    """What the system says, without the path."""
    return error.strerror or type(error).__name__
