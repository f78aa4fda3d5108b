"""One file per LLM client."""
