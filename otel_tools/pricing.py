"""What LLM calls cost, in USD, from the tables of `genai-prices`; what has no known price has none, never 0.

No network: the tables are those of the installed package (or what the program itself gave that package). Its import is
slow (it brings pydantic), so a daemon thread does it while the first LLM call waits for its answer.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from otel_tools.errors import internal_error
from otel_tools.model import Usage
from otel_tools.policy.forks import renew_in_child
from otel_tools.rates import FREE, Rates, configured, probe

_PATIENCE = 10.0
"""Seconds that a call waits for the tables to be imported, if its answer was faster."""
_MAX_MODELS = 256
_MAX_TIERS = 16

_PROVIDERS = {
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "aws.bedrock": "aws",
    "x_ai": "x-ai",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
}
"""Values of `gen_ai.provider.name` -> ids of genai-prices, where they differ."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a call cost: USD, and who says so."""

    usd: float
    source: Literal["provider", "genai-prices", "configured"]


class Prices:
    """Prices by provider and model. Safe to use from several threads and after a fork.

    Args:
        overrides: Prices per million tokens of models that have no public price, by model, as the configuration
            holds them. They win over the tables.
    """

    def __init__(self, overrides: Mapping[str, Mapping[str, float]] | None = None) -> None:
        self._configured = {model: configured(prices) for model, prices in (overrides or {}).items()}
        self._endpoints: dict[tuple[str, str], str] = {}
        self._models: dict[tuple[str, str], _Model | None] = {}
        self._snapshot: Any = None

    def load(self) -> None:
        """Begin to load the tables, before a price is asked for: one that must be known before a call waits for them.

        It waits for 10 s at most; a price that cannot be had by then counts as not known.
        """
        _library.start()

    def prepare(self, provider: str, model: str | None, base_url: str | None = None) -> None:
        """Get ready for the price of a call that has just begun.

        Args:
            provider: A value of `gen_ai.provider.name`.
            model: The model that was asked for.
            base_url: Where it was asked, for providers whose name the tables do not know.
        """
        if model is None or model in self._configured or (provider, model) in self._models:
            return
        if base_url and len(self._endpoints) < _MAX_MODELS:
            self._endpoints[provider, model] = base_url
        try:
            _library.start(lambda: self._model(provider, model))
        except Exception:
            internal_error("preparing a price")

    def cost(
        self,
        provider: str,
        model: str | None,
        usage: Usage,
        at: datetime | None = None,
        service_tier: str | None = None,
    ) -> Price | None:
        """What a call cost, or `None` if nobody knows.

        Args:
            provider: A value of `gen_ai.provider.name`.
            model: The model that answered.
            usage: Its billed tokens. A cost that the provider itself reports wins.
            at: When it was called (prices change), by default now.
            service_tier: The tier that the provider says it used.
        """
        if usage.cost is not None:
            return Price(usage.cost, "provider")
        if model is None or (usage.input_tokens is None and usage.output_tokens is None):
            return None
        if model in self._configured:
            return Price(self._configured[model].usd(usage), "configured")
        try:
            rates = self._rates(provider, model, at, service_tier)
        except Exception:
            internal_error("looking up a price")
            return None
        return None if rates is None else Price(rates.usd(usage), "genai-prices")

    def estimate(self, provider: str, model: str | None, input_tokens: int, max_output_tokens: int) -> float | None:
        """The most that a call may cost, in USD, to reserve it from a budget; `None` if the price is not known."""
        usage = Usage(input_tokens=input_tokens, output_tokens=max_output_tokens)
        price = self.cost(provider, model, usage)
        return None if price is None else price.usd

    def _rates(self, provider: str, model: str, at: datetime | None, tier: str | None) -> Rates | None:
        found = self._model(provider, model)
        return None if found is None else found.rates(at, tier)

    def _model(self, provider: str, model: str) -> _Model | None:
        snapshot = _library.snapshot()
        if snapshot is None:
            return None
        if snapshot is not self._snapshot or len(self._models) >= _MAX_MODELS:
            self._models, self._snapshot = {}, snapshot
        models, key = self._models, (provider, model)  # another thread may begin a new table
        if key not in models:
            models[key] = _find(snapshot, provider, model, self._endpoints.get(key))
        return models[key]


class _Model:
    """A model's entry in the tables, and its rates by service tier."""

    def __init__(self, provider: Any, info: Any) -> None:
        self._provider = provider
        self._info = info
        self._rates: dict[str | None, tuple[int, Rates | None]] = {}
        self._period = _period(info)

    def rates(self, at: datetime | None, tier: str | None) -> Rates | None:
        """The rates that apply at a time to a service tier."""
        timestamp = time.time() if at is None else (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        period = int(timestamp // self._period)
        known = self._rates.get(tier)
        if known is None or known[0] != period:
            known = (period, self._probe(datetime.fromtimestamp(timestamp, UTC), tier))
            if len(self._rates) >= _MAX_TIERS:
                self._rates = {}
            self._rates[tier] = known
        return known[1]

    def _probe(self, at: datetime, tier: str | None) -> Rates | None:
        context = None if tier is None else {"processing": "batch"} if tier == "batch" else {"service_tier": tier}

        def calculate(counts: Mapping[str, int]) -> Any:
            usage = _library.usage(counts)
            return self._info.calc_price(usage, self._provider, genai_request_timestamp=at, price_context=context)

        prices = {key: price for key, price in vars(calculate({}).model_price).items() if price is not None}
        if not prices:
            return FREE if self._info.id.endswith(":free") else None
        return probe(lambda counts: calculate(counts).total_price, prices)


def _period(info: Any) -> int:
    """Seconds for which a price certainly holds: prices change at midnight UTC, or at a minute of the day."""
    dated = [*(info.prices if isinstance(info.prices, list) else ()), *(info.price_variants or ())]
    return 60 if any(hasattr(price.constraint, "start_time") for price in dated) else 86_400


def _find(snapshot: Any, provider: str, model: str, base_url: str | None) -> _Model | None:
    name = _PROVIDERS.get(provider, provider)
    # full resource names of Vertex AI, the Gemini API and Bedrock end with the model
    reference = model.rpartition("/")[2] if name in {"google", "aws"} else model
    for provider_id, url in ((name, None), (None, base_url)):
        if provider_id or url:
            try:
                return _Model(*snapshot.find_provider_model(reference, None, provider_id, url))
            except LookupError:
                continue
    return None


def client_imported() -> None:
    """Import what `genai-prices` needs of HTTP, now that an LLM client is being imported, and not beside its calls.

    openai 2 looks at `sys.modules["httpx2"]` in each call and takes a module that another thread is still importing for
    a whole one. Clients that use httpx2 themselves have imported it already.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("httpx2")  # also where it is in `sys.modules`: this waits until it is whole


class _Library:
    """genai-prices, imported once by a daemon thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._modules: Any = None

    def start(self, then: Callable[[], object] | None = None) -> None:
        """Begin to import it, unless that was done before; *then* is called in the same thread."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._load, args=(then,), name="otel-tools-prices", daemon=True
                    )
                    self._thread.start()

    def snapshot(self) -> Any:
        """The tables: the bundled ones or those that the program set; `None` if they cannot be imported."""
        if self._modules is None:
            self.start()
            self.finish()
        return self._modules and self._modules.data_snapshot.get_snapshot()

    def usage(self, counts: Mapping[str, int]) -> Any:
        """The library's own usage object."""
        return self._modules.Usage(**counts)

    def finish(self, timeout: float = _PATIENCE) -> None:
        """Wait for an import that has begun."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def after_fork(self) -> None:
        """A forked child has a lock that nobody holds."""
        self._lock = threading.Lock()

    def _load(self, then: Callable[[], object] | None) -> None:
        try:
            import genai_prices  # noqa: PLC0415  slow, and of no use to a program that calls no LLM

            genai_prices.data_snapshot.get_snapshot()  # imports the tables
            self._modules = genai_prices
            if then is not None:
                then()
        except Exception:
            internal_error("loading the price tables")


_library = _Library()
renew_in_child(_library)
if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    # a child forked in the middle of an import could never import that module: the thread that has begun is not there
    os.register_at_fork(before=_library.finish)
