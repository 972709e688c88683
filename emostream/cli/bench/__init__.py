"""Measurements of this machine, each beside a reference in the same run."""
