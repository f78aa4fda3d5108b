"""`otel-tools tools`: the tools and LLM clients of a service, over all its processes."""

from __future__ import annotations

import click

from otel_tools.cli import overviews, reading


@click.command()
@reading.options
def command(**options: object) -> None:
    """Show the tools and LLM clients of a service: calls, errors, who disabled what and until when.

    Over all processes of the service that are running and have made a call.
    """
    reading.show("/tools", overviews.tools, circuits=False, **options)
