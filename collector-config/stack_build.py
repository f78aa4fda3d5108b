"""Builds the servers of the operations pack with Go, once, into a cache folder outside this tree.

Three modules pin them, each with checksums: `.` (Prometheus, Alertmanager, the Collector's builder), `collector` (what
the builder's manifest lists) and `jaeger`.
"""  # noqa: INP001  scripts beside the configuration they run, not a package

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent


class StackError(Exception):
    """What the person at the keyboard has to know, in one message."""


def say(line: str) -> None:
    """Tell how it goes."""
    print(line, flush=True)  # noqa: T201  this is a command


PROGRAMS: Final = {
    "prometheus": (".", "github.com/prometheus/prometheus/cmd/prometheus"),
    "promtool": (".", "github.com/prometheus/prometheus/cmd/promtool"),
    "alertmanager": (".", "github.com/prometheus/alertmanager/cmd/alertmanager"),
    "amtool": (".", "github.com/prometheus/alertmanager/cmd/amtool"),
    "builder": (".", "go.opentelemetry.io/collector/cmd/builder"),
    "otelcol": ("collector", ""),
    # a module of its own: it needs the Collector's libraries in 0.140, Prometheus needs 0.160, and neither compiles
    # with the other's
    "jaeger": ("jaeger", "github.com/jaegertracing/jaeger/cmd/jaeger"),
}
"""Name -> folder of its go.mod, and package; in the order they are built."""
_FLAGS: Final = ("-trimpath", "-ldflags=-s -w", "-tags=remove_all_sd", "-mod=readonly")
_DEBIAN: Final = {
    "promtool": ("prometheus", "usr/bin/promtool"),
    "alertmanager": ("prometheus-alertmanager", "usr/bin/prometheus-alertmanager"),
    "amtool": ("prometheus-alertmanager", "usr/bin/amtool"),
}
"""Name -> package and file. Not Prometheus: Debian's has no OTLP receiver. Collector and Jaeger are not in Debian."""


def binaries() -> Path:
    """The cache folder for exactly these versions on this kind of machine."""
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()}".encode())
    for folder in (".", "jaeger", "collector"):
        for name in ("go.mod", "go.sum"):
            digest.update((HERE / folder / name).read_bytes())
    digest.update((HERE / "collector-builder.yaml").read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "otel-tools" / "stack" / digest.hexdigest()[:16]


def missing() -> list[str]:
    """Names of the programs that are not built yet."""
    return [name for name in PROGRAMS if not (binaries() / name).exists()]


def build() -> Path:
    """Build what is missing.

    Raises:
        StackError: Go is not there, or a program could be had in no way.
    """
    folder = binaries()
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(folder / "lock"):
        todo = missing()
        if todo and not shutil.which("go"):
            raise StackError("make stack: needs Go 1.26 or newer to build the servers: https://go.dev/dl/")
        say(f"stack: {len(PROGRAMS) - len(todo)} of {len(PROGRAMS)} programs are in {folder}")
        failed = [name for name in todo if not _build_one(name, folder)]
    if failed:
        raise StackError(f"make stack: no {', '.join(failed)} (see above); the others are built, try again")
    return folder


def _build_one(name: str, folder: Path) -> bool:
    say(f"stack: building {name} ...")
    began = time.monotonic()
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        _compile(name, work)
    except (StackError, OSError) as error:
        say(f"stack: {name} could not be built: {error}")
        if not _from_debian(name, work):
            return False
    size = (work / name).stat().st_size / 1e6
    (work / name).replace(folder / name)
    shutil.rmtree(work, ignore_errors=True)
    say(f"stack: {name}: {size:.0f} MB in {time.monotonic() - began:.0f} s")
    return True


def _compile(name: str, work: Path) -> None:
    folder, package = PROGRAMS[name]
    if name == "otelcol":
        _compile_collector(work)
        return
    flags = [*_FLAGS]
    if name in {"alertmanager", "amtool"}:
        flags.append(f"-modfile={_alertmanager_without_ui(work)}")
    _run(["go", "build", *flags, "-o", str(work / name), package], HERE / folder)


def _compile_collector(work: Path) -> None:
    """The builder writes the program; the committed go.mod and go.sum say what it is made of, byte by byte."""
    source = work / "source"
    source.mkdir()
    for name in ("go.mod", "go.sum"):
        shutil.copy(HERE / "collector" / name, source)
    manifest = (HERE / "collector-builder.yaml").read_text().replace("./otelcol", str(source), 1)
    (work / "manifest.yaml").write_text(manifest)
    _run([str(binaries() / "builder"), f"--config={work / 'manifest.yaml'}", "--skip-get-modules"], work)
    (source / "otelcol").replace(work / "otelcol")


def _alertmanager_without_ui(work: Path) -> Path:
    """Its Go module lacks the user interface that its source embeds: a copy of the module gets a page in its place."""
    module = "github.com/prometheus/alertmanager"
    _run(["go", "mod", "download", module], HERE)
    copy = work / "alertmanager-module"
    original = _run(["go", "list", "-m", "-f", "{{.Dir}}", module], HERE).strip()
    shutil.copytree(original, copy, copy_function=shutil.copyfile)
    for folder in (copy, *filter(Path.is_dir, copy.rglob("*"))):
        folder.chmod(0o755)  # Go's cache is read-only
    (copy / "ui/app/dist").mkdir()
    (copy / "ui/app/dist/index.html").write_text("<!doctype html>The Go module has no user interface: /api/v2/alerts\n")
    for name in ("go.mod", "go.sum"):
        shutil.copy(HERE / name, work / name.replace("go", "alertmanager", 1))
    _run(["go", "mod", "edit", f"-replace={module}={copy}", str(work / "alertmanager.mod")], HERE)
    return work / "alertmanager.mod"


def _from_debian(name: str, work: Path) -> bool:
    if name not in _DEBIAN or not shutil.which("apt-get"):
        return False
    package, path = _DEBIAN[name]
    try:
        _run(["apt-get", "download", package], work)
        _run(["dpkg", "-x", *map(str, work.glob("*.deb")), "debian"], work)
        shutil.copy(work / "debian" / path, work / name)
    except (StackError, OSError) as error:
        say(f"stack: {name} from Debian's package {package}: {error}")
        return False
    say(f"stack: {name} is that of Debian's package {package}, not the version in go.mod (delete it to try again)")
    return True


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  ours
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if not line.startswith("go: downloading")]
        how = f"was ended by signal {-done.returncode}" if done.returncode < 0 else "failed"
        raise StackError(f"`{' '.join(command)}` {how}:\n" + "\n".join(lines[-15:]))
    return done.stdout


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock file *path*: two commands at the same time do their work one after the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
