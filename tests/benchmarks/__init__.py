"""What BettiScope costs, measured: `python -m tests.benchmarks` (or `make bench`)."""
