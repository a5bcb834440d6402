"""Stands in for torch where a worker only sets the number of threads."""


def set_num_threads(count: int) -> None:
    """There is nothing to compute."""
