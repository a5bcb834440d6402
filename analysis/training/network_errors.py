"""What a network raises while it trains, as a sentence for the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from analysis.errors import AnalysisError, TrainingError, is_out_of_memory
from analysis.instruments.pass_errors import LEFT_BEHIND, OTHER_DEVICE, without_forward

# Words of torch's errors, and what they mean for the user.
_KNOWN = {
    "modified by an inplace operation": (
        "The network alters a tensor in place that its backward pass still needs, so torch refuses "
        "to train it. Use an operation there that returns a new tensor."
    ),
    "Expected more than 1 value per channel": (
        "The network's norms need at least two images in each batch. Use a larger batch size, or "
        "more training images."
    ),
    **dict.fromkeys(
        ("Input type (float) and", "dtype, but got Float and", "dtype, but got: float"),
        "The network's weights are of another number format than the images, which are float32. "
        "Call its method `float` before the training.",
    ),
    "does not require grad": (
        "No gradient reaches the network's layers: its output is detached or computed without "
        "gradients. Change the network, or choose other layers."
    ),
    "backward through the graph a second time": (
        "The network keeps tensors of an earlier step, so torch refuses to train it. Detach what "
        "it keeps between two steps."
    ),
}


@contextmanager
def explain_network_errors() -> Iterator[None]:
    """Raise what a network's own code raises as a `TrainingError`.

    Memory that ran out stays as it is: the caller has better advice.
    """
    try:
        yield
    except AnalysisError:
        raise
    except Exception as error:  # a network's own code may raise anything
        if is_out_of_memory(error):
            raise
        raise TrainingError(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    message = str(error)
    if OTHER_DEVICE.search(message):
        return LEFT_BEHIND
    if missing := without_forward(error):
        return missing
    for words, sentence in _KNOWN.items():
        if words in message:
            return sentence
    line = next((line for line in message.splitlines() if line.strip()), "no reason given")
    return f"The network could not be trained ({type(error).__name__}: {line})."
