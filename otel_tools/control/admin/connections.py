"""Connections of the admin server, bounded in number and in time.

Whoever reaches the port can connect, also without the token; each connection takes a file descriptor of the program.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST: Final = 64
"""Connections at a time; a further one is closed at once."""

SECONDS: Final = 20.0
"""How long a request may take from the first byte that is waited for to the last that is sent."""


class Connection(H11Protocol):
    """Uvicorn's, which waits without end for a request, and writes what is asked into the program's log."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Wait for a request, unless there are enough connections."""
        super().connection_made(transport)
        self._bound()
        if len(self.connections) > MOST:
            transport.abort()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._bound()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._unbind()
        super().connection_lost(exc)

    def _bound(self) -> None:
        self._unbind()
        self._end = self.loop.call_later(SECONDS, self.transport.abort)

    def _unbind(self) -> None:
        if self._end is not None:
            self._end.cancel()
