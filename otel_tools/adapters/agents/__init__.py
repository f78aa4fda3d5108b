"""One file per agent runner."""
