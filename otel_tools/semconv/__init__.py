"""Every name that otel-tools puts on the wire, once: attributes, metrics, events and label values.

The `gen_ai.*`, `mcp.*` and `openai.*` names are those of the OpenTelemetry GenAI semantic conventions as the official
Python packages emit them in November 2026; `otel_tools.*` is what the conventions do not cover yet (policy, cost,
sessions). The conventions are still moving: a switch to their next names is a change of the tables in this package.
"""

from otel_tools.semconv.attributes import *  # noqa: F403  one vocabulary, in two files
from otel_tools.semconv.metrics import *  # noqa: F403  same
