"""Blocking work of a request in a thread that no interpreter waits for.

Not in the pool of the event loop or of anyio: their threads are joined when the interpreter exits, and a store that
hangs would keep the program from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[[], T]) -> T:
    """What *function* returns or raises, without keeping the event loop."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            value = function()
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(value)

    future.set_running_or_notify_cancel()
    threading.Thread(target=run, name="otel-tools-admin-work", daemon=True).start()
    return await asyncio.wrap_future(future)
