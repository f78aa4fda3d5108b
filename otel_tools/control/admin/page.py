"""The page for people on call: one file without anything from elsewhere, whose own script and style only may run."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from importlib import resources
from typing import Final

from starlette.responses import Response

_FILE: Final = "page.html"


def response() -> Response:
    """The page, with the policy that allows its script and style by their hashes."""
    html, policy = _page()
    return Response(html, headers={"Content-Security-Policy": policy}, media_type="text/html")


@functools.cache
def _page() -> tuple[bytes, str]:
    html = resources.files(__package__).joinpath(_FILE).read_bytes()
    policy = (
        "default-src 'none'",
        f"script-src {_hash(html, b'script')}",
        f"style-src {_hash(html, b'style')}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return html, "; ".join(policy)


def _hash(html: bytes, element: bytes) -> str:
    (text,) = re.findall(b"<%b>(.*?)</%b>" % (element, element), html, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"
