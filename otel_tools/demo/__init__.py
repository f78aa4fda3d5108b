"""What `otel-tools demo` runs: an agent program, a scripted LLM server and a service that can be made to fail."""
