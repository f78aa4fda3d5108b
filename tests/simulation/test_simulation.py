"""A shorter simulation, with other dice than `make simulate`; `pytest -s` shows its figures."""

from __future__ import annotations

from tests.simulation.report import table
from tests.simulation.run import Simulation


def test_traffic_with_faults() -> None:
    """Ten minutes of traffic with faults of every kind wedges, leaks and loses nothing (properties 6, 17, 18, 19)."""
    print("\n" + table(Simulation(10 / 60, seed=1, steps=700, names=140).run()))
