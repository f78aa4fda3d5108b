"""A connection to Redis or Valkey that never keeps its user waiting and never shows a password."""

from __future__ import annotations

import re
import time
from math import inf
from typing import Any, Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_tools.errors import StoreError
from otel_tools.policy.forks import renew_in_child

Word: TypeAlias = str | bytes | int

TIMEOUT: Final = 0.5
"""Seconds to connect, and seconds for the answer to a command."""

_DATABASE: Final = re.compile(r"/?|/[0-9]+/?")


class RedisServer:
    """A connection to a server that comes by itself, again after it was lost, and in a forked child.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`, as redis-py reads it; options may follow a `?`.
        timeout: Seconds to connect, and seconds for the answer to a command.

    Attributes:
        label: The URL without user, password and options.

    Raises:
        StoreError: The URL is none, or redis-py is not installed.
    """

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        self.label = _label(url)
        self._url = url
        self._timeout = timeout
        self._rest = (-inf, "")
        self._node: dict[str, Any] = {}
        self._client: Any = None  # redis.Redis, whose generic commands have no types
        self._exceptions = self._library().exceptions
        self._check()
        renew_in_child(self)

    def after_fork(self) -> None:
        """Leave the connection to the parent; the forked child opens its own."""
        self._client = None

    def _library(self) -> Any:
        try:
            import redis  # noqa: PLC0415  an extra; only who configures such a store pays for its import
        except ImportError as error:
            raise StoreError(f"{self.label} needs redis-py: pip install 'otel-tools[redis]'") from error
        return redis

    def _check(self) -> None:
        """Make a connection object without connecting: that reads the URL and its options."""
        try:
            pool = self._connect().connection_pool
            pool.connection_class(**pool.connection_kwargs)
        except (TypeError, ValueError):  # not shown: its text may have a part of the password
            raise StoreError(
                f"{self.label} has a port or an option that redis-py does not know: write "
                "redis://[user:password@]host[:port][/database][?option=value]"
            ) from None

    def _connect(self) -> Any:
        redis = self._library()
        client = redis.Redis.from_url(
            self._url,
            socket_timeout=self._timeout,
            socket_connect_timeout=self._timeout,
            protocol=2,
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),  # the next look comes soon: nothing waits twice
        )
        client.connection_pool.connection_kwargs.update(self._node)
        return client

    def run(self, *words: Word) -> Any:
        """Send one command and give the answer, in about two *timeout* at most; after that, at once for as long.

        Raises:
            StoreError: It cannot be reached, does not answer in time, or refuses.
        """
        rests_until, complaint = self._rest
        if time.monotonic() < rests_until:
            raise StoreError(complaint)
        try:
            with suppress_instrumentation():  # the program's traces are not for what we do in the background
                return self._run(words)
        except (self._exceptions.RedisError, OSError, UnicodeError) as error:
            if self._node:  # it may have gone: ask the one in the URL again
                self._node, self._client = {}, None
            complaint = f"{self.label} {self._complaint(error)}"
            if isinstance(error, self._exceptions.TimeoutError):  # several commands in a row shall not all wait
                self._rest = (time.monotonic() + self._timeout, complaint)
            raise StoreError(complaint) from error

    def _run(self, words: tuple[Word, ...]) -> Any:
        client = self._client = self._client or self._connect()
        try:
            return client.execute_command(*words)
        except self._exceptions.ResponseError as error:
            self._node = _moved_to(error)
            if not self._node:
                raise
        client = self._client = self._connect()
        return client.execute_command(*words)

    def script(self, script: str, keys: tuple[str, ...], *arguments: Word) -> Any:
        """Run a Lua *script* on the server, as one step.

        Raises:
            StoreError: As `run` does.
        """
        return self.run("EVAL", script, len(keys), *keys, *arguments)

    def _complaint(self, error: Exception) -> str:
        known = self._exceptions
        text = str(error)
        if isinstance(error, known.AuthenticationError) or "NOAUTH" in text or "WRONGPASS" in text:
            return "refused the password: check user and password in the URL"
        if isinstance(error, known.TimeoutError):
            return f"did not answer within {self._timeout:g} s: is it overloaded, stopped, or behind a firewall?"
        if isinstance(error, (known.ConnectionError, OSError, UnicodeError)):
            return f"cannot be reached: is it running, and are host and port right? ({text})"
        return f"refused a command: it must be a primary and allow EVAL and all commands on otel-tools:* ({text})"

    def close(self) -> None:
        """Close the connection; a later command would open another one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _moved_to(error: Exception) -> dict[str, Any]:
    """Which node of a cluster has the keys of this service, if that is what *error* says."""
    text = str(error)
    if type(error).__name__ != "MovedError" and not text.startswith("MOVED "):  # redis-py 5 does not tell it apart
        return {}
    host, _, port = text.rsplit(maxsplit=1)[-1].rpartition(":")
    return {"port": int(port)} | ({"host": host} if host else {})


def _label(url: str) -> str:
    """*url* without what may be secret.

    Raises:
        StoreError: It is none; a part of a password that is not percent-encoded may stand anywhere in it.
    """
    try:
        parts = urlsplit(url)
        shown = _shown(parts)
    except ValueError:
        shown = None
    if shown is None:
        raise StoreError(
            "the URL of the store is none of Redis: write redis://[user:password@]host[:port][/database], with special "
            "characters in user and password percent-encoded"
        )
    return shown


def _shown(parts: SplitResult) -> str | None:
    if parts.scheme == "unix" and parts.path and not parts.fragment:
        return f"unix://{parts.path}"
    if parts.scheme not in {"redis", "rediss"} or parts.fragment or not _DATABASE.fullmatch(parts.path):
        return None
    host = parts.hostname or "localhost"
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path.rstrip('/')}"
