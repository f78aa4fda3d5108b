"""What the tokens of a model cost, reduced to what a call needs: USD per token of each count.

The calculation of genai-prices takes some 60 us a call. A price is linear in the token counts between two thresholds on
the input tokens, so `probe` asks that calculation once for every count in every band, and keeps the differences.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_tools.model import Usage

if TYPE_CHECKING:
    from decimal import Decimal


class Unit(NamedTuple):
    """A token count: its field in `model.Usage`, and a count to probe with."""

    field: str
    probe: int


UNITS = {
    "input_tokens": Unit("input_tokens", 101),
    "output_tokens": Unit("output_tokens", 101),
    "cache_read_tokens": Unit("cache_read_tokens", 10),
    "cache_write_tokens": Unit("cache_write_tokens", 10),
    "cache_write_1h_tokens": Unit("cache_write_1h_tokens", 1),
    "input_text_tokens": Unit("text_input_tokens", 10),
    "input_image_tokens": Unit("image_input_tokens", 10),
    "input_audio_tokens": Unit("audio_input_tokens", 10),
    "cache_text_read_tokens": Unit("text_cache_read_tokens", 1),
    "cache_image_read_tokens": Unit("image_cache_read_tokens", 1),
    "cache_audio_read_tokens": Unit("audio_cache_read_tokens", 1),
    "output_reasoning_tokens": Unit("reasoning_tokens", 10),
    "output_text_tokens": Unit("text_output_tokens", 10),
    "output_image_tokens": Unit("image_output_tokens", 10),
    "output_audio_tokens": Unit("audio_output_tokens", 10),
}
"""Usage keys of genai-prices -> fields of `model.Usage`, both inclusive, and a count to probe with (the parts of a
count must not exceed it)."""


class Rates(NamedTuple):
    """USD per token: for each band of input tokens a fixed fee and what every counted token adds.

    The bands are separated by *starts*; a count of exactly a start belongs to the lower band.
    """

    starts: tuple[int, ...]
    bands: tuple[tuple[float, tuple[tuple[str, float], ...]], ...]

    def usd(self, usage: Usage) -> float:
        """What these tokens cost."""
        total, rates = self.bands[bisect_left(self.starts, usage.input_tokens or 0)]
        for field, rate in rates:
            count = getattr(usage, field)
            if count:
                total += rate * count
        return max(total, 0.0)


FREE = Rates((), ((0.0, ()),))


def probe(usd: Callable[[Mapping[str, int]], Decimal], prices: Mapping[str, Any]) -> Rates | None:
    """Rates that give the same as *usd*, found by asking it.

    Args:
        usd: What counts (by usage key) cost.
        prices: The prices (by price key) that it uses; without one for tokens there are no rates.
    """
    units = {key: unit for key, unit in UNITS.items() if key.removesuffix("tokens") + "mtok" in prices}
    starts = sorted({tier.start for price in prices.values() for tier in getattr(price, "tiers", ())})
    from decimal import Context, localcontext  # noqa: PLC0415  slow to import, and only needed for a first price

    with localcontext(Context(prec=40)):  # exact, whatever the program has set
        bands = tuple(_band(usd, units, start) for start in (0, *starts))
    return Rates(tuple(starts), bands) if units else None


def _band(
    usd: Callable[[Mapping[str, int]], Decimal], units: Mapping[str, Unit], start: int
) -> tuple[float, tuple[tuple[str, float], ...]]:
    # the input tokens decide on the band, whether they are priced or not
    counts = {"input_tokens": 0} | {key: unit.probe for key, unit in units.items()}
    counts["input_tokens"] += start + 1
    total = usd(counts)
    rates = {key: usd(counts | {key: counts[key] + 1}) - total for key in units}
    fee = total - sum(rate * counts[key] for key, rate in rates.items())
    return float(fee), tuple((units[key].field, float(rate)) for key, rate in rates.items() if rate)


def configured(prices: Mapping[str, float]) -> Rates:
    """Rates of a model from its configured prices; cached tokens without a price cost what input costs."""
    plain = prices["input_per_million"]
    write = prices.get("cache_write_per_million", plain)
    rates = {
        "input_tokens": plain,
        "output_tokens": prices["output_per_million"],
        "cache_read_tokens": prices.get("cache_read_per_million", plain) - plain,
        "cache_write_tokens": write - plain,
        "cache_write_1h_tokens": prices.get("cache_write_1h_per_million", write) - write,
    }
    return Rates((), ((0.0, tuple((field, rate / 1e6) for field, rate in rates.items() if rate)),))
