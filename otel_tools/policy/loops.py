"""The loop guard of a session: the same tool called with the same arguments, giving the same result, again and again.

Only keyed hashes are kept, in memory, and their key lives as long as the process: no argument and no result can be had
from them.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from typing import Any, Final

from otel_tools.policy.forks import renew_in_child

MAX_CALLS: Final = 256
"""Different calls (tool and arguments) of a session that are remembered, the most recent ones."""

_KEY: Final = os.urandom(32)


def fingerprint(*values: Any) -> bytes | None:
    """A keyed hash that equal values share, or `None` for what has no canonical form.

    That is what JSON can say, with keys in order, and pydantic models. The text that an object shows of itself is never
    used: it may hold an address, so that no two would be equal.
    """
    try:
        text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=_fields_of)
    except Exception:  # also what the user's own models raise
        return None
    from hashlib import blake2b  # noqa: PLC0415  slow to import, and only needed where loops are looked for

    return blake2b(text.encode(), key=_KEY, digest_size=16).digest()  # ASCII: JSON escapes the rest


def _fields_of(value: Any) -> Any:
    if isinstance(value, type) or not hasattr(value, "__pydantic_fields_set__"):
        raise TypeError
    return value.model_dump(mode="json")


class LoopGuard:
    """Counts how often in a row a call gave the same result. Safe to use from several threads.

    Args:
        max_repeats: How often a call may give the same result; it is refused after that.
        acts: Whether calls are refused, or repeats only reported.
    """

    def __init__(self, max_repeats: int, *, acts: bool = True) -> None:
        self.max_repeats = max_repeats
        self.acts = acts
        self._calls: OrderedDict[bytes, tuple[bytes, int]] = OrderedDict()
        self._lock = threading.RLock()  # re-entrant: a finaliser may end a call while this thread holds it
        renew_in_child(self)

    def after_fork(self) -> None:
        """Renew the lock in a forked child."""
        self._lock = threading.RLock()

    def refuses(self, call: bytes) -> bool:
        """Whether a call (the fingerprint of tool and arguments) has given the same result as often as it may."""
        if not self.acts:
            return False
        with self._lock:
            if call not in self._calls:
                return False
            self._calls.move_to_end(call)
            return self._calls[call][1] >= self.max_repeats

    def count(self, call: bytes, result: bytes | None) -> int:
        """How often in a row *call* has given *result* now; 0 when that cannot be told, and counting begins anew."""
        with self._lock:
            last, repeats = self._calls.pop(call, (None, 0))
            if result is None:
                return 0
            repeats = repeats + 1 if result == last else 1
            self._calls[call] = (result, repeats)
            if len(self._calls) > MAX_CALLS:
                self._calls.popitem(last=False)
            return repeats
