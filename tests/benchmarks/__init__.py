"""Measure the time and memory that BettiScope takes: `python -m tests.benchmarks` (or `make bench`)."""
