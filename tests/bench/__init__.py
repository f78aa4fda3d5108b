"""What a call costs with otel-tools, beside the same call bare and with hand-written telemetry (`make bench`)."""
