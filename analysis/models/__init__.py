"""The networks to choose from. Listing them imports neither torch nor torchvision."""

from analysis.models.catalogue import MODELS, ModelSpec, WeightSet
from analysis.models.fetching import fetch_weights, megabytes_to_fetch
from analysis.models.input_side import side_of_input
from analysis.models.kept_checkpoints import (
    Checkpoint,
    CheckpointRequest,
    keep_checkpoint,
    own_checkpoints,
    remove_checkpoint,
)
from analysis.models.names import (
    head_problem,
    model_and_weights_problems,
    model_problem,
    model_spec,
    spec_of,
    weights_choices,
    weights_problem,
)
from analysis.models.registry import (
    check_head,
    checkpoint_notes,
    input_format,
    learn_code,
    list_models,
    load_model,
    prepare_images,
    weights_fingerprint,
)

__all__ = [
    "MODELS",
    "Checkpoint",
    "CheckpointRequest",
    "ModelSpec",
    "WeightSet",
    "check_head",
    "checkpoint_notes",
    "fetch_weights",
    "head_problem",
    "input_format",
    "keep_checkpoint",
    "learn_code",
    "list_models",
    "load_model",
    "megabytes_to_fetch",
    "model_and_weights_problems",
    "model_problem",
    "model_spec",
    "own_checkpoints",
    "prepare_images",
    "remove_checkpoint",
    "side_of_input",
    "spec_of",
    "weights_choices",
    "weights_fingerprint",
    "weights_problem",
]
