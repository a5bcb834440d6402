"""Stands in for torch where a worker only tells it how many threads to use."""


def set_num_threads(count: int) -> None:
    """There is nothing to compute."""
