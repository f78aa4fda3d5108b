"""`otel-tools circuits`: the circuits of a service, over all its processes."""

from __future__ import annotations

import click

from otel_tools.cli import overviews, reading


@click.command()
@reading.options
def command(**options: object) -> None:
    """Show the circuits of a service: what is open, since when, and who set what by hand.

    Over all processes of the service that are running and have made a call.
    """
    reading.show("/circuits", overviews.circuits, circuits=True, **options)
