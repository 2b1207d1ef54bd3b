"""Benchmarks: each measures the service and its baseline in turn, in one run, on one machine. See README.md."""
