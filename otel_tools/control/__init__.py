"""Seeing and steering policy while programs run: operators' overrides in a store, reports of every process, admin."""
