"""Costs: equal to bills worked out by hand and to the library's own calculation, and unknown where nobody knows."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tools.model import Usage
from otel_tools.pricing import Price, Prices
from otel_tools.rates import UNITS

NOVEMBER = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
MILLION = 1_000_000


def run(code: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("provider", "model", "usage", "tier", "bill"),
    [
        pytest.param(
            "openai",
            "gpt-4o-2024-08-06",
            Usage(input_tokens=10_000, output_tokens=500, cache_read_tokens=8_000),
            None,
            (2_000 * 2.5 + 8_000 * 1.25 + 500 * 10) / MILLION,
            id="openai, cached input",
        ),
        pytest.param(
            "openai",
            "gpt-4o",
            Usage(input_tokens=1_000, output_tokens=500, audio_input_tokens=0, reasoning_tokens=300),
            "default",
            (1_000 * 2.5 + 500 * 10) / MILLION,
            id="openai, reasoning is output",
        ),
        pytest.param(
            "openai",
            "o3",
            Usage(input_tokens=1_000, output_tokens=100, cache_read_tokens=400),
            "flex",
            (600 * 1 + 400 * 0.25 + 100 * 4) / MILLION,
            id="openai, flex",
        ),
        pytest.param(
            "openai",
            "o3",
            Usage(input_tokens=1_000, output_tokens=100, cache_read_tokens=400),
            "priority",
            (600 * 3.5 + 400 * 0.875 + 100 * 14) / MILLION,
            id="openai, priority",
        ),
        pytest.param(
            "azure.ai.openai",
            "gpt-realtime",
            Usage(
                input_tokens=1_000,
                output_tokens=300,
                cache_read_tokens=600,
                audio_input_tokens=800,
                audio_cache_read_tokens=500,
                audio_output_tokens=250,
            ),
            None,
            (100 * 4 + 100 * 0.4 + 300 * 32 + 500 * 0.4 + 50 * 16 + 250 * 64) / MILLION,
            id="azure, audio of a model of openai",
        ),
        pytest.param(
            "anthropic",
            "claude-sonnet-4-5-20250929",
            Usage(
                input_tokens=10_000,
                output_tokens=500,
                cache_read_tokens=4_000,
                cache_write_tokens=3_000,
                cache_write_1h_tokens=1_000,
            ),
            "standard",
            (3_000 * 3 + 4_000 * 0.3 + 2_000 * 3.75 + 1_000 * 6 + 500 * 15) / MILLION,
            id="anthropic, cache written for 5 minutes and for an hour",
        ),
        pytest.param(
            "anthropic",
            "claude-sonnet-4-5",
            Usage(input_tokens=1_000, output_tokens=100),
            "batch",
            (1_000 * 1.5 + 100 * 7.5) / MILLION,
            id="anthropic, batch",
        ),
        pytest.param(
            "gcp.vertex_ai",
            "claude-sonnet-4-5@20250929",
            Usage(input_tokens=1_000, output_tokens=100),
            None,
            (1_000 * 3 + 100 * 15) / MILLION,
            id="vertex, a model of anthropic",
        ),
        pytest.param(
            "gcp.gemini",
            "models/gemini-2.5-pro",
            Usage(input_tokens=200_000, output_tokens=1_000, cache_read_tokens=50_000, text_input_tokens=200_000),
            None,
            (150_000 * 1.25 + 50_000 * 0.125 + 1_000 * 10) / MILLION,
            id="gemini, at the threshold",
        ),
        pytest.param(
            "gcp.gemini",
            "gemini-2.5-pro",
            Usage(input_tokens=200_001, output_tokens=1_000, cache_read_tokens=50_000),
            None,
            (150_001 * 2.5 + 50_000 * 0.25 + 1_000 * 15) / MILLION,
            id="gemini, above the threshold",
        ),
        pytest.param(
            "aws.bedrock",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/amazon.nova-pro-v1:0",
            Usage(input_tokens=1_000, output_tokens=100),
            None,
            (1_000 * 0.8 + 100 * 3.2) / MILLION,
            id="bedrock, an inference profile",
        ),
    ],
)
def test_bills(provider, model, usage, tier, bill):
    """The cost is the bill, to a billionth of a dollar."""
    price = Prices().cost(provider, model, usage, NOVEMBER, tier)

    assert price == Price(pytest.approx(bill, abs=1e-9, rel=0), "genai-prices")


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        ("openai", "no-such-model", Usage(input_tokens=1, output_tokens=1)),
        ("openai", None, Usage(input_tokens=1, output_tokens=1)),
        ("no such provider", "gpt-4o", Usage(input_tokens=1, output_tokens=1)),
        ("openai", "gpt-4o", Usage(quality="absent")),
        ("openai", "whisper-1", Usage(input_tokens=1, output_tokens=1)),
    ],
)
def test_unknown_is_not_zero(provider, model, usage):
    """A model or provider that is not in the tables, no usage, and a model sold by the hour have no known price."""
    prices = Prices()
    prices.prepare(provider, model)

    assert prices.cost(provider, model, usage) is None
    assert prices.cost(provider, model, usage) is None


def test_free_models_cost_nothing():
    """A model that is known to be free costs 0, which is not the same as unknown."""
    price = Prices().cost("openrouter", "deepseek/deepseek-r1:free", Usage(input_tokens=10, output_tokens=10))

    assert price == Price(0.0, "genai-prices")


def test_the_cost_that_the_provider_reports_wins():
    """A reported cost beats tables and configuration, for any model."""
    prices = Prices({"gpt-4o": {"input_per_million": 1.0, "output_per_million": 1.0}})
    usage = Usage(input_tokens=1, output_tokens=1, cost=0.125)

    assert prices.cost("openai", "gpt-4o", usage) == Price(0.125, "provider")
    assert prices.cost("openai", None, usage) == Price(0.125, "provider")


def test_configured_prices():
    """Configured prices beat the tables; cached tokens cost what input costs unless they have a price."""
    plain = {"input_per_million": 2.0, "output_per_million": 8.0}
    cached = plain | {"cache_read_per_million": 0.5, "cache_write_per_million": 3.0, "cache_write_1h_per_million": 4.0}
    prices = Prices({"gpt-4o": plain, "ours": cached})
    usage = Usage(
        input_tokens=1_000,
        output_tokens=100,
        cache_read_tokens=400,
        cache_write_tokens=300,
        cache_write_1h_tokens=100,
    )

    assert prices.cost("openai", "gpt-4o", usage) == Price(pytest.approx((1_000 * 2 + 100 * 8) / MILLION), "configured")
    assert prices.cost("vllm", "ours", usage) == Price(
        pytest.approx((300 * 2 + 400 * 0.5 + 200 * 3 + 100 * 4 + 100 * 8) / MILLION), "configured"
    )


def test_an_endpoint_names_a_provider_that_the_tables_do_not_know():
    """Where the provider's name is ours alone, the base URL finds it."""
    prices = Prices()
    usage = Usage(input_tokens=1_000, output_tokens=100)

    prices.prepare("ours", "gpt-4o", "https://api.openai.com/v1")

    assert prices.cost("ours", "gpt-4o", usage) == prices.cost("openai", "gpt-4o", usage)


def test_prices_change_with_time():
    """Night tariffs apply by the minute; a time without a zone is UTC."""
    prices = Prices()
    usage = Usage(input_tokens=MILLION)
    before, after = datetime(2025, 7, 1, 16, 29, 59, tzinfo=UTC), datetime(2025, 7, 1, 16, 30)  # noqa: DTZ001

    day, night = (prices.cost("deepseek", "deepseek-reasoner", usage, at) for at in (before, after))

    assert (day.usd, night.usd) == (pytest.approx(0.55), pytest.approx(0.135))


def test_an_estimate_is_the_most_that_a_call_may_cost():
    """Nothing cached and all output used; unknown stays unknown."""
    prices = Prices()

    assert prices.estimate("openai", "gpt-4o", 1_000, 500) == pytest.approx((1_000 * 2.5 + 500 * 10) / MILLION)
    assert prices.estimate("openai", "no-such-model", 1_000, 500) is None


def test_inconsistent_usage_has_a_price_all_the_same():
    """Details that exceed their total are the provider's mistake; the cost is never negative."""
    usage = Usage(input_tokens=10, output_tokens=0, cache_read_tokens=1_000)

    assert Prices().cost("openai", "gpt-4o", usage) == Price(0.0, "genai-prices")


def test_what_is_remembered_is_bounded():
    """A program that asks for ever new models does not grow."""
    prices = Prices()

    for number in range(600):
        prices.prepare("openai", f"model-{number}", "http://localhost")
        prices.cost("openai", f"model-{number}", Usage(input_tokens=1))
    for number in range(40):
        prices.cost("openai", "gpt-4o", Usage(input_tokens=1), service_tier=f"tier-{number}")

    assert len(prices._models) <= 256
    assert len(prices._endpoints) <= 256
    assert len(prices._models["openai", "gpt-4o"]._rates) <= 16


def test_another_thread_begins_a_new_table():
    """A price is found although another thread forgets the models just then."""

    class Forgotten(dict):
        def __contains__(self, key):
            found = super().__contains__(key)
            prices._models = {}
            return found

    prices, usage = Prices(), Usage(input_tokens=1)
    before = prices.cost("openai", "gpt-4o", usage)
    prices._models = Forgotten(prices._models)
    assert prices.cost("openai", "gpt-4o", usage) == before


def _models():
    from genai_prices import data_snapshot

    return [(provider, model) for provider in data_snapshot.get_snapshot().providers for model in provider.models]


@given(data=st.data())
def test_rates_are_the_library_s_own_calculation(data):
    """For any model, time, tier and consistent usage, the cost is what genai-prices calculates."""
    import genai_prices

    from otel_tools.pricing import _Model

    provider, info = data.draw(st.sampled_from(_models()))
    at = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=data.draw(st.integers(0, 1_100_000)))
    tier = data.draw(st.sampled_from([None, "flex", "priority", "batch", "default"]))
    context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier} if tier else None
    rates = _Model(provider, info).rates(at, tier)
    prices = vars(info.calc_price(genai_prices.Usage(), provider, genai_request_timestamp=at).model_price)
    counts = {
        "input_tokens": data.draw(st.integers(200, 2_000_000)),
        "output_tokens": data.draw(st.integers(100, 9_999)),
    }
    for key, unit in UNITS.items():
        if key not in counts and prices.get(key.removesuffix("tokens") + "mtok") is not None:
            counts[key] = data.draw(st.integers(unit.probe // 2, unit.probe))

    if rates is None:
        assert not any(key.endswith("_mtok") for key, price in prices.items() if price is not None)
        return
    calculated = info.calc_price(
        genai_prices.Usage(**counts), provider, genai_request_timestamp=at, price_context=context
    )

    ours = rates.usd(Usage(**{UNITS[key].field: count for key, count in counts.items()}))
    assert ours == pytest.approx(float(Decimal(calculated.total_price)), rel=1e-12, abs=1e-15)


def test_the_program_s_own_tables_are_respected():
    """A program that gives genai-prices other tables gets their prices, also for models that were used before."""
    from genai_prices import data_snapshot

    prices, usage = Prices(), Usage(input_tokens=1)
    bundled = prices.cost("openai", "gpt-4o", usage)
    empty = data_snapshot.DataSnapshot(providers=[], from_auto_update=False)

    data_snapshot.set_custom_snapshot(empty)
    try:
        assert prices.cost("openai", "gpt-4o", usage) is None
    finally:
        data_snapshot.set_custom_snapshot(None)

    assert prices.cost("openai", "gpt-4o", usage) == bundled


def test_many_threads_get_one_price():
    """Threads that ask at the same time for a model that nobody asked for before agree."""
    prices = Prices()

    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda _: prices.cost("openai", "gpt-4o", Usage(input_tokens=MILLION)), range(64)))

    assert got == [Price(pytest.approx(2.5), "genai-prices")] * 64


def test_nothing_is_imported_until_a_call_is_made():
    """Importing the module and building `Prices` leave the library alone; `prepare` imports it in a daemon thread."""
    assert run(
        "import sys, threading\n"
        "from otel_tools.pricing import Prices\n"
        "prices = Prices({'m': {'input_per_million': 1, 'output_per_million': 1}})\n"
        "prices.prepare('openai', 'm')\n"
        "print('genai_prices' in sys.modules, threading.active_count())\n"
        "prices.prepare('openai', 'gpt-4o'); prices.prepare('openai', 'gpt-4o')\n"
        "thread, = [thread for thread in threading.enumerate() if thread.name == 'otel-tools-prices']\n"
        "print(thread.daemon); thread.join(); print('genai_prices' in sys.modules)\n"
    ).splitlines() == ["False 1", "True", "True"]


def test_no_socket_is_opened():
    """Import, preparation and calculation touch no network: Python's audit sees no socket event at all."""
    assert (
        run(
            "import sys\n"
            "events = []\n"
            "sys.addaudithook(lambda event, args: events.append(event) if event.startswith('socket.') else None)\n"
            "from otel_tools.model import Usage\n"
            "from otel_tools.pricing import Prices\n"
            "prices = Prices()\n"
            "prices.prepare('openai', 'gpt-4o')\n"
            "print(prices.cost('openai', 'gpt-4o', Usage(input_tokens=1000000)), events)\n"
        )
        == "Price(usd=2.5, source='genai-prices') []\n"
    )


def test_a_fork_during_the_import_does_not_hang_the_child():
    """A process forked while the tables are being imported has them: the fork waits for the import."""
    assert run(
        "import os, sys\n"
        "from otel_tools.model import Usage\n"
        "from otel_tools.pricing import Prices\n"
        "prices = Prices()\n"
        "prices.prepare('openai', 'gpt-4o')\n"
        "child = os.fork()\n"
        "os.write(1, b'%s\\n' % str(prices.cost('openai', 'gpt-4o', Usage(input_tokens=1000000)).usd).encode())\n"
        "if child:\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
    ).splitlines() == ["2.5", "2.5"]


def test_without_the_library_nothing_has_a_price():
    """If genai-prices cannot be imported, the program goes on, is told once, and calls have no price."""
    assert run(
        "import logging, sys\n"
        "sys.modules['genai_prices'] = None\n"
        "logging.basicConfig(stream=sys.stdout, format='%(message).60s')\n"
        "logging.getLogger('otel_tools').addFilter(lambda record: setattr(record, 'exc_info', None) or True)\n"
        "from otel_tools.model import Usage\n"
        "from otel_tools.pricing import Prices\n"
        "prices = Prices()\n"
        "prices.prepare('openai', 'gpt-4o')\n"
        "print([prices.cost('openai', 'gpt-4o', Usage(input_tokens=1)) for _ in range(2)])\n"
    ).splitlines() == [
        "otel-tools failed while loading the price tables; the progra",
        "[None, None]",
    ]


def test_nothing_of_http_is_imported_beside_a_call():
    """What the price tables need of HTTP is imported with the client, so that no call meets it half imported."""
    program = "import sys, otel_tools.auto, openai; print('httpx2' in sys.modules, 'genai_prices' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_the_cost_of_a_call_is_that_of_the_tier_that_served_it(otel, server):
    """End to end: a response that says `flex` costs what flex costs, on the span and in the counter."""
    openai = pytest.importorskip("openai")
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}
    usage["prompt_tokens_details"] = {"cached_tokens": 400}
    message = {"role": "assistant", "content": "hello"}
    server.reply(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "o3-2025-04-16",
            "service_tier": "flex",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": usage,
        }
    )
    bill = pytest.approx((600 * 1 + 400 * 0.25 + 100 * 4) / MILLION, abs=1e-9, rel=0)

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="k") as client:
        client.chat.completions.create(model="o3", messages=[{"role": "user", "content": "hi"}])

    attributes = otel.span("chat o3")["attributes"]
    assert (attributes["otel_tools.cost.usd"], attributes["otel_tools.cost.source"]) == (bill, "genai-prices")
    assert otel.points("otel_tools.client.cost") == [
        {"attributes": {"gen_ai.provider.name": "openai", "gen_ai.request.model": "o3"}, "value": bill}
    ]
    assert "otel_tools.client.unpriced" not in otel.metrics
