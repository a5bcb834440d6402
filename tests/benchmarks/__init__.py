"""BettiScope's time and memory, measured: `python -m tests.benchmarks` (or `make bench`)."""
