"""Which layer's output is what a network gives: its head, found by following the data.

Each linear map or convolution is a source. Every tensor computed from its output carries its name,
until the next one: those that reach the network's output may be its head.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils._pytree import tree_leaves

from analysis.errors import OptionError
from analysis.instruments.dispatch import DispatchMode
from analysis.instruments.outputs import first_tensor
from analysis.text import first_of

OWN_CODE = "bettiscope_code_"  # what the names of the user's own files begin with as modules
NO_HEAD = "none"  # the name that says that a network has no head
HEAD_KINDS = (nn.Linear, nn.Conv2d)  # that a new classifier can replace

# By the names of torch's operators.
_LINEAR = re.compile(r"(^|_)(add|badd|addb)?b?m[mv](_|$)|linear|conv|rnn|lstm|gru")
_NORM = re.compile(r"(batch|layer|group|instance|rms)_norm")
_RECTIFIER = re.compile(r"^(relu|gelu|silu|hardtanh|hardswish|leaky_relu|elu|celu|mish|threshold)")
_WITHOUT_DATA = re.compile(r"_like$|^new_|^lift_fresh")


@dataclass(frozen=True)
class Head:
    """The layer that gives a network's output, or why there is none."""

    name: str | None
    reason: str = ""  # a sentence for the user
    features: int = 0  # of an image, to put a new head behind a network that has none


@dataclass(frozen=True)
class _Source:
    name: str
    width: int  # of its output
    can_classify: bool  # False where its output has become features, such as by a norm


class OutputFlow(DispatchMode):
    """Follow the data through one pass of a model that runs inside this context.

    It keeps no tensors. Storages are known by their addresses: an address that is used again gets
    the sources of the new tensor.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sources: frozenset[_Source] = frozenset()  # of the output
        self.shape: tuple[int, ...] = ()  # of the output; () without a tensor
        self._model = model
        self._modules = dict(model.named_modules())
        self._running: list[str] = []
        self._sources: dict[int, frozenset[_Source]] = {}
        self._hooks = ExitStack()

    def __enter__(self) -> OutputFlow:
        for name, module in self._modules.items():
            self._hooks.callback(module.register_forward_pre_hook(self._enter(name)).remove)
            self._hooks.callback(
                module.register_forward_hook(self._leave(name), always_call=True).remove
            )
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, where)  # type: ignore[no-untyped-call]
        self._hooks.close()

    def head(self, chosen: str = "") -> Head:
        """The head of the model that ran.

        Parameters
        ----------
        chosen : str
            A layer, "none", or "" to find it.

        Raises
        ------
        OptionError
            If the choice is none of the model's linear and convolution layers.
        """
        if chosen:
            return self._chosen(chosen)
        if len(self.shape) < 2 or any(side != 1 for side in self.shape[2:]):
            what = f"numbers of shape {self.shape[1:]}" if len(self.shape) > 1 else "one number"
            return self._no_head(f"it gives {what if self.shape else 'no tensor'} for an image")
        if not self.sources:
            return Head(
                None,
                "It cannot be followed which layer gives this network's output. "
                f"Name it with --head, or “{NO_HEAD}”.",
            )
        fitting = {s for s in self.sources if s.width == self.shape[1]}
        able = [n for n in self._modules if any(s.name == n and s.can_classify for s in fitting)]
        if len(able) > 1:
            return Head(
                None,
                "It is not clear which layer of this network is the classifier, because its "
                f"output depends on {first_of(able)}. Name one with --head, or “{NO_HEAD}”.",
            )
        if not able:
            return self._no_head("its output comes from no linear layer or 1 × 1 convolution")
        kind = type(module := self._modules[able[0]])
        own = next(module.parameters(recurse=False), None)
        if (own is None or not able[0]) and not is_parametrized(module):
            return Head(
                None,
                f"The classifier of this network, {able[0] or 'its own forward'}, has no weights "
                f"that can train as a layer: it is {_name_of(kind)}. Make it a linear layer, or "
                "name one with --head.",
            )
        return Head(able[0])

    def _no_head(self, why: str) -> Head:
        return Head(
            None,
            f"This network has no classifier: {why}. If one of its layers is, name it with --head.",
            self._features(),
        )

    def _features(self) -> int:
        if len(self.shape) < 2:
            return 0
        return self.shape[2 if len(self.shape) == 3 else 1]  # of places in a row, the last axis

    def _chosen(self, name: str) -> Head:
        check_head(self._model, name)
        return Head(None, features=self._features()) if name == NO_HEAD else Head(name)

    def _enter(self, name: str) -> Any:
        def enter(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            if not self._running:
                for tensor in _tensors(inputs):
                    self._sources[_storage(tensor)] = frozenset({_Source("", 0, False)})
            self._running.append(name)

        return enter

    def _leave(self, name: str) -> Any:
        def leave(_: nn.Module, __: object, output: object) -> None:
            self._running.pop()
            if not self._running and (tensor := first_tensor(output)) is not None:
                self.shape = tuple(tensor.shape)
                self.sources = self._sources.get(_storage(tensor), frozenset())

        return leave

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        inputs = _tensors((args, kwargs))
        name = function.overloadpacket.__name__
        known = [self._sources.get(_storage(tensor), frozenset()) for tensor in inputs]
        reaching = frozenset().union(*known)
        if _WITHOUT_DATA.search(name):
            reaching = frozenset()
        for tensor in _tensors(output):
            key = _storage(tensor)
            sources = self._after(function, name, inputs, known, tensor, reaching)
            if sources:
                self._sources[key] = sources
            else:
                self._sources.pop(key, None)
        return output

    def _after(
        self,
        function: Any,
        name: str,
        inputs: list[Tensor],
        known: list[frozenset[_Source]],
        output: Tensor,
        reaching: frozenset[_Source],
    ) -> frozenset[_Source]:
        if not self._running:
            return reaching
        # What went through NumPy has no known source.
        if _LINEAR.search(name) and (
            reaching or isinstance(self._modules[self._running[-1]], HEAD_KINDS)
        ):
            # A product of two tensors of the images, as in attention, is no layer.
            weighted = any(not s and t.dim() > 1 for t, s in zip(inputs, known, strict=True))
            if weighted or function.namespace not in ("aten", "prims"):
                return frozenset({self._source(name, output)})
        if _NORM.search(name):
            return frozenset(_Source(s.name, s.width, False) for s in reaching)
        if _RECTIFIER.search(name):  # convolutions may rectify their scores before averaging them
            return frozenset(
                _Source(
                    s.name,
                    s.width,
                    s.can_classify and not isinstance(self._modules.get(s.name), nn.Linear),
                )
                for s in reaching
            )
        return reaching

    def _source(self, name: str, output: Tensor) -> _Source:
        if "conv" not in name or output.dim() < 3:
            return _Source(self._running[-1], output.shape[-1] if output.dim() else 0, True)
        module = self._modules[self._running[-1]]
        # A larger kernel before a mean over places extracts features.
        pointwise = isinstance(module, nn.Conv2d) and set(module.kernel_size) == {1}
        return _Source(
            self._running[-1], output.shape[1], pointwise or set(output.shape[2:]) == {1}
        )


def check_head(model: nn.Module, name: str) -> None:
    """Raise `OptionError` unless it names a linear or convolution layer of the model, or none."""
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, HEAD_KINDS)}
    if name in ("", NO_HEAD) or name in layers:
        return
    known = list(filter(None, layers))
    if not known:
        raise OptionError(
            f"`head` must be “{NO_HEAD}”, as the network has no linear or convolution layer with a "
            f"name; got {name!r}"
        )
    raise OptionError(
        f"`head` must be a linear or convolution layer of the network, such as "
        f"{first_of(known[:-4:-1])}, or “{NO_HEAD}”; got {name!r}"
    )


def _name_of(kind: type) -> str:
    """A class, with its module unless that is the user's own file, which has an odd name here."""
    own = kind.__module__.startswith(OWN_CODE)
    return kind.__name__ if own else f"{kind.__module__}.{kind.__name__}"


def _tensors(values: object) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _storage(tensor: Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # a sparse tensor has none of its own
        return id(tensor)
