"""Names of the main program are replaced as they come into being, and the program notices nothing else of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from otel_tools import mainscript

SITE = """
import os
if os.environ.get("WANTED"):
    import functools
    from otel_tools import mainscript

    def marked(value):
        if "UNCHANGED" in os.environ:
            return value
        if isinstance(value, dict):
            for key, entry in value.items():
                value[key] = marked(entry)
            return value
        if hasattr(value, "mark") or not callable(value):
            return value

        @functools.wraps(value)
        def call(*args, **kwargs):
            return "marked " + str(value(*args, **kwargs))

        call.mark = True
        return call

    mainscript.bind(dict.fromkeys(os.environ["WANTED"].split(","), marked))
"""


@pytest.fixture
def program(tmp_path):
    """A folder for a program, with a start-up file beside it as `opentelemetry-instrument` has one."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    folder = tmp_path / "program"
    (folder / "pkg").mkdir(parents=True)
    (folder / "pkg" / "__init__.py").write_text("")
    return folder


def run(folder: Path, *command: str, wanted: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    package = str(Path(mainscript.__file__).parent)
    site = str(folder.parent / "site")
    environ = {**os.environ, "PYTHONPATH": site, "PACKAGE": package, "WANTED": wanted, **environ}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def output(folder: Path, *command: str, wanted: str) -> list[str]:
    done = run(folder, *command, wanted=wanted)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


PROGRAM = """
import asyncio

def search():
    return "search"

async def fetch():
    return "fetch"

class Agent:
    def run(self):
        return "run"

TOOLS = {"search": search}

def register(function):
    TOOLS[function.__name__] = function
    return function

@register
def late():
    return "late"

TOOLS["direct"] = lambda: "direct"

def other():
    return "other"

async def main():
    print(search(), await fetch() if not hasattr(fetch, "mark") else "marked fetch", Agent().run(), other())
    print([tool() for tool in TOOLS.values()])

if __name__ == "__main__":
    def local():
        return "local"
    print(local())
    asyncio.run(main())
"""


@pytest.mark.parametrize("command", [("agent.py",), ("./agent.py",), ("-u", "-Walways", "agent.py"), ("-m", "agent")])
def test_wanted_names_are_replaced(program, command):
    """Functions, methods and registries are replaced, those registered later, too; nothing else is."""
    (program / "agent.py").write_text(PROGRAM)

    assert output(program, *command, wanted="search,fetch,Agent.run,TOOLS,local") == [
        "marked local",
        "marked search marked fetch marked run other",
        "['marked search', 'marked late', 'marked direct']",
    ]


@pytest.mark.parametrize("path", ["pkg/tool.py", "pkg/tool/__main__.py"])
def test_modules_of_packages(program, path):
    """`-m pkg.tool` is the module or, if that is a package, its `__main__`."""
    (program / path).parent.mkdir(exist_ok=True)
    (program / path).write_text("def search():\n    return 'search'\nprint(search(), __name__, __spec__.name)\n")
    name = path.removesuffix(".py").replace("/", ".")

    assert output(program, "-m", "pkg.tool", wanted="search") == [f"marked search __main__ {name}"]


def test_the_main_module_imported_once_more(program):
    """A program that is also imported under its own name has the names replaced there as well."""
    (program / "agent.py").write_text(
        "def search():\n    return __name__\nimport agent\nprint(search(), agent.search())\n"
    )

    assert output(program, "agent.py", wanted="search") == [
        "agent agent",
        "marked __main__ marked agent",
    ]


def test_names_that_are_bound_in_loops_and_by_functions(program):
    """Statements in a loop are followed by a call only if they bind a wanted name; `global` counts."""
    (program / "agent.py").write_text(
        "for number in range(2):\n"
        "    def search():\n"
        "        return number\n"
        "    print(search())\n"
        "def setup():\n"
        "    global TOOL\n"
        "    TOOL = lambda: 'tool'\n"
        "    print(TOOL())\n"
        "setup()\n"
    )

    assert output(program, "agent.py", wanted="search,TOOL") == ["marked 0", "marked 1", "marked tool"]


FACTS = '''# -*- coding: latin-1 -*-
"""The docstring."""
from __future__ import annotations
from __future__ import generator_stop
import sys, os, inspect, warnings

def search(a: Undefined = 1) -> Undefined:
    return "caf\u00e9"

names = sorted(set(globals()) - {"names"})
if __name__ == "__main__":
    print(ascii(search()).removeprefix("'marked ").strip("'"), search.__annotations__, inspect.signature(search))
    print(names, __name__, __doc__, __file__, __package__, __cached__ and "cached", type(__loader__).__name__)
    print(__spec__ and __spec__.name, __loader__.get_filename())
    print(sys.argv, sys.orig_argv, sys.path[0], len(sys.path), len(sys.path_hooks), sys.flags)
    print([finder for finder in sys.meta_path if "otel_tools" in type(finder).__module__])
    print(open("data.txt").read(), os.getcwd(), inspect.getsource(search), inspect.getsourcefile(search))
    print(eval("1 + 1"), warnings.warn("look here"), sys.stdin.read())
'''
TRACEBACK = """
def search():
    raise ValueError("wrong")

def main():
    try:
        search()
    except ValueError as error:
        raise RuntimeError("worse") from error

main()
"""
SPAWN = """
import multiprocessing

def search(number):
    return number * 2

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(int, ["1", "2"]), pool.map(search, [21]) == [42] or pool.map(search, [21]) == ["marked 42"])
"""
PROGRAMS = {
    "facts": FACTS,
    "traceback": TRACEBACK,
    "spawn": SPAWN,
    "syntax error": "def search():\n    return 1\n\nif search(:\n    pass\n",
    "exit": "import sys\ndef search(): ...\nsys.exit(3)\n",
    "exit with a message": "def search(): ...\nraise SystemExit('bye')\n",
    "hook": (
        "import sys\ndef search(): ...\n"
        "sys.excepthook = lambda kind, error, trace: print('hook', kind, error, trace.tb_frame.f_code.co_name)\n1/0\n"
    ),
    "exec": (
        "def search(): ...\nprint(__name__)\nimport runpy\n"
        "if __name__ == '__main__': runpy.run_path(__file__, run_name='again')\n"
    ),
    "pickle": "import pickle\ndef search(): ...\nprint(pickle.loads(pickle.dumps(search)) is search)\n",
}


COMMANDS = [(name, ("agent.py", "-x", "y")) for name in PROGRAMS]
COMMANDS += [(name, ("-m", "pkg.agent", "-x", "y")) for name in ("facts", "traceback", "spawn")]
COMMANDS += [("facts", ("-P", "./agent.py"))]


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_a_program_runs_as_it_would_without_us(program, name, command):
    """Output, errors, tracebacks and exit status are the same as when nothing is wanted of the program."""
    for path in ("agent.py", "pkg/agent.py"):
        (program / path).write_text(PROGRAMS[name], encoding="latin-1")
    (program / "data.txt").write_text("data")

    plain, bound = run(program, *command), run(program, *command, wanted="search", UNCHANGED="1")

    assert (bound.stdout, bound.stderr, bound.returncode) == (plain.stdout, plain.stderr, plain.returncode)
    assert plain.stdout or plain.stderr or plain.returncode


def test_an_interrupted_program_dies_of_the_signal(program):
    """Ctrl-C ends a program with the status that shells expect."""
    (program / "agent.py").write_text("import os, signal\ndef search(): ...\nos.kill(os.getpid(), signal.SIGINT)\n")

    plain, bound = run(program, "agent.py"), run(program, "agent.py", wanted="search")

    assert plain.returncode == bound.returncode == -signal.SIGINT
    assert plain.stderr == bound.stderr


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("print('runs')", True),
        ("from pkg import *\nprint('runs')", False),
        ("with open(__file__) as search, open(__file__) as TOOLS:\n    print('runs')", False),
        ("import json as search, os.path as TOOLS\nprint('runs')", False),
    ],
)
def test_a_name_that_the_program_does_not_define_is_told_once(program, source, told):
    """A wrong name is one warning when the program starts; what may come from elsewhere is not complained about."""
    (program / "agent.py").write_text(source)

    done = run(program, "agent.py", wanted="search,TOOLS")

    message = "otel-tools: the configuration names TOOLS, search, which the main program does not define\n"
    assert (done.stdout, done.stderr) == ("runs\n", message if told else "")


def test_a_program_that_starts_us_itself(program):
    """Started from within the main program, what it has defined by then is replaced, the rest is told."""
    (program / "agent.py").write_text(f"def search():\n    return 'search'\n{SITE}\nprint(search())\nTOOLS = {{}}\n")

    (program.parent / "site" / "sitecustomize.py").unlink()
    done = run(program, "agent.py", wanted="search,TOOLS")

    assert done.stdout == "marked search\n"
    assert done.stderr == (
        "otel-tools: the configuration names TOOLS, which the main program does not define yet; "
        "start it with `opentelemetry-instrument`, or use the decorators\n"
    )


@pytest.mark.parametrize(
    "command", [("app.pyz",), ("folder",), ("-c", "def search(): return 'search'\nprint(search())")]
)
def test_programs_without_a_file_of_their_own_run_untouched(program, command):
    """Zip applications, folders and `-c` are no scripts; they run as ever."""
    import zipapp

    (program / "folder").mkdir()
    (program / "folder" / "__main__.py").write_text("def search():\n    return 'search'\nprint(search())")
    zipapp.create_archive(program / "folder", program / "app.pyz")

    assert output(program, *command, wanted="search") == ["search"]


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["agent.py", "-m", "x"], ("script", "agent.py")),
        (["-u", "-X", "dev", "-Wignore", "agent.py"], ("script", "agent.py")),
        (["-um", "pkg.agent", "x"], ("module", "pkg.agent")),
        (["-mpkg.agent"], ("module", "pkg.agent")),
        (["-W", "error", "-c", "pass", "agent.py"], ("", "")),
        (["--check-hash-based-pycs", "always", "agent.py"], ("script", "agent.py")),
        (["-"], ("", "")),
        ([], ("", "")),
    ],
)
def test_what_python_was_told_to_run(arguments, command):
    """The command line is read as Python reads it."""
    assert mainscript._command(arguments) == command


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["/srv/my-app/agents/support.py"], {"__main__", "support", "agents.support"}),
        (["-m", "agents.support"], {"__main__", "agents.support", "agents.support.__main__"}),
        (["-c", "pass"], {"__main__"}),
    ],
)
def test_names_of_the_main_module(monkeypatch, arguments, names):
    """A configuration may use the names by which the main program could be imported."""
    monkeypatch.setattr(sys, "orig_argv", ["python", *arguments])

    assert mainscript.main_module_names() == names


def test_the_whole_of_it(program):
    """Under `opentelemetry-instrument` a configured registry of the script itself is instrumented: a span a call."""
    (program / "otel-tools.yaml").write_text("patch: {tools: ['agent:TOOLS']}\n")
    (program / "agent.py").write_text(
        "def search(query):\n    return query\n\nTOOLS = {'search': search}\n\nif __name__ == '__main__':\n"
        "    print(TOOLS['search'](query='x'))\n"
    )
    instrument = Path(sys.executable).with_name("opentelemetry-instrument")
    exporters = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}

    command = [instrument, sys.executable, "agent.py"]
    environ = {**os.environ, **exporters}
    done = subprocess.run(command, cwd=program, env=environ, capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.startswith("x\n")
    assert [line for line in done.stdout.splitlines() if '"name"' in line] == ['    "name": "execute_tool search",']
