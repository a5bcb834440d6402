"""Cut a network at the first parameters that train: a frozen prefix, and the rest.

The prefix is every operation that depends on no trained parameter, as far as it gives an image the
same numbers in every pass. What the rest needs of it are rows, one per image.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.fx.node import Argument, map_arg
from torch.utils._pytree import tree_leaves

from analysis.instruments.behaviour import kept_buffers, seeded
from analysis.instruments.chance import random_states
from analysis.instruments.dispatch import DispatchMode
from analysis.system.devices import device_of
from analysis.system.torchvision_guard import torchvision

PROBED = 5  # images that a cut looks at: two batches of different sizes
_FIRST = 2  # of them in the first batch


class UncutError(Exception):
    """Why a network cannot be cut: the end of a sentence that says that the frozen part repeats."""


@dataclass(frozen=True, eq=False)
class Row:
    """What one of the prefix's outputs has for an image."""

    shape: tuple[int, ...]  # without the axis of the images
    dtype: torch.dtype
    order: tuple[int, ...]  # axes of the output from the slowest in memory to the fastest

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class Cut:
    """The two parts of a network, in the mode in which it was cut; they share its parameters."""

    prefix: fx.GraphModule  # from images, (N, ...), to a tuple of tensors, each (N, ...)
    rest: fx.GraphModule  # from those tensors to the network's output
    rows: tuple[Row, ...]  # of those tensors


def cut_network(model: nn.Module, images: Tensor) -> Cut:
    """Cut a network whose parameters are frozen, in the mode in which it is.

    Parameters
    ----------
    model : nn.Module
        Its plain attributes may be left altered.
    images : Tensor (5, ...)
        They may be fake tensors, if the model has fake parameters.

    Raises
    ------
    UncutError
        If the network cannot be traced, or nothing frozen comes before what trains.
    """
    fake = isinstance(images, FakeTensor)
    traced = _trace(model, fake=fake)
    with _undisturbed(model, fake=fake), torch.no_grad():
        probe = _Probe(traced)
        few = probe.run(images[:_FIRST])
        more = probe.run(images[_FIRST:PROBED], only=set(few))
    frozen = _storable(few, more)
    tensors = [
        node
        for node in traced.graph.nodes
        if isinstance(few.get(node), _Outline) and node in frozen and node.users.keys() - frozen
    ]
    if not tensors or not any(
        _parameters(traced, node) for node in _with_inputs(traced.graph, frozen)
    ):
        raise UncutError("nothing frozen comes before the first layer that trains")
    return Cut(
        prefix=_prefix(traced, frozen, tensors),
        rest=_rest(traced, frozen, tensors, few, more),
        rows=tuple(_row(few[node]) for node in tensors),
    )


class _OneInput(nn.Module):
    """Calls a network with images alone, so that no other argument is traced."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        return self.network(images)


class _Tracer(fx.Tracer):
    """torch's tracer with the exceptions of torchvision's and timm's feature extraction."""

    def __init__(self) -> None:
        # Loaded only if the network is one of timm's.
        timm: Any = sys.modules.get("timm.layers")
        self._whole: tuple[type, ...] = tuple(timm.get_notrace_modules()) if timm else ()
        functions = tuple(timm.get_notrace_functions()) if timm else ()
        super().__init__((math, torchvision.ops), functions)  # type: ignore[arg-type]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        own = isinstance(m, self._whole) or type(m).__module__.startswith("torchvision.ops")
        return own or super().is_leaf_module(m, module_qualified_name)


@contextmanager
def _undisturbed(model: nn.Module, *, fake: bool) -> Iterator[None]:
    """Put random numbers and buffers back; those of a fake model do not matter."""
    chance = seeded(0, device_of(model))
    with unset_fake_temporarily():  # the states of generators are tensors too
        chance.__enter__()
    try:
        with nullcontext() if fake else kept_buffers(model):
            yield
    finally:
        with unset_fake_temporarily():
            chance.__exit__(None, None, None)


def _buffers(model: nn.Module) -> list[tuple[int, int]]:
    """Which buffers a model has, and how often each was changed."""
    return [(id(buffer), buffer._version) for buffer in model.buffers()]


def _random_states() -> object:
    with unset_fake_temporarily():
        return random_states()


def _trace(model: nn.Module, *, fake: bool) -> fx.GraphModule:
    root = _OneInput(model)
    root.training = model.training
    with _undisturbed(model, fake=fake):
        before, buffers = _random_states(), _buffers(model)
        try:
            traced = fx.GraphModule(root, _Tracer().trace(root))
        except Exception as error:  # a network's own code may do anything with what it gets
            raise UncutError(
                "the network's own code decides by numbers, or cannot be traced"
            ) from error
        draws, changes = _random_states() != before, _buffers(model) != buffers
    if draws:
        raise UncutError("the network's own code draws random numbers")
    if changes:
        raise UncutError("the network changes its own state in each pass")
    return traced


class _Watch(DispatchMode):
    """Notes whether an operation draws random numbers or mixes the images of a batch.

    Parameters
    ----------
    inputs : object
        What the operation gets that depends on the images: tensors, and what holds them.
    """

    def __init__(self, inputs: object) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.varies = False
        self._of_images = dict[object, Tensor]()  # kept alive, so that no key is used again
        self._note(inputs)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        known = {argument.name: argument.default_value for argument in func._schema.arguments}
        given = known | dict(zip(known, args, strict=False)) | kwargs
        # Attention kernels count as random, even without dropout.
        share = given.get("dropout_p", given.get("p"))
        if torch.Tag.nondeterministic_seeded in func.tags and share != 0:
            self.varies = True
        of_images = any(_memory(tensor) in self._of_images for tensor in _tensors((args, kwargs)))
        # Weights may be standardised by a batch norm too, which is the same in every pass.
        norm = "batch_norm" in func.__name__ and (given.get("training") or given.get("train"))
        if norm and of_images:
            self.varies = True
        result = func(*args, **kwargs)
        if of_images:
            self._note(result)
        return result

    def _note(self, values: object) -> None:
        self._of_images |= {_memory(tensor): tensor for tensor in _tensors(values)}


def _tensors(values: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _memory(tensor: Tensor) -> object:
    """What a tensor shares with its views."""
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):  # such as a sparse tensor, which has none
        return tensor


class _Probe(fx.Interpreter):
    """Runs the frozen part of a traced network, operation by operation."""

    def run(self, images: Tensor, only: set[fx.Node] | None = None) -> dict[fx.Node, Any]:  # type: ignore[override]
        """What each frozen operation gives; of tensors, their shapes and layouts.

        An operation that gives other numbers each time is not among them, nor what follows it.
        """
        self.env, self.args_iter = {}, iter((images,))
        results: dict[fx.Node, Any] = {}
        constants = _constants(self.module.graph.nodes)  # type: ignore[arg-type, union-attr]
        waiting = {node: len(node.users) for node in self.module.graph.nodes}  # type: ignore[union-attr]
        for node in self.module.graph.nodes:  # type: ignore[union-attr]
            if (node in only) if only is not None else self._may_be_frozen(node, results):
                inputs = [self.env[used] for used in node.all_input_nodes if used not in constants]
                with _Watch(inputs) as watch:
                    versions = self._versions(node)
                    value = self.run_node(node)
                if not watch.varies and versions == self._versions(node):
                    self.env[node] = value
                    results[node] = _outline(value)
            for used in node.all_input_nodes:
                waiting[used] -= 1
                if not waiting[used]:
                    self.env.pop(used, None)
        return results

    def _may_be_frozen(self, node: fx.Node, known: Iterable[fx.Node]) -> bool:
        if node.op == "output" or any(used not in known for used in node.all_input_nodes):
            return False
        return not any(p.requires_grad for p in _parameters(self.module, node))

    def _versions(self, node: fx.Node) -> list[int]:
        """Counts of the changes of a module's own tensors."""
        if node.op != "call_module":
            return []
        module = self.fetch_attr(str(node.target))
        return [tensor._version for tensor in (*module.parameters(), *module.buffers())]


def _parameters(root: nn.Module, node: fx.Node) -> list[nn.Parameter]:
    """The parameters that an operation reads itself."""
    if node.op == "call_module":
        return list(root.get_submodule(str(node.target)).parameters())
    if node.op == "get_attr":
        value = operator.attrgetter(str(node.target))(root)
        return [value] if isinstance(value, nn.Parameter) else []
    return []


@dataclass(frozen=True)
class _Outline:
    """A tensor without its numbers."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype


_UNSTORABLE = object()  # instead of what holds tensors and is none


def _outline(value: Any) -> Any:
    if isinstance(value, Tensor) and value.layout == torch.strided:
        return _Outline(tuple(value.shape), value.stride(), value.dtype)
    holds_tensors = any(isinstance(leaf, Tensor) for leaf in tree_leaves(value))
    return _UNSTORABLE if holds_tensors else value


def _storable(few: dict[fx.Node, Any], more: dict[fx.Node, Any]) -> set[fx.Node]:
    """The frozen operations of which everything that the rest needs can be stored.

    The last ones go to the rest until that is so: there they run again, on what came before.
    """
    frozen = {node for node in few if node in more}
    frozen -= _constants(few)
    while True:
        moved = {
            node
            for node in frozen
            if node.op != "placeholder"
            and node.users.keys() - frozen
            and not _can_be_stored(few[node], more[node])
        }
        if not moved:
            return frozen
        frozen -= moved


def _constants(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """The operations among these, in the order of execution, that depend on no image."""
    constants = set[fx.Node]()
    for node in nodes:
        if node.op != "placeholder" and constants.issuperset(node.all_input_nodes):
            constants.add(node)
    return constants


def _can_be_stored(few: Any, more: Any) -> bool:
    if isinstance(few, _Outline) and isinstance(more, _Outline):
        return (
            (few.shape[:1], more.shape[:1]) == ((_FIRST,), (PROBED - _FIRST,))
            and few.shape[1:] == more.shape[1:]
            and few.dtype == more.dtype
            and not few.dtype.is_complex
        )
    try:
        _sized(few, more, lambda count: count)
    except UncutError:
        return False
    return True


def _sized(few: Any, more: Any, images: Callable[[int], Any]) -> Argument:
    """A value of the prefix for any number of images, known for two numbers of them.

    `images` gives the operation that counts so many for each image.
    """
    if type(few) is type(more):
        if isinstance(few, (tuple, list)) and len(few) == len(more):
            return [_sized(a, b, images) for a, b in zip(few, more, strict=True)]
        if few == more and isinstance(
            few, (int, float, bool, str, type(None), torch.dtype, torch.device)
        ):
            return few
        if type(few) is int and few * (PROBED - _FIRST) == more * _FIRST and few % _FIRST == 0:
            argument: Argument = images(few // _FIRST)
            return argument
    raise UncutError("the network's own code decides by the number of images")


def _row(outline: _Outline) -> Row:
    axes = range(1, len(outline.shape))
    order = (0, *sorted(axes, key=lambda axis: -outline.strides[axis]))
    return Row(outline.shape[1:], outline.dtype, order)


def _prefix(traced: fx.GraphModule, frozen: set[fx.Node], tensors: list[fx.Node]) -> fx.GraphModule:
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    needed = _with_inputs(traced.graph, frozen)
    for node in traced.graph.nodes:
        if node in needed:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[node] for node in tensors))
    return _module(traced, graph)


def _with_inputs(
    graph: fx.Graph, nodes: set[fx.Node], *, given: Collection[fx.Node] = ()
) -> set[fx.Node]:
    """These operations, and all that they need, without what only the given ones need."""
    needed = set(nodes)
    for node in reversed(graph.nodes):
        if node in needed and node not in given:
            needed.update(node.all_input_nodes)
    return needed


def _rest(
    traced: fx.GraphModule,
    frozen: set[fx.Node],
    tensors: list[fx.Node],
    few: dict[fx.Node, Any],
    more: dict[fx.Node, Any],
) -> fx.GraphModule:
    graph, copies = fx.Graph(), dict[fx.Node, Any]()
    for number, node in enumerate(tensors):
        copies[node] = graph.placeholder(f"rows_{number}")
    count: list[fx.Node] = []

    def images(each: int) -> fx.Node:
        if not count:
            count.append(graph.call_method("size", (copies[tensors[0]], 0)))
        return count[0] if each == 1 else graph.call_function(operator.mul, (count[0], each))

    def copy_of(node: fx.Node) -> Any:
        if node not in copies:
            copies[node] = _sized(few[node], more[node], images)
        return copies[node]

    constants = _constants(few)
    trained = set(traced.graph.nodes) - frozen - constants
    needed = _with_inputs(traced.graph, trained, given=frozen)
    for node in traced.graph.nodes:
        if node in frozen or node not in needed:
            continue
        arguments = map_arg((node.args, node.kwargs), copy_of)
        copies[node] = graph.create_node(node.op, node.target, *arguments, name=node.name)
    return _module(traced, graph)


def _module(traced: fx.GraphModule, graph: fx.Graph) -> fx.GraphModule:
    module = fx.GraphModule(traced, graph)
    for name, part in module.named_modules():  # the folders that GraphModule makes
        part.training = traced.get_submodule(name).training
    return module
