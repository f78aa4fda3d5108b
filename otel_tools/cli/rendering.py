"""What `rules`, `dashboards` and `runbook` do with the files that they render: write them, print them or compare."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

import click

from otel_tools.errors import OtelToolsError

OUT = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write the files there instead of printing them.",
)
CHECK = click.option(
    "--check", is_flag=True, help="Write nothing; say what in DIR is different, and fail if anything is."
)


def deliver(files: Mapping[str, str], out: Path | None, *, check: bool) -> None:
    """Write *files* (name -> text) to *out*, print them without it, or compare.

    Raises:
        OtelToolsError: There is a difference, or a file cannot be written.
    """
    if out is None:
        if check:
            raise click.UsageError("--check needs --out DIR, the folder to look at")
        for name, text in files.items():
            click.echo(text if len(files) == 1 else f"--- {name}\n{text}")
    elif check:
        _compare(files, out)
    else:
        _write(files, out)


def _write(files: Mapping[str, str], out: Path) -> None:
    changed = [name for name, text in files.items() if _read(out / name) != text]
    try:
        for name in changed:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text(files[name], encoding="utf-8")
    except OSError as error:
        raise OtelToolsError(f"{error.filename}: cannot be written: {error.strerror}") from error
    click.echo(f"{out}: {len(files)} files, {len(changed)} of them changed")


def _compare(files: Mapping[str, str], out: Path) -> None:
    different = [name for name, text in files.items() if _read(out / name) != text]
    for name in different:
        before, after = (_read(out / name) or "").splitlines(), files[name].splitlines()
        for line in difflib.unified_diff(before, after, str(out / name), "as rendered", n=1, lineterm=""):
            click.echo(line)
    if different:
        raise OtelToolsError(f"{out}: {len(different)} of {len(files)} files differ: {', '.join(different)}")
    click.echo(f"{out}: {len(files)} files, as rendered")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
