"""Votes for open circuits in Redis or Valkey. Times travel as seconds that are left: no clocks are compared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from otel_tools.control.directives import Target
from otel_tools.control.redis import RedisStore, milliseconds
from otel_tools.control.redis_server import Word
from otel_tools.control.sharing import RECOVERED, Lease, Vote

# A sorted set of votes by the time, of the server's clock, at which they expire.
_EXCHANGE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local cast = 2 * tonumber(ARGV[1]) + 1
for i = 2, cast, 2 do redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[i + 1]), ARGV[i]) end
for i = cast + 1, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local votes = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 2, #votes, 2 do votes[i] = votes[i] - now end
if cast > 1 and #votes > 0 then redis.call('PEXPIRE', KEYS[1], string.format('%.0f', votes[#votes])) end
return votes
"""

# A lease is the name of the opening whose probe it is, or empty once that probe has succeeded.
_LEASE: Final = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return {ARGV[1], ARGV[2]} end
return {redis.call('GET', KEYS[1]) or '', redis.call('PTTL', KEYS[1])}
"""

_RECOVER: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], '', 'PX', ARGV[2])
for i = 3, #ARGV do redis.call('ZREM', KEYS[2], ARGV[i]) end
return 1
"""


class RedisVotes:
    """A `Votes` in the server of *store*, for its service.

    Args:
        store: The store of the overrides.
    """

    def __init__(self, store: RedisStore) -> None:
        self._server = store.server
        self._store = store
        self._votes = store.key("open")

    def exchange(self, cast: Mapping[Vote, float], withdrawn: Iterable[Vote]) -> dict[Vote, float]:
        """Cast and withdraw votes, and read all."""
        words: list[Word] = [len(cast)]
        for vote, left in cast.items():
            words += [_member(vote), milliseconds(left)]
        words += [_member(vote) for vote in withdrawn]
        answer: list[Any] = self._server.script(_EXCHANGE, (self._votes,), *words)
        return {_vote(answer[i]): int(answer[i + 1]) / 1000 for i in range(0, len(answer), 2)}

    def lease(self, vote: Vote, seconds: float) -> Lease:
        """Take the lease of the probe, or learn who has it."""
        token = _member(vote)
        holder, left = self._server.script(_LEASE, (self._lease(vote.target),), token, milliseconds(seconds))
        if not holder:
            return RECOVERED
        return Lease(mine=holder.decode() == token, left=max(0, int(left)) / 1000)

    def recover(self, vote: Vote, others: Iterable[Vote], seconds: float) -> bool:
        """Say that the probe succeeded, if its lease is still that of *vote*."""
        keys = self._lease(vote.target), self._votes
        members = [_member(one) for one in others]
        return bool(self._server.script(_RECOVER, keys, _member(vote), milliseconds(seconds), *members))

    def _lease(self, target: Target) -> str:
        return self._store.key(f"probe:{target[0]}:{target[1]}")


def _member(vote: Vote) -> str:
    kind, name = vote.target
    return json.dumps([kind, name, vote.owner, vote.opening], separators=(",", ":"))


def _vote(member: bytes) -> Vote:
    kind, name, owner, opening = json.loads(member)
    return Vote((kind, name), owner, opening)
