"""Readers of wire formats that several clients speak."""
