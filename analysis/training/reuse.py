"""Reuse what the frozen part of a network gives: it runs once for each image, not in every epoch.

The first pass over the images fills a store, batch by batch; later ones read it, and run only the
rest of the network. It is used only where it is exact.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from analysis.errors import is_out_of_memory
from analysis.instruments.behaviour import kept_buffers, seeded
from analysis.options import Recipe
from analysis.system.devices import device_of
from analysis.system.home import home
from analysis.text import size_text
from analysis.training.cut import PROBED, Cut, UncutError, cut_network
from analysis.training.feature_store import FeatureStore, NoRoomError, open_stores
from analysis.training.freezing import training_mode
from analysis.training.metrics import FrozenPart
from analysis.training.splits import LabelledImages, TensorImages

_SAME = 1e-5  # largest difference of logits, as a share of their range
_SAME_GRADIENT = 1e-3  # the same of gradients, which add up more numbers
_SAME_ROUNDED = 1e-3  # of logits, where the network enlarges rounding
_ROUNDING = 4  # times what another last digit of the images changes: each layer rounds again
_MIXED = (3, 0, 4, 1, 2)  # the probed images in another order and company


@dataclass(frozen=True, eq=False)
class Batch:
    """Images on their way through a cut network: themselves, or what their frozen part gave."""

    indices: Tensor  # int64 (N,), where they are in their split
    images: Tensor | None = None  # (N, ...); None if the rows are known
    rows: tuple[Tensor, ...] = ()  # each (N, ...)
    store: FeatureStore | None = None  # that takes what the frozen part gives for the images

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What takes memory."""
        return self.rows if self.images is None else (self.images,)

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        images = None if self.images is None else self.images.to(device)
        rows = tuple(tensor.to(device) for tensor in self.rows)
        return Batch(self.indices, images, rows, self.store)


class CutNetwork(nn.Module):
    """A network in two parts; it has the mode in which it was cut."""

    def __init__(self, cut: Cut) -> None:
        super().__init__()
        self.cut = cut
        self.parts = nn.ModuleList([cut.prefix, cut.rest])

    def forward(self, batch: Batch) -> Any:
        rows = batch.rows
        if batch.images is not None:
            with torch.no_grad():
                rows = self.cut.prefix(batch.images)
            if batch.store is not None:
                batch.store.put(batch.indices, rows)
        return self.cut.rest(*rows)

    def train(self, mode: bool = True) -> CutNetwork:
        return self


class StoredImages:
    """Labelled images that are read only until their frozen part has run."""

    def __init__(self, data: LabelledImages, store: FeatureStore) -> None:
        self.labels = data.labels
        self._data: LabelledImages | None = data
        self._store = store

    def images(self, indices: Tensor) -> Batch:
        if self._data is None or bool(self._store.known[indices].all()):
            return Batch(indices, rows=tuple(self._store.get(indices)))
        return Batch(indices, self._data.images(indices), store=self._store)

    def free_images(self) -> None:
        """Let go of the images, if they are no longer needed."""
        if bool(self._store.known.all()):
            self._data = None


@dataclass(frozen=True, eq=False)
class Passes:
    """What a training passes through what: images through the network, or rows through its rest."""

    network: nn.Module  # for training
    evaluated: nn.Module  # for validation
    train: LabelledImages | StoredImages
    validation: LabelledImages | StoredImages
    stores: tuple[FeatureStore, ...] = ()
    # Why the frozen part runs in every epoch, the end of a sentence; empty if nothing is frozen.
    why_plain: str = ""

    @property
    def frozen_part(self) -> FrozenPart:
        """How often the frozen part runs."""
        failures = [store.failure for store in self.stores if store.failure]
        if why := next(iter(failures), self.why_plain):
            return FrozenPart(text=f"The frozen part of the network runs in every epoch: {why}.")
        if not self.stores:
            return FrozenPart()
        size = size_text(sum(store.bytes for store in self.stores))
        where = "on disk" if any(store.on_disk for store in self.stores) else "in memory"
        text = "The frozen part of the network runs only once for each image."
        return FrozenPart(True, f"{text} Its results take {size} {where}.")

    @property
    def cached(self) -> list[Tensor]:
        """What is held in memory for it."""
        return [tensor for store in self.stores for tensor in store.in_memory]

    def free_images(self) -> None:
        """After an epoch: let go of the images that are no longer needed."""
        for split in (self.train, self.validation):
            if isinstance(split, StoredImages):
                split.free_images()

    def close(self) -> None:
        """Free the memory or the disk."""
        for store in self.stores:
            store.close()


def plan_passes(
    model: nn.Module, train: LabelledImages, validation: LabelledImages, recipe: Recipe
) -> Passes:
    """Plan a training whose frozen part runs once, if that is exact and has room.

    Parameters
    ----------
    model : nn.Module
        With frozen parameters; it is not changed.
    train, validation : LabelledImages
    recipe : Recipe
    """
    try:
        return _reusing(model, train, validation, recipe)
    except (UncutError, NoRoomError) as error:
        return Passes(model, model, train, validation, why_plain=str(error))


def _reusing(
    model: nn.Module, train: LabelledImages, validation: LabelledImages, recipe: Recipe
) -> Passes:
    if all(parameter.requires_grad for parameter in model.parameters()):
        raise UncutError("")
    if not recipe.reuse_frozen:
        raise UncutError("you switched it off")
    if recipe.augmentation != "none":
        raise UncutError("augmentation changes the images in every epoch")
    if recipe.epochs == 1:
        raise UncutError("there is only one epoch")
    if min(len(train.labels), len(validation.labels)) < PROBED:
        raise UncutError("there are too few images")
    images = train.images(torch.arange(PROBED)).to(device_of(model))
    try:
        trained = _checked_cut(model, images, training=True)
        evaluated = _checked_cut(model, images, training=False)
    except UncutError:
        raise
    except Exception as error:  # a network's own code may do anything
        if is_out_of_memory(error):
            raise NoRoomError("memory ran out") from error
        raise UncutError("the network's parts cannot run by themselves") from error
    splits = (train, trained), (validation, evaluated)
    stores = open_stores(
        [(len(split.labels), cut.rows) for split, cut in splits],
        device=device_of(model),
        folder=home() / "scratch",
    )
    return Passes(
        CutNetwork(trained),
        CutNetwork(evaluated),
        StoredImages(train, stores[0]),
        StoredImages(validation, stores[1]),
        tuple(stores),
    )


def _checked_cut(model: nn.Module, images: Tensor, *, training: bool) -> Cut:
    """Cut a network, and check that its parts give what the whole gives."""
    shared = share_network(model)
    if training:
        training_mode(shared)
    else:
        shared.eval()
    cut = cut_network(shared, images)
    if not _is_exact(shared, cut, images, training=training):
        raise UncutError("the network's parts give other numbers than the whole")
    return cut


def predicted_passes(model: nn.Module, images: Tensor, counts: tuple[int, int]) -> Passes | None:
    """What a training of a network on fake tensors would use; None if it cannot be cut.

    Parameters
    ----------
    model : nn.Module
        With fake parameters, some of them frozen. Its modes and plain attributes are changed.
    images : Tensor (5, ...)
        Fake.
    counts : (int, int)
        Training and validation images.
    """
    try:
        training_mode(model)
        trained = cut_network(model, images)
        model.eval()
        evaluated = cut_network(model, images)
    except UncutError:
        return None
    cuts = trained, evaluated
    stores = tuple(FeatureStore(n, cut.rows) for n, cut in zip(counts, cuts, strict=True))
    nothing = TensorImages(images, images)
    return Passes(CutNetwork(trained), CutNetwork(evaluated), nothing, nothing, stores)


def share_network(model: nn.Module) -> nn.Module:
    """A copy of a network with the same parameters and buffers, but its own modes."""
    memo: dict[int, Any] = {id(tensor): tensor for tensor in model.parameters()}
    memo |= {id(tensor): tensor for tensor in model.buffers()}
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:  # a model's attributes may raise anything
        raise UncutError("the network cannot be copied") from error


def _is_exact(model: nn.Module, cut: Cut, images: Tensor, *, training: bool) -> bool:
    """Whether logits and gradients are the same although the images' company was another."""
    mixed = torch.tensor(_MIXED)
    with _undisturbed(model):
        with seeded(1, images.device), torch.no_grad():
            few, more = cut.prefix(images[:2]), cut.prefix(images[2:])
        rows = [torch.cat(parts)[mixed] for parts in zip(few, more, strict=True)]
        whole = _pass(model, lambda: model(images[mixed]), training=training)
    with _undisturbed(model):
        parts = _pass(model, lambda: cut.rest(*rows), training=training)
    if _agree(whole, parts, [None] * len(whole)):
        return True
    # Some networks enlarge rounding, such as those whose batch norms see few values.
    with _undisturbed(model):
        rounded = _rounded(images)[mixed]
        again = _pass(model, lambda: model(rounded), training=training)
    return _close(whole[0], parts[0], _SAME_ROUNDED) and _agree(whole, parts, again)


def _rounded(images: Tensor) -> Tensor:
    """The same images with other last digits."""
    return torch.nextafter(images, images.flip(0))


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    with warnings.catch_warnings(), kept_buffers(model), seeded(0, device_of(model)):
        warnings.simplefilter("ignore")
        yield


def _pass(model: nn.Module, run: Callable[[], Tensor], *, training: bool) -> list[Tensor | None]:
    """The logits, and in training the gradients of their loss."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not training:
        with torch.no_grad():
            return [run()]
    logits = run()
    labels = torch.arange(len(logits), device=logits.device) % logits.shape[1]
    loss = cross_entropy(logits, labels)
    return [logits.detach(), *torch.autograd.grad(loss, trained, allow_unused=True)]


def _agree(
    whole: list[Tensor | None], parts: list[Tensor | None], rounded: list[Tensor | None]
) -> bool:
    """Whether all are close, or differ no more than the whole does by rounding."""
    shares = [_SAME] + [_SAME_GRADIENT] * (len(whole) - 1)
    return len(whole) == len(parts) and all(
        _close(one, other, share, again)
        for one, other, share, again in zip(whole, parts, shares, rounded, strict=True)
    )


def _close(
    one: Tensor | None, other: Tensor | None, share: float, rounded: Tensor | None = None
) -> bool:
    if one is None or other is None:
        return one is other
    if one.shape != other.shape:
        return False
    one, other = one.nan_to_num(), other.nan_to_num()
    limit = share * one.abs().max()
    if rounded is not None:
        limit = limit.maximum(_ROUNDING * (one - rounded.nan_to_num()).abs().max())
    return bool((one - other).abs().max() <= limit)
