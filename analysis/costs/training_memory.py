"""The memory of a training step, predicted in advance. Asking needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from analysis.instruments.memory_use import MemoryUse
from analysis.jobs.estimates import Question
from analysis.options import Recipe, Scope


@dataclass(frozen=True)
class MemoryEstimate:
    """Training memory, predicted in two ways that must not be compared."""

    peak: MemoryUse  # of a training step, on fake tensors
    analytic: int  # bytes, by the analytic model of the paper: see `prediction.analytic_bytes`
    # Bytes beside the peak, where the frozen part runs once; None: not asked for, or not possible
    kept: int | None = None


@dataclass(frozen=True)
class MemoryRequest(Question[MemoryEstimate]):
    """Asks a worker to predict the training memory of one selection."""

    model: str  # a name that `analysis.models.model_spec` knows
    classes: int  # of the new head
    scope: Scope
    layers: tuple[str, ...] = ()  # that train, including the head if it does
    known: tuple[str, ...] = ()  # every layer of the model
    recipe: Recipe = field(default_factory=Recipe)  # only its batch size and optimiser matter
    weights: str = "pretrained"  # this and the next set the size of the images
    input_side: int = 0  # pixels; 0: the weights' own
    # Training and validation images, to predict what the frozen part's results take
    reused: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        # Fields that do not matter are reset, so that the same question is not asked twice.
        rest = Recipe(
            batch_size=self.recipe.batch_size,
            optimizer=self.recipe.optimizer,
            momentum=self.recipe.momentum,
            weight_decay=self.recipe.weight_decay,
        )
        object.__setattr__(self, "recipe", rest)
        if self.weights == "random":  # they take the same images as the pre-trained ones
            object.__setattr__(self, "weights", "pretrained")


def estimate(request: MemoryRequest) -> MemoryEstimate:
    """Predict the memory of training a model by name; neither weights nor data are loaded.

    Raises
    ------
    OptionError, ModelError, TrainingError
        With a sentence for the user.
    """
    from analysis.models import input_format
    from analysis.models.loading import empty_network
    from analysis.training.freezing import trained_names
    from analysis.training.prediction import analytic_bytes, predict_kept, predict_peak

    images = input_format(request.model, weights=request.weights, input_side=request.input_side)
    model = empty_network(request.model, request.classes, weights=request.weights)
    trained = trained_names(model, request.scope, request.layers, known=request.known)
    shape = (images.channels, images.height, images.width)
    counts = request.reused
    return MemoryEstimate(
        peak=predict_peak(model, shape, trained=trained, recipe=request.recipe),
        analytic=analytic_bytes(model, shape, trained=trained),
        kept=predict_kept(model, shape, trained=trained, counts=counts) if counts else None,
    )
