"""What may stand where in the configuration: the table of keys, and the variables that stand for some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from otel_tools import schema
from otel_tools.policy.options import Criticality, Mode, Unpriced
from otel_tools.schema import Each, Leaf, Section, Switch, choice, optional
from otel_tools.settings import Capture

_CIRCUIT = Section(
    failures=schema.count,
    reset_after=schema.duration,
    max_reset_after=schema.duration,
    jitter=schema.fraction,
    lease=schema.duration,
    min_span=schema.seconds,
    slow_after=optional(schema.duration),
    failure_rate=optional(schema.fraction),
    window=schema.count,
    minimum_calls=schema.count,
)
_POLICY = Section(
    timeout=optional(schema.duration),
    circuit=Switch(_CIRCUIT),
    criticality=choice(Criticality),
    fallback=optional(schema.function),
    max_in_flight=optional(schema.count),
    item_timeout=optional(schema.duration),
    key=optional(schema.key),
    is_failure=optional(schema.function),
    mode=optional(choice(Mode)),
    dependency=optional(schema.text),
    owner=optional(schema.text),
)
_PRICE = Section(
    required=("input_per_million", "output_per_million"),
    input_per_million=schema.amount,
    output_per_million=schema.amount,
    cache_read_per_million=schema.amount,
    cache_write_per_million=schema.amount,
    cache_write_1h_per_million=schema.amount,
)
_LIMITS = Section(
    max_iterations=optional(schema.count),
    max_tool_calls=optional(schema.count),
    max_tokens=optional(schema.count),
    max_cost_usd=optional(schema.positive),
    max_duration=optional(schema.duration),
    max_repeats=optional(schema.count),
    unpriced=choice(Unpriced),
)
_CONTROL = Section(
    store=schema.store,
    interval=schema.duration,
    service=optional(schema.text),
    share_circuits=schema.flag,
    quorum=schema.several,
)
_ADMIN = Section(host=schema.text, port=schema.port, hosts=schema.names)
_ALERT = Section(
    enabled=schema.flag,
    critical=schema.amount,
    warning=schema.amount,
    info=schema.amount,
    window=schema.window,
    minimum=schema.count,
)
_ALERT.keys["for"] = schema.hold  # no name for an argument in Python
_SLO = Section(
    enabled=schema.flag,
    objective=schema.part,
    threshold=schema.positive,
    period=schema.period,
    minimum=schema.count,
)
_LINKS = Section(
    runbooks=schema.url, grafana=schema.url, jaeger=schema.url, prometheus=schema.url, alertmanager=schema.url
)
SCHEMA = Section(
    mode=choice(Mode),
    defaults=Section(tool=_POLICY, client=_POLICY),
    tools=Each(_POLICY),
    clients=Each(_POLICY),
    sessions=_LIMITS,
    patch=Section(tools=schema.objects, sessions=schema.objects, disabled=schema.names, discover=schema.flag),
    capture=choice(Capture),
    content_limit=schema.count,
    prices=Each(_PRICE),
    strict=schema.flag,
    control=_CONTROL,
    admin=Switch(_ADMIN),
    alerts=Each(_ALERT),
    slos=Each(_SLO),
    links=_LINKS,
)
_WORDS = {"true": True, "1": True, "false": False, "0": False}


def _flag(text: str) -> Any:
    return _WORDS.get(text.strip().lower(), text)


def _whole(text: str) -> Any:
    return int(text) if text.isdecimal() else text


def _address(text: str) -> Any:
    """What `admin:` would hold."""
    if isinstance(switch := _flag(text), bool):
        return switch
    host, _, port = text.rpartition(":")
    if ":" in host and not host.startswith("["):
        port = text  # an IPv6 address without its brackets
    return {"port": _whole(port)} | ({"host": host.strip("[]")} if host else {})


VARIABLES: Mapping[str, tuple[tuple[str, ...], Leaf | Switch, Callable[[str], Any]]] = {
    "OTEL_TOOLS_POLICY": (("mode",), choice(Mode), str),
    "OTEL_TOOLS_DISCOVER": (("patch", "discover"), schema.flag, _flag),
    "OTEL_TOOLS_DISABLED_LIBRARIES": (("patch", "disabled"), schema.names, lambda value: value.split(",")),
    "OTEL_TOOLS_CONTENT_LIMIT": (("content_limit",), schema.count, _whole),
    "OTEL_TOOLS_STRICT": (("strict",), schema.flag, _flag),
    "OTEL_TOOLS_STORE": (("control", "store"), schema.store, _flag),
    "OTEL_TOOLS_ADMIN": (("admin",), Switch(_ADMIN), _address),
}
"""Name -> the key it stands for, what it may be, and how its text is turned into what the file would hold."""
