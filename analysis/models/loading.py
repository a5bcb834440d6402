"""Build a network and load its weights. Imported only when a model is loaded: it needs torch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from analysis.errors import ModelError
from analysis.instruments.behaviour import fill_lazy_layers, seeded
from analysis.instruments.output_flow import NO_HEAD, Head, check_head
from analysis.models.catalogue import ModelSpec
from analysis.models.checkpoint_files import read_checkpoint
from analysis.models.checkpoint_shapes import vit_side
from analysis.models.checkpoints import FittedWeights, fit_state, tensors_of
from analysis.models.code_facts import recorded_files, save_facts
from analysis.models.heads import give_classes, head_of_network, replace_head
from analysis.models.input_side import built_shape, side_of_input
from analysis.models.names import ADDED_HEAD, FILE, model_spec, most_bytes
from analysis.models.own_code import built_anyhow, code_network
from analysis.models.own_input import preprocessing_for
from analysis.models.pocket import POCKET_BUILDERS
from analysis.models.timm_models import timm_network
from analysis.models.weights_files import damage_error, pocket_state, torchvision_state
from analysis.progress import ProgressCallback
from analysis.system.torchvision_guard import torchvision

_CPU = torch.device("cpu")  # where weights are drawn

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
    head: str = "",
) -> nn.Module:
    """Do the work of `analysis.models.load_model`, with arguments that are already checked."""
    with seeded(seed, _CPU):
        if weights.startswith(FILE):
            checkpoint = fit_checkpoint(spec, Path(weights.removeprefix(FILE)), key=key, head=head)
            model = checkpoint.load()
        elif spec.source in ("pocket", "torchvision") and weights != "random":
            model = _pretrained_network(spec, weights, progress)
        else:
            return _network(spec, num_classes, weights=weights, head=head).float().eval()
        if num_classes is not None:
            give_classes(model, _head(model, spec, head), num_classes)
    return model.float().eval()


def learn_code(name: str, seed: int) -> None:
    """Run the user's code once, and remember what it read and the weights it gave."""
    with seeded(seed, _CPU), recorded_files() as files:
        model, _ = _own_network(name, None)
    save_facts(name, seed, files, model)


def check_head_of(name: str, head: str) -> None:
    """Do the work of `analysis.models.check_head`."""
    spec = model_spec(name)
    with seeded(0, _CPU):
        model = _own_network(name, None)[0] if spec.source == "code" else _bare(spec)
    check_head(model, head)


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
        bare = any(tensor.is_meta for tensor in tensors_of(self.network).values())
        model = self.network
        if bare and self.weights.missing:
            model = _network(self.spec, None, weights="random", side=self.side)
        # Assigned tensors would no longer be tied.
        assign = bare and not self.weights.missing
        # The names have been checked; not every extra state may be in the file.
        state = OrderedDict({**self.weights.state, **self.weights.extra})
        state._metadata = getattr(self.weights.state, "_metadata", None)  # type: ignore[attr-defined]
        model.load_state_dict(state, strict=False, assign=assign)
        return model


def fit_checkpoint(
    spec: ModelSpec, path: Path, *, called: str = "", key: str = "", head: str = ""
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
    head : str
        As for `AnalysisOptions`.

    Raises
    ------
    AssetError
        If the file is refused, with the reason.
    ModelError, OptionError
        If the architecture cannot be built, or no set of weights has this name.
    """
    called = called or path.name
    network = _bare(spec)
    elements = sum(tensor.numel() for tensor in tensors_of(network).values())
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
    head = _head_if_any(network, spec, head)
    added = contents.tensors.get(f"{ADDED_HEAD}.weight")
    if not head and added is not None and added.dim() == 2:  # from a fine-tune of this backbone
        give_classes(network, Head(None, features=added.shape[1]), len(added))
        head = ADDED_HEAD
    fit = fit_state(contents, network, spec, head, called, key)
    if head and fit.classes != _classes_of(network, head):
        replace_head(network, head, fit.classes)
    # Some networks refuse weights that do not record the version of their layout.
    versioned = OrderedDict(fit.state)
    versioned._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    return FittedNetwork(replace(fit, state=versioned), network, head, spec, side)


def _head(model: nn.Module, spec: ModelSpec, chosen: str) -> Head:
    known = ADDED_HEAD if ADDED_HEAD in model._modules else spec.head
    return Head(known) if known else head_of_network(model, built_shape(spec), chosen)


def _head_if_any(network: nn.Module, spec: ModelSpec, chosen: str) -> str:
    try:
        return _head(network, spec, chosen).name or ""
    except ModelError:  # a backbone, or one that takes other images, which running it reports
        return ""


def empty_network(
    name: str, num_classes: int, *, weights: str = "random", head: str = ""
) -> nn.Module:
    """A network by name whose parameters have shapes but no values ("meta" device).

    Parameters
    ----------
    name : str
    num_classes : int
        Of its new head.
    weights : str
        They determine the input side if the network depends on it, see
        `analysis.models.side_of_input`.
    head : str
        As for `AnalysisOptions`.

    Raises
    ------
    ModelError, OptionError
        If there is no such model, or the user's code cannot be run.
    """
    spec = model_spec(name)
    model = _bare(spec, side_of_input(name, weights=weights) if spec.fixed_side else 0)
    give_classes(model, _head(model, spec, head), num_classes)
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
        if function is torch.Tensor.normal_ and args[0].is_meta:
            return args[0]  # there is nothing to draw, and torch would import its compiler
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
    head: str = "",
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
    if num_classes is not None and (not has_classes or head == NO_HEAD):
        with _hint_of_size():
            found = head_of_network(model, preprocessing_for(model).shape, head)
        give_classes(model, found, num_classes)
    return model


def _own_network(name: str, num_classes: int | None) -> tuple[nn.Module, bool]:
    """The user's network, its lazy layers filled, and whether it took the number of classes."""
    build = partial(code_network, name)
    model, has_classes = built_anyhow(build) if num_classes is None else build(num_classes)
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
    with seeded(0, _CPU) if drawn else Bare():
        side = chosen.input_side if chosen else 0
        model = _network(spec, None, weights=weights, side=side, initialize=drawn)
    try:
        model.load_state_dict(state, strict=not drawn, assign=not drawn)
    except (RuntimeError, ValueError) as error:
        raise damage_error(spec, chosen) from error
    return model


def _classes_of(network: nn.Module, head: str) -> int:
    return len(network.get_submodule(head).weight)  # type: ignore[arg-type]
