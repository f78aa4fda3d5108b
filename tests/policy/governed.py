"""Decorated tools on an engine whose circuits live on a clock that the test moves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from otel_tools.config import load
from otel_tools.engine import Engine, activate
from otel_tools.policy import Attempt, Circuit, Pipeline, Transition, Verdict
from otel_tools.telemetry import Telemetry
from tests.policy.tools import Clock
from tests.recorder import Recorder

LONG = 60.0
"""Seconds; no test waits that long."""

CIRCUIT = Circuit(jitter=0.0)
"""Opens after 3 failures, for 60 s."""


class Down(ConnectionError):
    """The dependency does not answer."""


class Rejected(Exception):
    """The dependency calls the request wrong: neutral."""

    status_code = 404


class Limited(Exception):
    """The dependency says when to come back."""

    status_code = 429
    headers = {"retry-after": "20"}  # noqa: RUF012  read only


class Watched(Telemetry):
    """Telemetry that keeps the transitions it writes."""

    def __init__(self, *providers: Any) -> None:
        super().__init__(*providers)
        self.transitions: list[Transition] = []

    def transition(self, transition: Transition, *args: Any, **kwargs: Any) -> None:
        """Keep it, and write it."""
        self.transitions.append(transition)
        super().transition(transition, *args, **kwargs)


class Governed:
    """An engine at work, its clock, its signals, and what was reported to policy."""

    def __init__(self, recorder: Recorder, mode: str) -> None:
        self.clock, self.recorder = Clock(), recorder
        providers = (recorder.tracer_provider, recorder.meter_provider, recorder.logger_provider)
        self.telemetry = Watched(*providers)
        settings = load({"OTEL_TOOLS_STORE": "false"}, overrides={"mode": mode})
        self.engine = Engine(settings, self.telemetry, clock=self.clock)

    def pipeline(self, name: str) -> Pipeline:
        """The pipeline of a tool."""
        return self.engine.tool_pipeline(name)

    @property
    def log(self) -> list[tuple[str, str, str, float | None]]:
        """The transitions so far: from, to, why, and for how long."""
        return [(str(one.from_), str(one.to), one.reason, one.retry_after) for one in self.telemetry.transitions]

    @property
    def outcomes(self) -> list[str]:
        """How the calls ended, in the order in which they did."""
        return [span["attributes"]["otel_tools.outcome"] for span in self.recorder.spans]


@contextlib.contextmanager
def governed(recorder: Recorder | None = None, mode: str = "enforce") -> Iterator[Governed]:
    """An engine for the time of a block."""
    own = recorder or Recorder()
    found = Governed(own, mode)
    activate(found.engine)
    try:
        yield found
    finally:
        activate(None)
        if recorder is None:
            own.shutdown()


class Doorstep:
    """Who was let in by policy, and what was reported of each."""

    def __init__(self, monkeypatch: Any) -> None:
        self.admitted: list[Attempt] = []
        self.settled: list[tuple[Attempt, Verdict]] = []
        admit, settle = Pipeline.admit, Pipeline.settle

        def watched_admit(pipeline: Pipeline, *args: Any, **kwargs: Any) -> Any:
            answer = admit(pipeline, *args, **kwargs)
            if isinstance(answer, Attempt):
                self.admitted.append(answer)
            return answer

        def watched_settle(pipeline: Pipeline, attempt: Attempt, verdict: Verdict, *args: Any, **kwargs: Any) -> None:
            self.settled.append((attempt, verdict))
            settle(pipeline, attempt, verdict, *args, **kwargs)

        monkeypatch.setattr(Pipeline, "admit", watched_admit)
        monkeypatch.setattr(Pipeline, "settle", watched_settle)
