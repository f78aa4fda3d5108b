"""Alerts on the telemetry itself: programs that fall silent, and the Collector."""

from __future__ import annotations

from typing import Final

from otel_tools.ops import records
from otel_tools.ops.expressions import any_of, marked
from otel_tools.ops.runbooks.guides.guide import Cause, Check, Guide

_DOCTOR: Final = "otel-tools doctor"
_TOOLS: Final = "otel-tools tools"
_SIGNALS: Final = {"spans": "spans", "data points": "metric_points", "log records": "log_records"}
"""Signal -> what the Collector's metrics call it."""

_STACK: Final = (
    "No command of otel-tools helps here; programs go on undisturbed. The Collector says at its health port (13133) "
    "whether it is up, and at `zpages` (55679) what passes."
)
_OPERATORS: Final = (
    "Who runs the Collector and the backends: at once when it is critical, else within the working day. Tell the teams "
    "of the services that their alerts are blind meanwhile."
)
_SILENCE: Final = "While the backend is down for maintenance, until it is back."


def _collector(metric: str, *by: str) -> str:
    """What the Collector counts of itself, for each signal; `_total` depends on how its metrics arrive."""
    return any_of(
        *(
            marked(
                f'sum by ({", ".join(by)}) (rate({{__name__=~"otelcol_{metric}_{what}(_total)?"}}[5m]))', "signal", name
            )
            for name, what in _SIGNALS.items()
        )
    )


_SENT: Final = Check("What leaves, a second?", _collector("exporter_sent", "exporter"))
_FAILED: Final = Check("What could not be sent?", _collector("exporter_send_failed", "exporter"))
_NOT_QUEUED: Final = Check("And what not even queued?", _collector("exporter_enqueue_failed", "exporter"))
_REFUSED: Final = Check("What is refused?", _collector("receiver_refused", "receiver", "transport"))
_ACCEPTED: Final = Check("What arrives, a second?", _collector("receiver_accepted", "receiver", "transport"))
_QUEUES: Final = Check(
    "How full are its queues?", "max by (exporter) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)"
)
_PROCESSES: Final = Check("How many processes of each service report?", records.PROCESSES)

_BACKEND_DOWN: Final = Cause(
    "The backend is down, slow or full.",
    "Sending fails for one exporter, its queue grows; the others are well.",
    "Jaeger or Prometheus: is it up, has its disk room? What is queued on disk arrives when it is back.",
)

GUIDES: Final = {
    "OtelToolsTelemetryAbsent": Guide(
        impact="If the program is down: everybody. If it only reports no more: nobody yet, but no other alert about it "
        "can fire.",
        computed="A service whose processes reported `otel_tools.instrumentation.status` for an hour of the last day "
        "reports none now (critical); or no service reports at all (warning).",
        checks=(_PROCESSES, _ACCEPTED, _SENT, _FAILED),
        look=(_TOOLS, _DOCTOR),
        causes=(
            Cause(
                "The program is down, or was shut down on purpose.",
                "`otel-tools tools`, on its machine, says that no process has reported.",
                "Start it, or see why it ended. A service that is gone for good resolves itself after a day.",
            ),
            Cause(
                "It runs without otel-tools since a deployment.",
                "The process is there, `otel-tools tools` does not know it.",
                "Start it with `opentelemetry-instrument`; `otel-tools doctor` in its environment says what is "
                "missing.",
            ),
            Cause(
                "Its telemetry does not get to the Collector.",
                "`otel-tools tools` knows the process; `otel-tools doctor`, in its environment, says that nothing "
                "accepts connections.",
                "`OTEL_EXPORTER_OTLP_ENDPOINT`, network, the Collector.",
            ),
            Cause(
                "The Collector or Prometheus is down, for all services.",
                "Nothing arrives or leaves in the queries above, or Prometheus does not answer them.",
                "See `OtelToolsCollectorSendFailed`.",
            ),
            Cause(
                "A program that only runs now and then (a batch job).",
                "It is always silent at this time.",
                "Exclude it: silence by `service_name`.",
            ),
        ),
        contain="None: find out first whether the program serves people. What operators set (`disable`, …) works "
        "without telemetry.",
        silence="For a service that was shut down on purpose, until it has been gone for a day; for a batch job, for "
        "good.",
        escalate="The team of the service at once, unless its users are well.",
    ),
    "OtelToolsTelemetryDropped": Guide(
        impact="Traces and log records with holes. Metrics, and the alerts on them, are not affected.",
        computed="What the OpenTelemetry SDK of the programs says of its own queues.",
        checks=(_REFUSED, _ACCEPTED, _QUEUES),
        look=(_DOCTOR,),
        causes=(
            Cause(
                "The Collector is away or does not accept.",
                "`otel-tools doctor`, in the program's environment, says so; `OtelToolsCollectorRefused` fires.",
                "The Collector.",
            ),
            Cause(
                "A burst: more spans than the queue holds.",
                "For minutes, at peaks.",
                "`OTEL_BSP_MAX_QUEUE_SIZE`, `OTEL_BLRP_MAX_QUEUE_SIZE`; sampling.",
            ),
            Cause(
                "Content is captured: records are large.",
                "`OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` is set.",
                "Switch it off, or lower `content_limit`.",
            ),
        ),
        contain="None needed: the program is not slowed down by it.",
        silence=_SILENCE,
        escalate="The team of the service; it can wait for the morning.",
    ),
    "OtelToolsCollectorRefused": Guide(
        impact="Programs keep what is refused and try again, then drop it: dashboards and alerts see less than there "
        "is.",
        computed="What the receivers of the Collector say that they refused.",
        checks=(_REFUSED, _ACCEPTED, _QUEUES, _FAILED),
        causes=(
            _BACKEND_DOWN,
            Cause(
                "It is at its memory limit (`memory_limiter`).",
                "It refuses on all receivers, and its log says so.",
                "More memory (with `GOMEMLIMIT` at 80 % of it), or a second Collector.",
            ),
            Cause(
                "Somebody sends what it does not take.",
                "One receiver, since a deployment; HTTP 400 in that program's log.",
                "That program.",
            ),
        ),
        contain=_STACK,
        silence=_SILENCE,
        escalate=_OPERATORS,
    ),
    "OtelToolsCollectorSendFailed": Guide(
        impact="Telemetry is lost for good. If it is metrics, every alert is blind in part.",
        computed="What the exporters of the Collector say that they could not send or queue, retries included.",
        checks=(_FAILED, _NOT_QUEUED, _SENT, _QUEUES),
        causes=(
            _BACKEND_DOWN,
            Cause(
                "The backend refuses the data itself.",
                "HTTP 400 in the Collector's log: out of order, too old, a label limit, delta temporality.",
                "The message names it. Prometheus takes cumulative metrics of the last 10 minutes only.",
            ),
            Cause(
                "The queue is full.",
                "`OtelToolsCollectorQueueFull` fired before.",
                "See there.",
            ),
        ),
        contain=_STACK,
        silence=_SILENCE,
        escalate=_OPERATORS,
    ),
    "OtelToolsCollectorQueueFull": Guide(
        impact="Nobody yet: data is late. When the queue is full it is lost.",
        computed="Size of an exporter's queue, of its capacity.",
        checks=(_QUEUES, _SENT, _FAILED),
        causes=(
            _BACKEND_DOWN,
            Cause(
                "More data than the backend takes.",
                "It sends all the time, and the queue grows at peaks.",
                "The tail sampling layer (`collector/tail-sampling.yaml`); a larger backend.",
            ),
        ),
        contain=f"{_STACK} A restart of the Collector does not empty queues on disk (traces, logs).",
        silence=_SILENCE,
        escalate=_OPERATORS,
    ),
}
