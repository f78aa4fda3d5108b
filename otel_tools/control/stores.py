"""Which store a service has, by its settings."""

from __future__ import annotations

from typing import Final

from otel_tools.control.file import FileStore
from otel_tools.control.places import base_directory, service_of
from otel_tools.control.report import this_process
from otel_tools.control.sharing import Sharing
from otel_tools.control.store import Store
from otel_tools.engine import Engine
from otel_tools.errors import StoreError
from otel_tools.settings import Control

__all__ = ["open_sharing", "open_store", "service_of"]

_REDIS: Final = ("redis", "rediss", "unix")


def open_store(control: Control, service: str) -> Store | None:
    """The store of *service*; nothing is read or connected to yet.

    Raises:
        StoreError: There is no such store.
    """
    where = control.store
    if where is None:
        return None
    scheme, separator, _ = where.partition("://")
    if not separator:
        return FileStore(base_directory(where), service)
    if scheme not in _REDIS:
        raise StoreError(f"control.store: {scheme}:// is no store; use file, a directory, or a redis:// URL")
    from otel_tools.control.redis import RedisStore  # noqa: PLC0415  an extra

    return RedisStore(where, service)


def open_sharing(engine: Engine, store: Store, service: str) -> Sharing | None:
    """What shares the open circuits of this process through *store*, if that is configured.

    Raises:
        StoreError: *store* cannot do that.
    """
    control = engine.settings.control
    if not control.share_circuits:
        return None
    from otel_tools.control.redis import RedisStore  # noqa: PLC0415  an extra
    from otel_tools.control.redis_votes import RedisVotes  # noqa: PLC0415  likewise

    if not isinstance(store, RedisStore):
        raise StoreError("control.share_circuits needs a redis:// URL as control.store: open circuits stay local")
    return Sharing(engine, RedisVotes(store), this_process(service).id, control.quorum)
