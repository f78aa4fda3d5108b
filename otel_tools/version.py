"""The version of otel-tools, once."""

__version__ = "0.1.0"
