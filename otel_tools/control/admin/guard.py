"""Who may ask the admin server for what: Host, Origin and token. Values only, nothing is read or sent here.

A page of somebody else's in the browser of an operator cannot read or steer: a name of theirs that resolves to this
machine (DNS rebinding) is not one of ours, a request that another site starts says so in its `Origin`, and no browser
sends the token by itself. On a shared machine a loopback address is open to every user: reading needs no token there,
unless that is said, and writing always does.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from otel_tools.control.admin.problems import Problem
from otel_tools.settings import Admin

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
"""As in an ASGI scope: names in lower case."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_CHALLENGE: Final = 'Bearer realm="otel-tools"'
_UNCONFIGURED: Final = (
    "No token is configured, so nothing can be {done} here: start the program with OTEL_TOOLS_ADMIN_TOKEN set, "
    "and send its value as a bearer token."
)


class Authority(NamedTuple):
    """A host and its port, as in `Host` and `Origin`."""

    host: str
    port: int | None


class Guard:
    """Lets requests in or raises `Problem`.

    Args:
        settings: Names, and the token.
        open_reads: Whether a read that comes under a loopback name needs no token.
    """

    def __init__(self, settings: Admin, *, open_reads: bool) -> None:
        self._names = {_canonical(name) for name in (settings.host, *settings.hosts) if not is_any_address(name)}
        self._token = (settings.token or "").strip().encode()
        self._open_reads = open_reads

    def check(self, headers: Headers, address: Sequence[object] | None) -> None:
        """Let only a request in that is meant for us, from no page but ours.

        Args:
            headers: The request's.
            address: Where it arrived, as `server` of an ASGI scope.

        Raises:
            Problem: 403.
        """
        host = _host(headers)
        here = {_canonical(str(address[0]))} if address else set()
        if not (is_loopback(host.host) or host.host in self._names or (host.host in here and _is_address(host.host))):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "host_not_allowed",
                f"The host {host.host[:100]!r} is not let in: add it to admin.hosts if people reach this server by it.",
            )
        origins = _values(headers, b"origin")
        if any(not _same(origin, host) for origin in origins):
            raise Problem(
                HTTPStatus.FORBIDDEN, "origin_not_allowed", "This request comes from a page of another origin."
            )

    def may_read(self, headers: Headers) -> None:
        """Let only those read who may.

        Raises:
            Problem: 401 or 403.
        """
        if not (self._open_reads and is_loopback(_host(headers).host)):
            self._demand_token(headers, "read")

    def may_write(self, headers: Headers) -> None:
        """Let only those write who have the token.

        Raises:
            Problem: 401 or 403.
        """
        self._demand_token(headers, "changed")

    def _demand_token(self, headers: Headers, done: str) -> None:
        if not self._token:
            raise Problem(HTTPStatus.FORBIDDEN, "no_token_configured", _UNCONFIGURED.format(done=done))
        given = _values(headers, b"authorization")
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        if scheme.lower() != b"bearer":
            _refuse("token_missing", "Send the token as `Authorization: Bearer TOKEN`.", _CHALLENGE)
        if not hmac.compare_digest(token.strip(), self._token):
            challenge = f'{_CHALLENGE}, error="invalid_token"'
            _refuse("token_wrong", "This is not the token of this program (OTEL_TOOLS_ADMIN_TOKEN).", challenge)


def _refuse(kind: str, detail: str, challenge: str) -> None:
    raise Problem(HTTPStatus.UNAUTHORIZED, kind, detail, {"WWW-Authenticate": challenge})


# --- addresses ------------------------------------------------------------------------------------------------------
def is_loopback(host: str) -> bool:
    """Whether *host*, a name or an address, always means the machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_any_address(host: str) -> bool:
    """Whether *host* means all addresses of the machine, to a server that listens on it."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _canonical(host: str) -> str:
    return host.strip().strip("[]").rstrip(".").lower()


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for found, value in headers if found == name]


def _host(headers: Headers) -> Authority:
    found = _values(headers, b"host")
    authority = _authority(found[0].decode("latin-1")) if len(found) == 1 else None
    if authority is None:
        raise Problem(HTTPStatus.FORBIDDEN, "host_not_allowed", "The request must name its host, once.")
    return authority


def _authority(text: str, scheme: str = "http") -> Authority | None:
    try:
        parts = urlsplit(f"{scheme}://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if host is None or parts.netloc != text or "@" in text:
        return None
    return Authority(_canonical(host), port)


def _same(origin: bytes, host: Authority) -> bool:
    """Whether *origin* is that of our own page. The scheme may differ: TLS can end before us."""
    scheme, _, rest = origin.decode("latin-1").partition("://")
    found = _authority(rest) if scheme in _DEFAULT_PORTS else None
    default = _DEFAULT_PORTS.get(scheme)
    return found is not None and (found.host, found.port or default) == (host.host, host.port or default)
