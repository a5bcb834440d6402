"""The networks a person may choose. Listing them imports neither torch nor torchvision."""

from analysis.models.registry import (
    MODELS,
    ModelSpec,
    list_models,
    load_model,
    prepare_images,
    weights_fingerprint,
)

__all__ = [
    "MODELS",
    "ModelSpec",
    "list_models",
    "load_model",
    "prepare_images",
    "weights_fingerprint",
]
