"""The networks a person may choose. Listing them imports neither torch nor torchvision."""

from analysis.models.registry import (
    MODELS,
    ModelSpec,
    list_models,
    load_model,
    model_problem,
    model_spec,
    prepare_images,
    weights_fingerprint,
    weights_problem,
)

__all__ = [
    "MODELS",
    "ModelSpec",
    "list_models",
    "load_model",
    "model_problem",
    "model_spec",
    "prepare_images",
    "weights_fingerprint",
    "weights_problem",
]
