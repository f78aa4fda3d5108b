"""An hour of an agent program's traffic, with faults of every kind, on a virtual clock (`make simulate`)."""
