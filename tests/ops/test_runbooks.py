"""Runbooks: what stands on the pages of tools and alerts, and that it is right."""

from __future__ import annotations

import dataclasses
import json
import time
import urllib.error
from email.message import Message
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from otel_tools import config
from otel_tools.demo import program
from otel_tools.ops import rules
from otel_tools.ops.model import Links
from otel_tools.ops.objectives import DEFAULTS, objectives
from otel_tools.ops.runbooks import alerts, gaps, markdown, playbook, tool, tools, words
from otel_tools.ops.runbooks.facts import Facts, Place, Registry, facts
from otel_tools.ops.runbooks.guides import GUIDES
from otel_tools.ops.runbooks.snapshot import snapshot
from otel_tools.policy.classify import classify
from otel_tools.policy.options import Circuit, Criticality, Limits, Mode, Policy
from otel_tools.policy.outcome import REFUSED, Outcome, Verdict
from otel_tools.settings import Settings
from tests.ops import pages, promql

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "collector-config" / "runbooks"
DEMO = Path(program.__file__).with_name("otel-tools.yaml")
GOLDEN = Path(__file__).with_name("check_inventory.golden.md")

ALERTS = alerts.render(DEFAULTS)
PLACE = Place(options=("--service", "support-agent"), where="Here.")
ODD = (
    "a b",
    "-rf",
    "--help",
    'it\'s `$HOME` "x"',
    "`",
    "``x``",
    "$(touch /tmp/x)",
    "a|b\\|c",
    "*_[x](y)<z>&amp;!#",
    "1. x",
    "- x",
    "~ null",
    "naïve 道具 😀",
    "x: {y}",
    "it\\ends\\",
)
UNPRINTABLE = ("a\nb", "\x1b[31m", "\u2028", "\ud800", " ")


def demo(name: str = "check_inventory", registry: Registry | None = None, **changes) -> Facts:
    """What is known of a tool of the demo's without a process."""
    settings = config.load({"OTEL_TOOLS_CONFIG": str(DEMO)})
    given = {"service": "support-agent", "place": PLACE, "links": Links()} | changes
    return facts(name, settings, registry or Registry(), **given)


def of(policy: Policy, mode: Mode = Mode.ENFORCE, limits: Limits | None = None, name: str = "x") -> Facts:
    """What is known of a tool with this policy."""
    settings = Settings(mode=mode, tools={name: policy}, limits=limits or Limits())
    return facts(name, settings, Registry(), service="shop", place=PLACE, links=Links())


def tool_pages() -> dict[str, str]:
    """Pages of tools: the demo's, and odd ones."""
    names = ["search_knowledge_base", "check_inventory", "get_user_preferences", "get_order_status", *ODD, *UNPRINTABLE]
    return {name: tool.render(demo(name), live=True) for name in names}


EVERY = {**ALERTS, **{ascii(name): page for name, page in tool_pages().items()}}


# --- pages and what they are of -------------------------------------------------------------------------------------
def test_the_pages_in_the_repository_are_as_rendered():
    """`otel-tools runbook --alerts --out collector-config/runbooks` writes them anew."""
    assert {path.name: path.read_text() for path in COMMITTED.glob("*.md")} == ALERTS


def test_every_alert_has_a_page_and_every_page_an_alert():
    """Those of the rules, in all severities; and the index names them all."""
    every = [rule for groups in rules.files(DEFAULTS).values() for group in groups for rule in group["rules"]]
    found = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in every if "alert" in rule}
    assert {str(path.relative_to(ROOT)) for path in COMMITTED.glob("*.md") if path.name != alerts.INDEX} == set(
        found.values()
    )
    assert set(GUIDES) == set(found)
    for name, url in found.items():
        front, body = (ROOT / url).read_text().removeprefix("---\n").split("\n---\n", 1)
        assert yaml.safe_load(front)["alert"] == name
        assert body.startswith(f"\n# {name}\n")
    linked = {found.text for found in pages.read(ALERTS[alerts.INDEX]) if found.kind == "link"}
    assert linked == set(ALERTS) - {alerts.INDEX}


def test_an_alert_that_is_switched_off_has_no_page():
    """`alerts: {tool-slow: {enabled: false}}`, `slos:` likewise."""
    off = Settings(alerts={"tool-slow": {"enabled": False}}, slos={"session-cost": {"enabled": False}})
    assert set(ALERTS) - set(alerts.render(objectives(off))) == {"tool-slow.md", "session-cost-budget-burn.md"}


def test_a_page_goes_by_the_table():
    """Thresholds, windows, guards, links: those in force."""
    changed = Settings(
        alerts={"tool-error-rate-high": {"critical": 0.4, "window": 600, "minimum": 7}},
        links={"grafana": "https://grafana.test", "prometheus": "https://prometheus.test"},
    )
    page = alerts.render(objectives(changed))["tool-error-rate-high.md"]
    assert "* **Threshold**: more than 40 %: `critical`, more than 10 %: `warning`." in page
    assert "* **Window**: the last 10 min, and true for 2 min without a break." in page
    assert "* **Guard**: at least 7 events in the window" in page
    assert "](<https://grafana.test/d/otel-tools-tool>)" in page
    assert "](<https://prometheus.test/graph?" in page
    assert "127.0.0.1:3000" not in page


@pytest.mark.parametrize("name", [name for name in ALERTS if name != alerts.INDEX])
def test_a_page_of_an_alert_is_whole(name):
    """All sections, in this order; an alert that another page speaks of exists."""
    page = ALERTS[name]
    sections = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert sections == [
        "Meaning",
        "Impact",
        "How it is computed",
        "First checks",
        "Causes, the most likely first",
        "Contain it",
        "Silence",
        "Escalate",
    ]
    named = {found.text for found in pages.read(page) if found.kind == "code" and found.text.startswith("OtelTools")}
    assert named <= set(GUIDES)
    expressions = [found.text for found in pages.read(page) if found.kind == "promql"]
    of_rules = [
        rule["expr"]
        for groups in rules.files(DEFAULTS).values()
        for group in groups
        for rule in group["rules"]
        if rule.get("alert") == page.split("\n", 2)[1].removeprefix("alert: ")
    ]
    assert [one.split("\n", 1)[1].rstrip() for one in expressions if one.startswith("# ")] == [
        one.rstrip() for one in of_rules
    ]


# --- PromQL and links -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", EVERY)
def test_every_query_parses_and_names_what_there_is(name):
    """Metrics of `semconv` after translation, records of the rules, the Collector's own; with labels that they have."""
    found = pages.queries(EVERY[name])
    assert found or name == alerts.INDEX
    for query in found:
        assert promql.answered(query) is not None


@pytest.mark.parametrize("name", EVERY)
def test_every_link_is_well_formed(name):
    """An address a browser opens, or a page beside; queries in links are those on the page."""
    queries = pages.queries(EVERY[name])
    for found in pages.read(EVERY[name]):
        if found.kind != "link":
            continue
        if not found.text.startswith("http"):
            assert found.text in ALERTS
            continue
        assert markdown.is_url(found.text), found.text
        url = urlsplit(found.text)
        values = parse_qs(url.query, strict_parsing=bool(url.query))
        for query in values.get("g0.expr", ()):
            assert query.strip() in {one.strip() for one in queries}
        for tags in values.get("tags", ()):
            assert all(isinstance(value, str) for value in json.loads(tags).values())


def test_links_name_the_tool_exactly():
    """Whatever its name is."""
    for name in ODD:
        found = [urlsplit(one.text) for one in pages.read(tool.render(demo(name))) if one.kind == "link"]
        dashboards = [parse_qs(url.query) for url in found if url.path == "/d/otel-tools-tool"]
        assert dashboards == [{"var-service": ["support-agent"], "var-tool": [name], "from": ["now-1h"], "to": ["now"]}]
        searches = [parse_qs(url.query) for url in found if url.path == "/search"]
        assert {search["operation"][0] for search in searches} == {f"execute_tool {name}"}
        assert {search["service"][0] for search in searches} == {"support-agent"}


# --- a tool's page --------------------------------------------------------------------------------------------------
def test_a_whole_page():
    """Of a tool of the demo, without a running process. Look at the difference, then write it anew if it is right."""
    assert tool.render(demo()) == GOLDEN.read_text()


@pytest.mark.parametrize("name", ODD)
def test_any_name_is_shown_as_it_is(name):
    """In running text, in code, in a table and in the front matter."""
    assert pages.shown(f"x {markdown.plain(name)} y") == f"x {name} y"
    assert pages.shown(markdown.code(name)) == name
    inside = pages.read(markdown.table(("a", "b"), [(markdown.code(name), "c")]))
    assert inside == [pages.Found("code", name)]
    page = tool.render(demo(name))
    assert yaml.safe_load(page.split("\n---\n")[0].removeprefix("---\n"))["tool"] == name
    assert pages.read(page)[0] == pages.Found("code", name)


@pytest.mark.parametrize("name", UNPRINTABLE)
def test_a_name_that_no_command_can_say_has_none(name):
    """The page says so instead, and what there is: the program's own code."""
    page = tool.render(demo(name))
    assert "No command can name" in page
    assert not [one for one in pages.commands(page) if one.words[0] not in {"tools", "circuits", "runbook"}]
    assert all(line.isprintable() for line in page.splitlines())


def test_what_is_missing_is_told_with_the_line_that_fills_it():
    """The lines are right: with them in the file nothing is missing any more."""
    unknown = dataclasses.replace(of(Policy()), service=None)
    found = list(gaps.gaps(unknown))
    assert [gap.what for gap in found] == [
        "owner",
        "dependency",
        "service",
        *(f"address of {name}" for name in ("grafana", "jaeger", "prometheus", "alertmanager")),
    ]
    values: dict = {}
    for gap in found:
        below = values
        for key in gap.where:
            below = below.setdefault(key, {})
        below.update(yaml.safe_load(gap.line))
    settings = config.load({}, overrides=values)
    filled = facts(
        "x",
        settings,
        Registry(),
        service=settings.control.service,
        place=PLACE,
        links=objectives(settings).links,
    )
    assert list(gaps.gaps(filled)) == []
    assert "Missing facts" not in tool.render(filled)
    assert "**unknown**" not in tool.render(filled)
    assert tool.render(unknown).count("**unknown**") >= 4


@pytest.mark.parametrize("name", ODD)
def test_the_lines_are_yaml_for_any_name(name):
    """The key is quoted where it must be."""
    line = next(gap.line for gap in gaps.gaps(demo(name)) if gap.what == "owner")
    assert list(yaml.safe_load(line)) == [name]


def test_without_an_address_there_is_no_link():
    """And no service: nothing is invented."""
    bare = dataclasses.replace(demo(), service=None, links=Links(grafana="", jaeger="", prometheus="", alertmanager=""))
    page = tool.render(bare)
    assert [found for found in pages.read(page) if found.kind == "link"] == []
    assert "1. Dashboard of the tool: **unknown**, see Missing facts" in page
    assert "service_name" not in page


def test_the_health_of_a_dependency_is_a_link_where_it_has_an_address():
    """Any address in `dependency:`."""
    page = tool.render(of(Policy(dependency="search API (https://status.test/a_b), search.internal:8080")))
    assert "3. Health of what it depends on: [https://status.test/a\\_b](<https://status.test/a_b>)" in page
    assert "no address of a status page" in tool.render(of(Policy(dependency="search API")))


# --- what processes say ---------------------------------------------------------------------------------------------
def row(**given) -> dict:
    """What the processes say of the tool."""
    return {
        "kind": "tool",
        "name": "check_inventory",
        "mode": "enforce",
        "criticality": "critical",
        "timeout": 0.6,
        "dependency": "warehouse API",
        "owner": None,
        "in_flight": 1,
        "abandoned": 2,
        "max_in_flight": None,
        "disabled": None,
        "disabled_in": 0,
        "calls": {"ok": 8, "timeout": 2},
        "recent_calls": 10,
        "error_rate": 0.2,
        "last_error": None,
        **given,
    }


def process(**given) -> dict:
    return {"id": "a", "host": "far", "pid": 7, "service": "support-agent", "program": "agent.py", "at": 0.0, **given}


def circuit(**given) -> dict:
    """A circuit of the tool."""
    return {
        "kind": "tool",
        "name": "check_inventory",
        "key": None,
        "state": "closed",
        "since": 0.0,
        "retry_at": None,
        "override": None,
        **given,
    }


@pytest.fixture
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_utc")
def test_what_processes_say_now():
    """Who disabled it, circuits that are not closed, counts, the last error with its trace."""
    hand = {"actor": "ann", "reason": "INC-1 *x*", "expires_at": 60.0}
    registry = Registry(
        at=30.0,
        processes=(process(), process(id="b")),
        tools=(row(disabled=hand, disabled_in=1, last_error={"type": "timeout", "at": 20.0, "trace_id": "abc"}),),
        circuits=(
            circuit(),
            circuit(key="t1"),
            circuit(key="t2", state="half_open", retry_at=40.0),
            circuit(name="other", state="open"),
        ),
    )
    assert snapshot(demo(registry=registry)).splitlines() == [
        "## Right now",
        "",
        "At 1970-01-01 00:00:30, 2 processes reporting.",
        "",
        "* **disabled** in 1 of 2 processes by ann until 1970-01-01 00:01:00: INC-1 \\*x\\*",
        "* circuit: **closed** since 1970-01-01 00:00:00",
        "* circuit of `t2`: **half open** since 1970-01-01 00:00:00, next try at 1970-01-01 00:00:40",
        "* calls since the processes began: 8 `ok`, 2 `timeout`; 20% errors among the last 10",
        "* running now: 1, left behind after a timeout: 2",
        "* last error: `timeout` at 1970-01-01 00:00:20 ([its trace](<http://127.0.0.1:16686/trace/abc>))",
    ]
    forced = circuit(state="forced_open", override={"actor": "bob", "reason": "why"})
    told = snapshot(demo(registry=dataclasses.replace(registry, circuits=(forced,))))
    assert "* circuit: **forced open** since 1970-01-01 00:00:00, set by bob: why\n" in told
    quiet = dataclasses.replace(registry, processes=(process(),), tools=(), circuits=())
    assert snapshot(demo(registry=quiet)).splitlines()[-1] == "* no call of it yet"


def test_without_a_process_it_says_what_is_unknown():
    """Or why nobody could be asked."""
    assert snapshot(demo()).startswith("## Right now\n\n**No running process has reported.** Unknown now:")
    broken = snapshot(demo(registry=Registry(problem="the store is `damaged`")))
    assert broken == "## Right now\n\n**Not all is known**: the store is \\`damaged\\`."
    assert "Right now" not in tool.render(demo())


def test_a_page_goes_by_the_processes_and_says_where_they_differ():
    """Code of the program may say otherwise than the file."""
    registry = Registry(processes=(process(),), tools=(row(timeout=5.0, criticality="optional", owner="shop"),))
    found = demo(registry=registry)
    assert (found.policy.timeout, found.policy.criticality, found.policy.owner) == (5.0, Criticality.OPTIONAL, "shop")
    assert found.differing == {"timeout": 0.6, "criticality": Criticality.CRITICAL, "owner": None}
    told = (
        "The running processes have other values than `otel-tools.yaml`: `criticality` (critical there), `owner` (not "
        "set there), `timeout` (0.6 there)."
    )
    assert told in tool.render(found)
    observed = demo(registry=Registry(processes=(process(),), tools=(row(mode="observe"),)))
    assert (observed.mode, observed.differing) == (Mode.OBSERVE, {"mode": Mode.ENFORCE})
    assert demo(registry=Registry(processes=(process(),), tools=(row(),))).differing == {}


def test_a_tool_that_nobody_knows_is_said_to_be_one():
    """It may be a slip of the pen."""
    assert "**Neither the configuration nor a running process knows a tool of this name.**" in tool.render(demo("x"))
    only_live = demo("x", registry=Registry(processes=(process(),), tools=(row(name="x"),)))
    assert "`otel-tools.yaml` has no entry for it" in tool.render(only_live)


def test_strict_makes_every_tool_critical():
    """As the engine does."""
    settings = Settings(strict=True, tools={"x": Policy(criticality=Criticality.OPTIONAL)})
    found = facts("x", settings, Registry(), service=None, place=PLACE, links=Links())
    assert found.policy.criticality is Criticality.CRITICAL


# --- words ----------------------------------------------------------------------------------------------------------
def test_policy_in_plain_words():
    """Everything that can be set, and its absence."""
    assert words.policy(Policy(circuit=None), Mode.OBSERVE)[1:] == [
        "**No timeout**: a call takes as long as its dependency lets it, and one that hangs, hangs.",
        "**No circuit breaker**: however often it fails, it is called again. `force-open` opens one by hand.",
        "**At once**: no limit.",
        "**Retries**: otel-tools makes none; a client library or the model may.",
    ]
    every = Policy(
        timeout=2,
        item_timeout=0.5,
        max_in_flight=1,
        key="tenant",
        circuit=Circuit(failures=1, failure_rate=0.5, min_span=2, slow_after=1.5, reset_after=90),
    )
    told = "\n".join(words.policy(every, Mode.ENFORCE))
    assert "**Timeout**: a call may take 2 s, then its caller goes on with the error." in told
    assert "**Timeout of an item**: the next item of a generator may take 500 ms." in told
    assert (
        "**Circuit breaker**: a call of 1.5 s or more is a failure, too; 1 failure in a row that began over 2 s or "
        "more, or 50% failures among the last 20 calls (of at least 10), open it, calls are then refused at once for "
        "90 s (and up to 10% more); then exactly one call is let through as a probe; the time doubles with each "
        "probe that fails, to at most 8 min."
    ) in told
    assert "**A circuit for each value** of the argument `tenant`" in told
    assert "**At once**: 1 call in each process; further ones are refused." in told
    assert "**Circuit breaker** (in shadow: it counts and refuses nothing)" in "\n".join(
        words.policy(Policy(timeout=1), Mode.OBSERVE)
    )


def test_limits_in_plain_words():
    """Only what is set and acts."""
    assert words.limits(None) == ["**Session limits**: none act (they need `mode: enforce`)."]
    assert words.limits(Limits()) == ["**Session limits**: none set."]
    every = Limits(
        max_iterations=8, max_tool_calls=20, max_tokens=50_000, max_cost_usd=0.5, max_duration=90, max_repeats=3
    )
    amounts, guard = words.limits(every)
    assert amounts == (
        "**Session limits**: 8 LLM calls, 20 tool calls, 50,000 tokens, 0.5 USD, 90 s; calls after that are refused "
        "(`budget_exceeded`)."
    )
    assert guard == (
        "**Loop guard**: the same arguments may give the same result 3 times in a session; further such calls are "
        "refused (`loop_detected`)."
    )


@pytest.mark.parametrize(
    ("value", "prose", "yaml_"),
    [(0.6, "600 ms", "600ms"), (2, "2 s", "2s"), (90, "90 s", "90s"), (1800, "30 min", "30m"), (7200, "2 h", "2h")],
)
def test_times(value, prose, yaml_):
    """For people, and as the file has them."""
    assert (words.seconds(value), words.setting(value)) == (prose, yaml_)
    assert config.load({}, overrides={"tools": {"x": {"timeout": yaml_}}}).tools["x"].timeout == value


# --- the decision table ---------------------------------------------------------------------------------------------
def failure(status: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://x", status, "x", Message(), None)


def pydantic_error() -> Exception:
    import pydantic

    with pytest.raises(pydantic.ValidationError) as caught:
        pydantic.TypeAdapter(int).validate_python("x")
    return caught.value


EXAMPLES = {
    "429": [failure(429)],
    "401": [failure(401), failure(403)],
    "5xx": [failure(500), failure(503), failure(408), failure(425), ConnectionRefusedError()],
    "TypeError": [failure(400), failure(422), pydantic_error()],
}


def test_the_table_says_what_policy_does():
    """Every outcome but success, and whether the circuit counts it."""
    found = list(playbook.cases(demo()))
    assert {case.outcome for case in found} == set(Outcome) - {Outcome.OK, Outcome.CANCELLED, Outcome.INTERRUPTED}
    for case in found:
        assert (case.counts is None) == (case.outcome in REFUSED)
    raised = [case for case in found if case.outcome is Outcome.ERROR]
    assert len(raised) == len(EXAMPLES)
    for case, (sign, errors) in zip(raised, EXAMPLES.items(), strict=True):
        assert sign in case.error_type
        assert {classify(error)[:2] for error in errors} == {
            (Outcome.ERROR, Verdict.FAILURE if case.counts else Verdict.NEUTRAL)
        }


def test_the_table_goes_by_the_facts():
    """Timeout, mode and loop guard; the lines of YAML in it are right."""
    bare = playbook.playbook(of(Policy(), Mode.OBSERVE))
    assert "otel-tools sets none here" in bare
    assert "By itself it opens nothing in mode `observe`." in bare
    assert "See Missing facts" in bare or "see Missing facts" in bare
    limited = playbook.playbook(of(Policy(timeout=45), limits=Limits(max_repeats=4)))
    assert "It did not finish within 45 s." in limited
    assert "Limit: 4" in limited
    for table in (bare, limited, playbook.playbook(demo("x: {y}"))):
        lines = [one.text for one in pages.read(table) if one.kind == "code" and one.text.startswith("tools:")]
        assert len(lines) == 2
        for line in lines:
            config.load({}, overrides=yaml.safe_load(line))


# --- many tools -----------------------------------------------------------------------------------------------------
def test_tools_have_pages_of_their_own_and_an_index():
    """Different names, different files, also where the file system does not tell case apart."""
    names = [*ODD, "Search", "search", "con", "x" * 100]
    found = tools.render([demo(name) for name in names])
    assert len({name.lower() for name in found}) == len(names) + 1
    assert all(name.isascii() and "/" not in name for name in found)
    links = [one.text for one in pages.read(found["README.md"]) if one.kind == "link"]
    assert links == [name for name in found if name != "README.md"]
    assert "No tool is configured, and none runs." in tools.render([])["README.md"]
