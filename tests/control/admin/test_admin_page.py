"""The page in a real browser, Debian's Chromium, against a live program with an open circuit."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

import pytest

import otel_tools
from otel_tools import errors
from otel_tools.control import plane
from otel_tools.control.admin.server import AdminServer

TOKEN = "s3cret-token"
CHROMIUM = shutil.which("chromium")
EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
SHOTS = os.environ.get("OTEL_TOOLS_SCREENSHOTS")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")


class SearchDown(Exception):
    pass


@pytest.fixture
def program(recorder, monkeypatch, tmp_path):
    """A program with an open circuit, a tool whose name is an attack, a session, and a store."""
    monkeypatch.setenv("OTEL_TOOLS_ADMIN_TOKEN", TOKEN)
    recorder.instrument(
        mode="enforce",
        admin={"port": 0},
        control={"store": str(tmp_path / "control"), "service": "support-agent"},
        tools={"search": {"dependency": "search API, search.internal:8080", "owner": "team-search"}},
    )
    tools = {name: make(name) for name in ("search", "lookup", EVIL)}
    with otel_tools.session("helper", conversation_id="conv-42"):
        for _ in range(3):
            with contextlib.suppress(SearchDown):
                tools["search"](fail=True)
        tools["lookup"]()
        tools[EVIL]()
    (server,) = [one for one in plane._running if isinstance(one, AdminServer)]
    assert server.listening.wait(10)
    yield server, tools
    recorder.uninstrument()


def make(name):
    @otel_tools.tool(name)
    def call(fail=False):
        if fail:
            raise SearchDown("password=hunter2")
        return "found"

    return call


@pytest.fixture
def browser():
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def opened(program, browser):
    """The page, opened; in the end nothing may have complained: no error in the console, no violation of the CSP."""
    server, tools = program
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_default_timeout(15_000)
    page.goto(server.url)
    page.wait_for_selector("#tools tbody tr")
    yield page, tools
    refused = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"  # the browser's own
    assert [complaint for complaint in complaints if complaint != refused] == []


def row(page, section, name):
    return page.locator(f"#{section} tbody tr").filter(has=page.get_by_text(name, exact=True))


def shoot(page, name):
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def expect(locator):
    from playwright.sync_api import expect

    return expect(locator)


def test_the_open_circuit_is_what_one_sees_first(opened):
    """The headline, the circuit with its next try and last error, and nothing of what the exception said."""
    page, _ = opened
    expect(page.locator("#now-title")).to_have_text("1 circuit open")
    expect(page.locator("#now li")).to_have_text(
        re.compile(r"^opensearch since \d+ s, next try in .+, last error SearchDown$")
    )
    expect(page.locator("#service")).to_have_text("support-agent")
    circuit = row(page, "circuits", "search")
    expect(circuit.locator(".badge")).to_have_text("open")
    expect(circuit).to_contain_text("SearchDown")
    expect(row(page, "tools", "search")).to_contain_text("owner team-search")
    expect(page.locator("#sessions tbody tr")).to_contain_text("conv-42")
    assert "hunter2" not in page.content()
    assert page.title() == "(1) support-agent · otel-tools"
    shoot(page, "open-circuit")


def test_a_name_that_is_markup_is_text(opened):
    """A model makes names up: one that is HTML is shown as it is written, and runs nothing."""
    page, tools = opened
    expect(row(page, "tools", EVIL)).to_have_count(1)
    row(page, "tools", EVIL).get_by_role("button", name="Disable").click()
    expect(page.locator("#ask-title")).to_have_text(f"Disable {EVIL}")
    fill(page)
    expect(row(page, "tools", EVIL).get_by_role("button", name="Enable")).to_be_visible()
    with pytest.raises(errors.ToolDisabled):
        tools[EVIL]()
    assert page.locator("img, body script ~ script").count() == 0
    assert "owned" not in page.title()


def fill(page, *, token=TOKEN):
    page.get_by_label("Reason").fill("INC-42: <b>answers nonsense</b>")
    page.get_by_label("Your name").fill("ada")
    if token is not None:
        page.get_by_label("Token", exact=True).fill(token)
    page.locator("#ask-go").click()


def test_disabling_and_enabling_by_button(opened):
    """The tool is refused, who did it and why is on the page; the token is asked for once and stays in this tab."""
    page, tools = opened
    assert tools["lookup"]() == "found"
    row(page, "tools", "lookup").get_by_role("button", name="Disable").click()
    page.locator("#ask-go").click()
    expect(page.locator("#ask-problem")).to_have_text("Say why: the others on call will want to know.")
    fill(page, token="guess")
    expect(page.locator("#ask-problem")).to_have_text("This is not the token of this program (OTEL_TOOLS_ADMIN_TOKEN).")
    shoot(page, "wrong-token")
    page.get_by_label("Token", exact=True).fill(TOKEN)
    page.locator("#ask-go").click()
    expect(page.locator("#told")).to_have_text("lookup is disabled in every process, for 30 min.")
    with pytest.raises(errors.ToolDisabled):
        tools["lookup"]()
    expect(page.locator("#now-title")).to_have_text("1 circuit open, 1 tool disabled")
    hand = row(page, "hands", "lookup")
    expect(hand).to_contain_text("INC-42: <b>answers nonsense</b>")
    expect(hand).to_contain_text("ada")
    expect(hand).to_contain_text(re.compile(r"(30|29) min.* left"))
    shoot(page, "disabled")
    row(page, "tools", "lookup").get_by_role("button", name="Enable").click()
    expect(page.get_by_label("Token", exact=True)).to_be_hidden()
    page.locator("#ask-go").click()
    expect(row(page, "tools", "lookup").get_by_role("button", name="Disable")).to_be_focused()
    assert tools["lookup"]() == "found"
    assert page.evaluate("[Object.keys(sessionStorage).sort(), localStorage.length, document.cookie]") == [
        ["otel-tools.actor", "otel-tools.token"],
        0,
        "",
    ]


def test_a_circuit_is_reset_and_forced_open_by_button(opened):
    """Reset closes it, so that calls go through; force open refuses them again."""
    page, tools = opened
    with pytest.raises(errors.CircuitOpen):
        tools["search"]()
    row(page, "circuits", "search").get_by_role("button", name="Reset").click()
    page.get_by_label("Token", exact=True).fill(TOKEN)
    page.get_by_label("Token", exact=True).press("Enter")
    expect(page.locator("#now-title")).to_have_text("Nothing is wrong")
    assert tools["search"]() == "found"
    page.get_by_role("button", name="Show 3 closed circuits").click()
    row(page, "circuits", "search").get_by_role("button", name="Force open").click()
    fill(page, token=None)
    expect(page.locator("#now li").first).to_contain_text("by ada: INC-42")
    with pytest.raises(errors.CircuitOpen):
        tools["search"]()


def test_what_is_typed_and_focused_stays(opened):
    """The page is newer every 2 s, and neither takes what is being typed nor the focus, nor scrolls."""
    page, tools = opened
    page.locator("#filter").fill("look")
    expect(page.locator("#tools tbody tr")).to_have_count(1)
    page.set_viewport_size({"width": 1280, "height": 420})
    button = row(page, "tools", "lookup").get_by_role("button", name="Disable")
    button.focus()
    top = page.evaluate("window.scrollTo(0, 60); window.scrollY")
    for _ in range(5):
        tools["lookup"]()
    expect(row(page, "tools", "lookup").locator("td").nth(2)).to_have_text("6")
    expect(button).to_be_focused()
    assert page.evaluate("[window.scrollY, document.querySelector('#filter').value]") == [top, "look"]


def test_a_phone(program, browser):
    """At 390 px nothing is wider than the screen, and every value has its label."""
    server, _ = program
    for scheme in ("light", "dark"):
        page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
        page.goto(server.url)
        page.wait_for_selector("#circuits tbody tr")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert (
            row(page, "circuits", "search")
            .locator("td")
            .nth(1)
            .evaluate("cell => getComputedStyle(cell, '::before').content")
            == '"State"'
        )
        shoot(page, f"phone-{scheme}")
        page.close()


def test_a_program_that_is_gone(program, browser):
    """The page says so and shows what it knew, and goes on when the program is back."""
    server, _ = program
    page = browser.new_page()
    page.goto(server.url)
    page.wait_for_selector("#tools tbody tr")
    page.route("**/admin/*", lambda route: route.abort())
    expect(page.locator("#trouble")).to_contain_text("The program does not answer. What you see is of", timeout=15_000)
    expect(page.locator("#tools tbody tr")).to_have_count(3)
    shoot(page, "gone")
    page.unroute("**/admin/*")
    expect(page.locator("#trouble")).to_be_hidden(timeout=15_000)


def test_reading_with_the_token(recorder, browser, monkeypatch):
    """Where reads need the token, too, the page asks for it, and then shows everything."""
    monkeypatch.setenv("OTEL_TOOLS_ADMIN_TOKEN", TOKEN)
    recorder.instrument(mode="enforce", admin={"port": 0, "host": "0.0.0.0"})
    (server,) = [one for one in plane._running if isinstance(one, AdminServer)]
    assert server.listening.wait(10)
    make("lookup")()
    page = browser.new_page()
    page.goto(server.url.replace("0.0.0.0", "127.0.0.1"))
    expect(page.locator("#now-title")).to_have_text("The token is needed to read")
    page.get_by_role("button", name="Enter token").click()
    page.get_by_label("Token", exact=True).fill(TOKEN)
    page.locator("#ask-go").click()
    expect(page.locator("#now-title")).to_have_text("Nothing is wrong")
    expect(row(page, "tools", "lookup")).to_have_count(1)
    shoot(page, "calm")
    recorder.uninstrument()
