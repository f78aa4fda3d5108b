"""The operations pack on real servers: one stack for all these tests, on free ports, when it has been built."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.servers import QUICK, Webhook

sys.path.insert(0, str(Path(__file__).parents[2] / "collector-config"))

import stack_build
from stack import Ports, Stack


@pytest.fixture(scope="session")
def binaries() -> Path:
    """The folder with the built servers."""
    if missing := stack_build.missing():
        pytest.skip(f"the stack is not built (no {', '.join(missing)}): run `make stack`")
    return stack_build.binaries()


@pytest.fixture(scope="session")
def webhook() -> Iterator[Webhook]:
    """Where the notifications of the stack's Alertmanager arrive."""
    with Webhook().running() as webhook:
        yield webhook


@pytest.fixture(scope="session")
def stack(binaries: Path, webhook: Webhook, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack without further layers."""
    directory = tmp_path_factory.mktemp("stack")
    with Stack(ports=Ports.free(), directory=directory, webhook=webhook.url, environment=QUICK) as stack:
        yield stack
