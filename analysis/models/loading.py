"""Build a network and load its weights. Imported only when a model is loaded: it needs torch."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from analysis.errors import ModelError
from analysis.instruments.activations import watch
from analysis.instruments.behaviour import fill_lazy_layers
from analysis.instruments.output_flow import OutputFlow
from analysis.models.catalogue import ModelSpec
from analysis.models.checkpoint_files import read_checkpoint
from analysis.models.checkpoint_shapes import vit_side
from analysis.models.checkpoints import FittedWeights, fit_state
from analysis.models.code_facts import recorded_files, save_facts
from analysis.models.input_side import built_shape, side_of_input
from analysis.models.names import FILE, model_spec, most_bytes
from analysis.models.own_code import code_network
from analysis.models.own_input import preprocessing_for
from analysis.models.pocket import POCKET_BUILDERS
from analysis.models.timm_models import timm_network
from analysis.models.weights_files import damage_error, pocket_state, torchvision_state
from analysis.progress import ProgressCallback
from analysis.system.torchvision_guard import torchvision

_SOME_CLASSES = 2  # for a network that cannot be built without a number of classes

# Auxiliary classifiers help only when training from scratch. The input is transformed as for
# torchvision's weights, whatever the weights, because the images are prepared alike.
_OPTIONS = {
    "googlenet": {"aux_logits": False, "transform_input": True},
    "inception_v3": {"aux_logits": False, "transform_input": True},
}


def build_model(
    spec: ModelSpec,
    weights: str,
    seed: int,
    num_classes: int | None,
    progress: ProgressCallback | None = None,
    key: str = "",
) -> nn.Module:
    """Do the work of `analysis.models.load_model`, with arguments that are already checked."""
    with _seed_weights(seed):
        if weights.startswith(FILE):
            checkpoint = fit_checkpoint(spec, Path(weights.removeprefix(FILE)), key=key)
            model, head = checkpoint.load(), checkpoint.head
        elif spec.source in ("pocket", "torchvision") and weights != "random":
            model, head = _pretrained_network(spec, weights, progress), spec.head
        else:
            return _network(spec, num_classes, weights=weights).float().eval()
        if num_classes is not None:
            replace_head(model, head, num_classes)
    return model.float().eval()


def learn_code(name: str, seed: int) -> None:
    """Run the user's code once, and remember what it read and the weights it gave."""
    with _seed_weights(seed), recorded_files() as files:
        try:
            model, _ = _own_network(name, None)
        except ModelError:
            model, _ = _own_network(name, _SOME_CLASSES)  # it may need them
    save_facts(name, seed, files, model)


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """A checkpoint, and a network with the same head that can load it."""

    weights: FittedWeights
    network: nn.Module
    head: str  # "" if the network has none
    spec: ModelSpec
    side: int  # pixels of the input, if the network depends on it

    def load(self) -> nn.Module:
        """The network with these weights; a head that the file lacks is drawn at random."""
        bare = any(tensor.is_meta for tensor in self.network.state_dict().values())
        model = self.network
        if bare and self.weights.missing:
            model = _network(self.spec, None, weights="random", side=self.side)
        # Assigned tensors would no longer be tied.
        assign = bare and not self.weights.missing
        model.load_state_dict(self.weights.state, strict=not self.weights.missing, assign=assign)
        return model


def fit_checkpoint(
    spec: ModelSpec, path: Path, *, called: str = "", key: str = ""
) -> FittedNetwork:
    """Read a checkpoint and check it against an architecture.

    Parameters
    ----------
    spec : ModelSpec
    path : Path
    called : str
        The file's name in messages; by default its own.
    key : str
        Which set of weights to use if there are several.

    Raises
    ------
    AssetError
        If the file is refused, with the reason.
    ModelError, OptionError
        If the architecture cannot be built, or no set of weights has this name.
    """
    called = called or path.name
    network = _bare(spec)
    elements = sum(tensor.numel() for tensor in network.state_dict().values())
    contents = read_checkpoint(path, called=called, most_bytes=most_bytes(elements))
    side = vit_side({name: tuple(t.shape) for name, t in contents.tensors.items()})
    # No network can be built for a side that patches do not fill: `fit_state` reports the shapes.
    if (
        spec.source == "torchvision"
        and side not in (0, spec.input_side)
        and not side % getattr(network, "patch_size", 1)
    ):
        network = _bare(spec, side)
    else:
        side = 0
    head = spec.head or _head_if_any(network, spec)
    fit = fit_state(contents, network, spec, head, called, key)
    if head and fit.classes != _classes_of(network, head):
        replace_head(network, head, fit.classes)
    # Some networks refuse weights that do not record the version of their layout.
    versioned = OrderedDict(fit.state)
    versioned._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    return FittedNetwork(replace(fit, state=versioned), network, head, spec, side)


def _head_if_any(network: nn.Module, spec: ModelSpec) -> str:
    try:
        return find_head(network, built_shape(spec))
    except ModelError:  # a backbone, or one that takes other images, which running it reports
        return ""


def empty_network(name: str, num_classes: int, *, weights: str = "random") -> nn.Module:
    """A network by name whose parameters have shapes but no values ("meta" device).

    Parameters
    ----------
    name : str
    num_classes : int
        Of its new head.
    weights : str
        They determine the input side if the network depends on it, see
        `analysis.models.side_of_input`.

    Raises
    ------
    ModelError, OptionError
        If there is no such model, or the user's code cannot be run.
    """
    spec = model_spec(name)
    model = _bare(spec, side_of_input(name, weights=weights) if spec.fixed_side else 0)
    replace_head(model, spec.head or find_head(model, built_shape(spec)), num_classes)
    return model.to("meta")


class Bare(TorchFunctionMode):
    """Parameters created in this context need no memory, and no time to initialise.

    `torch.device("meta")` affects every tensor, including those from which a RegNet computes
    its widths.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is torch.empty:
            kwargs = {**kwargs, "device": "meta"}
        return function(*args, **kwargs)


def torchvision_network(
    name: str, num_classes: int, side: int, *, initialize: bool = True
) -> nn.Module:
    """One of torchvision's networks, for images of `side` pixels if it depends on them."""
    options: dict[str, Any] = dict(_OPTIONS.get(name, {}))
    if options:
        options["init_weights"] = initialize
    if name.startswith("vit_"):
        options["image_size"] = side
    model: nn.Module = torchvision.models.get_model(
        name, weights=None, num_classes=num_classes, **options
    )
    return model


def replace_head(model: nn.Module, head: str, num_classes: int) -> None:
    """Replace a linear or convolution layer by a new, randomly initialised one.

    Raises
    ------
    ModelError
        If the layer is of another kind.
    """
    old = model.get_submodule(head) if head else model
    bias = getattr(old, "bias", None) is not None
    device = next((parameter.device for parameter in old.parameters()), None)
    new: nn.Module
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, num_classes, bias=bias, device=device)
    elif isinstance(old, nn.Conv2d) and old.groups == 1:
        new = nn.Conv2d(
            old.in_channels,
            num_classes,
            old.kernel_size,  # type: ignore[arg-type]
            old.stride,  # type: ignore[arg-type]
            old.padding,  # type: ignore[arg-type]
            bias=bias,
            device=device,
        )
    else:
        raise ModelError(
            "The model's last layer must be linear or a convolution, so that it can be replaced "
            f"for other classes; {head or 'it'} is a {type(old).__name__}."
        )
    model.set_submodule(head, new)


def find_head(model: nn.Module, side: int | tuple[int, ...]) -> str:
    """The linear or convolution layer that gives the model's output.

    It is found by running the model on images of `side` pixels, or of a shape (C, H, W).

    Raises
    ------
    ModelError
        If the model cannot run on them, or has no such layer.
    """
    flow = OutputFlow(model)
    shape = (3, side, side) if isinstance(side, int) else side
    with flow:
        watch(model, torch.zeros(2, *shape), lambda *_: None)
    head = flow.head()
    if head.name is None:
        raise ModelError(head.reason)
    return head.name


def _bare(spec: ModelSpec, side: int = 0) -> nn.Module:
    """A network whose weights do not matter, on the "meta" device if possible."""
    if spec.source not in ("pocket", "torchvision"):  # it may compute with its random weights
        return _network(spec, None, weights="random")
    with Bare():
        return _network(spec, None, weights="random", side=side, initialize=False)


def _network(
    spec: ModelSpec,
    num_classes: int | None,
    *,
    weights: str,
    side: int = 0,
    initialize: bool = True,
) -> nn.Module:
    if spec.source == "pocket":
        return POCKET_BUILDERS[spec.name](num_classes=num_classes or spec.classes)
    if spec.source == "torchvision":
        return torchvision_network(
            spec.name,
            num_classes or spec.classes,
            side or spec.input_side,
            initialize=initialize,
        )
    if spec.source == "timm":
        return timm_network(spec.name, num_classes, pretrained=weights == "pretrained")
    model, has_classes = _own_network(spec.name, num_classes)
    if num_classes is not None and not has_classes:
        with _hint_of_size():
            head = find_head(model, preprocessing_for(model).shape)
        replace_head(model, head, num_classes)
    return model


def _own_network(name: str, num_classes: int | None) -> tuple[nn.Module, bool]:
    """The user's network, its lazy layers filled, and whether it took the number of classes."""
    model, has_classes = code_network(name, num_classes)
    with _hint_of_size():
        fill_lazy_layers(model, torch.zeros(2, *preprocessing_for(model).shape))
    return model, has_classes


@contextmanager
def _hint_of_size() -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        if "could not run on images" not in str(error):
            raise
        raise ModelError(
            f"{error} If its input has another side, set the network's attribute `input_size`."
        ) from error


def _pretrained_network(
    spec: ModelSpec, weights: str, progress: ProgressCallback | None
) -> nn.Module:
    chosen = spec.weight_set(weights)
    state = torchvision_state(spec, chosen, progress) if chosen else pocket_state(spec)
    # If the file has no classifier, it is initialised at random, always with the same seed.
    drawn = chosen is not None and chosen.accuracy is None
    with _seed_weights(0) if drawn else Bare():
        side = chosen.input_side if chosen else 0
        model = _network(spec, None, weights=weights, side=side, initialize=drawn)
    try:
        model.load_state_dict(state, strict=not drawn, assign=not drawn)
    except (RuntimeError, ValueError) as error:
        raise damage_error(spec, chosen) from error
    return model


def _classes_of(network: nn.Module, head: str) -> int:
    return len(network.get_submodule(head).weight)  # type: ignore[arg-type]


@contextmanager
def _seed_weights(seed: int) -> Iterator[None]:
    # Weights are drawn on the CPU, so only its generator is seeded and restored; the user's code
    # may draw them with Python or NumPy.
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
