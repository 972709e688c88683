"""Benchmarks of this machine. Each measures a reference in the same run."""
