"""`python -m tests.simulation`: run one simulation and print what it did and found."""

from __future__ import annotations

import argparse
import logging

from otel_tools import errors
from tests.simulation.report import table
from tests.simulation.run import Simulation


def main() -> None:
    """Run it, with the parameters of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0, help="virtual time")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=6200, help="things that happen; most are several calls")
    parser.add_argument("--names", type=int, default=2000, help="tool names that the model invents")
    options = parser.parse_args()
    logging.basicConfig()
    errors.raise_internal_errors = True
    simulation = Simulation(options.hours, options.seed, options.steps, options.names)
    print(table(simulation.run()))


if __name__ == "__main__":
    main()
