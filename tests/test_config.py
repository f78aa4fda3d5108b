"""Settings: precedence, conversion, and one clear message for everything that is wrong."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from otel_tools import config
from otel_tools.config import Capture, Settings, load, load_or_default
from otel_tools.errors import ConfigError
from otel_tools.policy.options import Circuit, Criticality, Limits, Mode, Policy, Unpriced
from otel_tools.settings import Admin, Control

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
EXAMPLE = """
mode: enforce
defaults: {tool: {timeout: 30s, circuit: {failures: 3, reset_after: 60s}, criticality: critical}}
tools:
  search_knowledge_base: {timeout: 5s, dependency: "search API, search.internal:8080"}
  get_user_preferences:  {criticality: optional}
clients: {openai: {circuit: {failures: 5, reset_after: 30s}}}
sessions: {max_iterations: 8, max_cost_usd: 0.50}
patch:
  tools: ["my_app.tools:TOOL_REGISTRY", "my_app.tools:search"]
  sessions: ["my_app.agent:run_session"]
"""


def write(directory: Path, text: str, name: str = "otel-tools.yaml") -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def failure(environ=None, directory=None, overrides=None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(environ or {}, directory, overrides)
    return str(caught.value)


def test_without_anything_policy_observes_and_nothing_is_captured(tmp_path):
    """The defaults: observe, a circuit for tools and none for clients, no content."""
    settings = load({}, tmp_path)

    assert settings == Settings()
    assert settings.policy("tool", "any") == (Policy(), Mode.OBSERVE)
    assert settings.policy("client", "openai") == (Policy(circuit=None), Mode.OBSERVE)
    assert settings.capture is Capture.NO_CONTENT


def test_the_example_of_the_design(tmp_path):
    """A full file becomes exactly these settings, each tool merged with the defaults."""
    path = write(tmp_path, EXAMPLE)

    assert load({}, tmp_path) == Settings(
        mode=Mode.ENFORCE,
        tool_defaults=Policy(timeout=30.0),
        tools={
            "search_knowledge_base": Policy(timeout=5.0, dependency="search API, search.internal:8080"),
            "get_user_preferences": Policy(timeout=30.0, criticality=Criticality.OPTIONAL),
        },
        clients={"openai": Policy(circuit=Circuit(failures=5, reset_after=30.0))},
        limits=Limits(max_iterations=8, max_cost_usd=0.5),
        patch_tools=("my_app.tools:TOOL_REGISTRY", "my_app.tools:search"),
        patch_sessions=("my_app.agent:run_session",),
        source=path,
    )


def test_code_beats_environment_beats_file(tmp_path):
    """Each source overrides the one below, key by key, also inside a tool's policy."""
    write(tmp_path, "mode: observe\ncontent_limit: 10\ntools: {a: {timeout: 1, circuit: {failures: 9}, owner: me}}")
    environ = {"OTEL_TOOLS_POLICY": "ENFORCE", "OTEL_TOOLS_CONTENT_LIMIT": "20"}

    settings = load(environ, tmp_path, {"content_limit": 30, "tools": {"a": {"circuit": {"reset_after": "2m"}}}})

    assert (settings.mode, settings.content_limit) == (Mode.ENFORCE, 30)
    assert settings.tools == {"a": Policy(timeout=1.0, circuit=Circuit(failures=9, reset_after=120.0), owner="me")}


def test_all_variables(tmp_path):
    """Every documented variable sets what the table says; empty ones count as unset."""
    environ = {
        "OTEL_TOOLS_CONFIG": "",
        "OTEL_TOOLS_POLICY": "enforce",
        "OTEL_TOOLS_DISCOVER": "false",
        "OTEL_TOOLS_DISABLED_LIBRARIES": "OpenAI, google_genai,",
        "OTEL_TOOLS_CONTENT_LIMIT": "100",
        "OTEL_TOOLS_STRICT": "true",
        "OTEL_TOOLS_STORE": "redis://redis.internal:6379/2",
        "OTEL_TOOLS_ADMIN": "0.0.0.0:9000",
        "OTEL_TOOLS_ADMIN_TOKEN": "let-me-in",
        CAPTURE: "span_and_event",
    }

    settings = load(environ, tmp_path)

    assert settings == Settings(
        mode=Mode.ENFORCE,
        discover=False,
        disabled_libraries=frozenset({"openai", "google-genai"}),
        content_limit=100,
        capture=Capture.SPAN_AND_EVENT,
        strict=True,
        control=Control(store="redis://redis.internal:6379/2"),
        admin=Admin(host="0.0.0.0", port=9000, token="let-me-in"),
    )
    assert "let-me-in" not in repr(settings)
    assert all(name in (config.__doc__ or "") for name in environ)


def test_the_whole_of_policy_and_control(tmp_path):
    """Every further key of policies, sessions, control and admin, as a file says it."""
    write(
        tmp_path,
        """strict: true
defaults: {tool: {circuit: {slow_after: 2s, failure_rate: 0.5, window: 30, minimum_calls: 5, min_span: 0}}}
tools: {search: {item_timeout: 3s, key: tenant}}
sessions: {max_duration: 2m, max_repeats: 3, max_tokens: 1000, unpriced: count_tokens}
control: {store: false, interval: 250ms, service: shop, share_circuits: true, quorum: 3}
admin: {host: 0.0.0.0, port: 0, hosts: [admin.internal]}
""",
    )
    circuit = Circuit(slow_after=2.0, failure_rate=0.5, window=30, minimum_calls=5)

    settings = load({}, tmp_path)

    assert settings.strict
    assert settings.tools == {"search": Policy(circuit=circuit, item_timeout=3.0, key="tenant")}
    assert settings.limits == Limits(max_duration=120.0, max_repeats=3, max_tokens=1000, unpriced=Unpriced.COUNT_TOKENS)
    assert settings.control == Control(store=None, interval=0.25, service="shop", share_circuits=True, quorum=3)
    assert settings.admin == Admin(host="0.0.0.0", port=0, hosts=("admin.internal",))


@pytest.mark.parametrize(
    ("text", "admin"),
    [
        ("true", Admin()),
        ("9000", Admin(port=9000)),
        ("[::1]:9000", Admin(host="::1", port=9000)),
        ("false", None),
    ],
)
def test_the_address_of_the_admin_server(text, admin):
    """`OTEL_TOOLS_ADMIN` switches the server on, names its port or its address; a token alone starts nothing."""
    assert load({"OTEL_TOOLS_ADMIN": text}, Path("nowhere")).admin == admin
    assert load({"OTEL_TOOLS_ADMIN_TOKEN": "x"}, Path("nowhere")).admin is None


@pytest.mark.parametrize(("text", "port"), [("::1", "::1"), ("on", "on"), ("host:", ""), ("1.2.3.4:99999", 99999)])
def test_a_wrong_address_of_the_admin_server(text, port):
    """What is no address is told with the variable and what a port may be."""
    assert failure({"OTEL_TOOLS_ADMIN": text}) == (
        "environment variable OTEL_TOOLS_ADMIN: port: "
        f"must be a port number, 0 to 65535 (0: any free one), not {port!r}"
    )


def test_one_process_is_no_quorum():
    """One process, which may be the sick one, cannot be enough to open circuits everywhere."""
    message = failure(overrides={"control": {"quorum": 1}})
    assert message == "settings given in code: control.quorum: must be a whole number, 2 or more, not 1"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"tools": {"a": {"circuit": {"minimum_calls": 30}}}},
            "tools.a: circuit minimum_calls (30) is more than its window (20)",
        ),
        (
            {"sessions": {"unpriced": "count_tokens"}},
            "sessions: unpriced: count_tokens needs max_tokens, the limit to count against",
        ),
        (
            {"sessions": {"max_repeats": 1}},
            "sessions: max_repeats must be 2 or more: every call is the first of its kind once",
        ),
        (
            {"defaults": {"tool": {"circuit": {"failure_rate": 0}}}},
            "defaults.tool: circuit failure_rate must be greater than 0 and at most 1, not 0.0",
        ),
    ],
)
def test_settings_that_do_not_go_together(overrides, message):
    """What is wrong only together with something else is told with the key it stands under."""
    assert failure(overrides=overrides) == message


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("250ms", 0.25), ("2m", 120), ("1h", 3600), ("1.5 s", 1.5), (7, 7), (0.5, 0.5)]
)
def test_durations(text, seconds):
    """Durations carry a unit; plain numbers are seconds."""
    assert load({}, Path("nowhere"), {"tools": {"a": {"timeout": text}}}).tools["a"].timeout == seconds


@pytest.mark.parametrize("wrong", ["-1s", 0, -3, "5 parsec", "", "s", True, [1], float("nan"), float("inf")])
def test_wrong_durations(wrong):
    """What is no positive duration is refused with the forms that are allowed."""
    message = failure(overrides={"tools": {"a": {"timeout": wrong}}})

    assert message.startswith(
        "settings given in code: tools.a.timeout: must be a duration greater than 0 such as 250ms"
    )


@pytest.mark.parametrize(
    ("value", "circuit"),
    [(False, None), (None, None), (True, Circuit(failures=9)), ({"failures": 2}, Circuit(failures=2))],
)
def test_a_circuit_can_be_switched(value, circuit):
    """`circuit: false` is no circuit, `true` that of the defaults, a mapping changes some of it."""
    overrides = {"defaults": {"tool": {"circuit": {"failures": 9}}}, "tools": {"a": {"circuit": value}}}

    assert load({}, Path("nowhere"), overrides).tools["a"].circuit == circuit


def test_a_client_gets_a_circuit_when_asked(tmp_path):
    """Clients have no circuit of their own accord; `true` or a default for clients gives them one."""
    on = load({}, tmp_path, {"clients": {"openai": {"circuit": True}, "anthropic": {"timeout": "1m"}}})
    default = load({}, tmp_path, {"defaults": {"client": {"circuit": {"failures": 5}}}})

    assert on.clients == {"openai": Policy(), "anthropic": Policy(circuit=None, timeout=60.0)}
    assert default.policy("client", "openai")[0] == Policy(circuit=Circuit(failures=5))


def test_policies_given_in_code_may_be_objects_with_functions(tmp_path):
    """`Policy` objects and functions are taken from code as they are."""
    policy = Policy(timeout=2.0, fallback=str, is_failure=bool, circuit=None, max_in_flight=4, mode=Mode.ENFORCE)

    settings = load({}, tmp_path, {"tools": {"a": policy}, "sessions": Limits(max_tokens=5)})

    assert settings.tools == {"a": policy}
    assert settings.limits == Limits(max_tokens=5)
    assert settings.policy("tool", "a") == (policy, Mode.ENFORCE)


def test_a_long_open_time_raises_its_bound():
    """An open time above the default bound is not cut by a bound that nobody set."""
    overrides = {"tools": {"a": {"circuit": {"reset_after": "1h"}}}}

    assert load({}, Path("nowhere"), overrides).tools["a"].circuit == Circuit(
        reset_after=3600.0, max_reset_after=3600.0
    )


def test_everything_wrong_in_a_file_is_told_at_once(tmp_path):
    """One error lists all problems with file, line, key and what is allowed."""
    path = write(
        tmp_path,
        """mode: enforc
defaults: {tool: {timeout: -30s, circuit: {failure: 3, jitter: 2}}}
tools:
  search: {timeout: 5s}
  search: 7
  3: {}
  lookup: {fallback: "my_app:other"}
clients: []
prices: {private: {input_per_million: .nan}}
patch: {tools: x:y, sessions: ["my-app:a"], discover: maybe}
sessions: {max_iterations: 2.5}
""",
    )
    a_duration = "a duration greater than 0 such as 250ms, 30s, 2m or 1h (a plain number is seconds), or null"
    names = "must be a list of dotted names such as 'my_app.tools:search'"

    assert failure(directory=tmp_path).splitlines() == [
        "15 settings are wrong:",
        f"  {path}, line 5: tools.search: stands here a second time",
        f"  {path}, line 1: mode: must be observe or enforce, not 'enforc'",
        f"  {path}, line 2: defaults.tool.timeout: must be {a_duration}, not '-30s'",
        (
            f"  {path}, line 2: defaults.tool.circuit.failure: unknown key (did you mean failures?); allowed: "
            "failures, reset_after, max_reset_after, jitter, lease, min_span, slow_after, failure_rate, window, "
            "minimum_calls"
        ),
        f"  {path}, line 2: defaults.tool.circuit.jitter: must be a number between 0 and 1, not 2",
        f"  {path}, line 3: tools: the key 3 is not a text; put it in quotes",
        f"  {path}, line 5: tools.search: must hold keys and values, not 7",
        (
            f"  {path}, line 7: tools.lookup.fallback: must be a function (it can only be set in code), or null, "
            "not 'my_app:other'"
        ),
        f"  {path}, line 8: clients: must hold keys and values, not []",
        f"  {path}, line 9: prices.private: output_per_million is missing",
        f"  {path}, line 9: prices.private.input_per_million: must be a number, 0 or more, not nan",
        f"  {path}, line 10: patch.tools: {names}, not 'x:y'",
        f"  {path}, line 10: patch.sessions: {names}, not ['my-app:a']",
        f"  {path}, line 10: patch.discover: must be true or false, not 'maybe'",
        f"  {path}, line 11: sessions.max_iterations: must be a whole number greater than 0, or null, not 2.5",
    ]


def test_problems_of_all_sources_are_told_together(tmp_path):
    """A wrong variable and a wrong setting in code are named as such, beside the file's."""
    path = write(tmp_path, "nonsense: 1")

    message = failure({"OTEL_TOOLS_POLICY": "strict", "OTEL_TOOLS_CONTENT_LIMIT": "-1"}, tmp_path, {"tools": 3})

    allowed = "mode, defaults, tools, clients, sessions, patch, capture, content_limit, prices, strict, control, admin"
    allowed += ", alerts, slos, links"
    assert message.splitlines() == [
        "4 settings are wrong:",
        f"  {path}, line 1: nonsense: unknown key; allowed: {allowed}",
        "  environment variable OTEL_TOOLS_POLICY: must be observe or enforce, not 'strict'",
        "  environment variable OTEL_TOOLS_CONTENT_LIMIT: must be a whole number greater than 0, not '-1'",
        "  settings given in code: tools: must hold keys and values, not 3",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tools: {a: [}", "{path}, line 1, column 13: is not valid YAML: expected the node content, but found '}}'"),
        ("a: *b", "{path}, line 1, column 4: is not valid YAML: found undefined alias 'b'"),
        ("a: \x01", "{path}: is not valid YAML: unacceptable character #x0001: special characters are not allowed"),
        ("a: !!python/name:os.system", None),
        ("- a", "{path}: must hold keys and values, not ['a']"),
    ],
)
def test_files_that_are_no_yaml_mapping(tmp_path, text, message):
    """Broken YAML is told with line and column, and nothing is executed."""
    path = write(tmp_path, text)

    told = failure(directory=tmp_path)

    assert told == message.format(path=path) if message else "could not determine a constructor" in told


def test_a_file_that_refers_to_itself_is_refused(tmp_path):
    """A recursive alias ends in an error, not in endless recursion."""
    write(tmp_path, "tools: &a {x: *a}")

    assert "tools.x.x: unknown key" in failure(directory=tmp_path)


def test_files_that_cannot_be_read(tmp_path):
    """A named file must be there and hold text; a missing default file is nothing wrong."""
    (tmp_path / "latin.yaml").write_bytes(b"mode: \xff")

    assert failure({"OTEL_TOOLS_CONFIG": "no.yaml"}, tmp_path) == (
        f"{tmp_path / 'no.yaml'}: cannot be read: No such file or directory"
    )
    assert failure({"OTEL_TOOLS_CONFIG": str(tmp_path)}) == f"{tmp_path}: cannot be read: Is a directory"
    assert failure({"OTEL_TOOLS_CONFIG": "latin.yaml"}, tmp_path) == (
        f"{tmp_path / 'latin.yaml'}: is not UTF-8 text: invalid start byte at byte 6"
    )


def test_where_the_file_is_looked_for(tmp_path):
    """The named file, else `otel-tools.yaml`, else `otel-tools.yml`; an empty file is fine."""
    yml = write(tmp_path, "mode: enforce", "otel-tools.yml")
    named = write(tmp_path, "content_limit: 5", "other.yaml")

    assert load({}, tmp_path) == Settings(mode=Mode.ENFORCE, source=yml)
    assert load({"OTEL_TOOLS_CONFIG": "other.yaml"}, tmp_path) == Settings(content_limit=5, source=named)
    yaml = write(tmp_path, "# nothing yet\n")
    assert load({}, tmp_path) == Settings(source=yaml)


def test_an_unknown_capture_mode_warns_and_captures_nothing(tmp_path, caplog):
    """As the conventions' other packages do: `true` is no mode."""
    with caplog.at_level(logging.WARNING):
        settings = load({CAPTURE: "true"}, tmp_path, {})

    assert settings.capture is Capture.NO_CONTENT
    assert caplog.messages == [
        (
            f"{CAPTURE} must be one of NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT, not 'true'; "
            "content is not captured"
        )
    ]


def test_a_wrong_configuration_is_logged_once_and_the_defaults_apply(tmp_path, caplog):
    """The program must start, and must not be told again and again."""
    path = write(tmp_path, "mode: 3")

    with caplog.at_level(logging.ERROR):
        assert [load_or_default({}, tmp_path), load_or_default({}, tmp_path)] == [Settings(), Settings()]

    assert caplog.messages == [
        (
            "otel-tools ignores its file and variables, and goes on with the defaults: "
            f"{path}, line 1: mode: must be observe or enforce, not 3"
        )
    ]


def test_what_code_gives_is_kept_beside_a_wrong_file_and_must_be_right_itself(tmp_path):
    """A wrong file does not take the program's own settings away; wrong settings in code are raised there."""
    write(tmp_path, "mode: 4")

    assert load_or_default({}, tmp_path, {"content_limit": 7}) == Settings(content_limit=7)
    with pytest.raises(ConfigError, match="settings given in code: mode: must be observe or enforce, not 5"):
        load_or_default({}, tmp_path, {"mode": 5})


def test_prices_of_private_models(tmp_path):
    """Prices are numbers per million tokens, and input and output must both be known."""
    prices = {"our-model": {"input_per_million": 1, "output_per_million": 2.5, "cache_read_per_million": 0}}

    assert load({}, tmp_path, {"prices": prices}).prices == prices


def test_yaml_is_not_imported_without_a_file(tmp_path):
    """PyYAML costs start-up time only where there is a file."""
    code = "import sys, otel_tools.config as c; c.load({}); print('yaml' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
