"""The memory ledger: live tensor bytes of a training step, by purpose.

It follows storages, on any device and with fake tensors, so a view costs nothing. It does not see
the temporary memory inside a kernel or the reserve of an allocator.

It only observes. What the backward pass keeps is read from the graph: hooks of saved tensors would
switch off torch's check for tensors that were altered since, and `torch.func` refuses to run under
them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.optim import Optimizer
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack
from torch.utils._pytree import tree_leaves

from analysis.instruments.dispatch import DispatchMode
from analysis.instruments.memory_use import LedgerKind, MemoryUse


@dataclass(eq=False, slots=True)
class _Storage:
    size: int  # bytes
    born: int  # the event at which it first appeared
    kind: LedgerKind | None = None  # None until its purpose is known
    died: int | None = None


class Ledger(DispatchMode):
    """Counts every tensor that torch makes while it is entered, and finds the peak.

    The purpose of a storage may be known only after the peak, such as that of a gradient before
    it reaches `.grad`. So the peak is broken down afterwards.

    Parameters
    ----------
    model : nn.Module
        Its parameters count as parameters, its buffers as other.
    optimizer : Optimizer, optional
        Its state counts as optimiser state.
    batch : sequence of Tensor
        The step's input. It counts as other even if the backward pass keeps it: it is in memory
        whatever is trained.
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer | None = None, batch: Sequence[Tensor] = ()
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._model = model
        self._optimizer = optimizer
        self._live: dict[int, tuple[_Storage, weakref.ref[Any]]] = {}
        self._seen: list[_Storage] = []
        self._events = 0
        self._bytes = 0
        self._peak = (0, 0)  # bytes, event
        self._hooks = ExitStack()
        self.hold(model.parameters(), "parameters")
        self.hold((p.grad for p in model.parameters() if p.grad is not None), "gradients")
        self.hold(self._state(), "optimizer")
        self.hold(model.buffers(), "other")
        self.hold(batch, "other")

    @property
    def bytes(self) -> int:
        """Live bytes now."""
        return self._bytes

    @property
    def peak(self) -> MemoryUse:
        """Live bytes at the moment when they were most."""
        at = self._peak[1]
        sizes: dict[str, int] = {}
        for storage in self._seen:
            if storage.born <= at and (storage.died is None or storage.died >= at):
                kind = storage.kind or "other"
                sizes[kind] = sizes.get(kind, 0) + storage.size
        return MemoryUse(**sizes)

    def hold(self, tensors: Iterable[Tensor], kind: LedgerKind) -> None:
        """Record the purpose of tensors that have none yet."""
        for tensor in tensors:
            storage = self._note(tensor)
            if storage is not None and storage.kind is None:
                storage.kind = kind

    def __enter__(self) -> Ledger:
        for parameter in self._model.parameters():
            if parameter.requires_grad:
                handle = parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                    self._note_gradient
                )
                self._hooks.callback(handle.remove)
        if self._optimizer is not None:
            self._hooks.callback(self._optimizer.register_step_post_hook(self._note_state).remove)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]
        self._hooks.close()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for output in (result,) if isinstance(result, Tensor) else tree_leaves(result):
            if isinstance(output, Tensor):
                self._note(output)
        return result

    def _note(self, tensor: Tensor) -> _Storage | None:
        try:
            memory = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):  # such as a sparse tensor, which has none
            return None
        known = self._live.get(memory._cdata)
        if known is not None:
            return known[0]
        self._events += 1
        storage = _Storage(memory.nbytes(), self._events)
        # The weak reference ends with the storage itself, not with the Python object around it.
        # Its own reference to the ledger is weak, so that they do not keep each other alive, and
        # the model with them.
        reference = weakref.ref(memory, partial(_forget, weakref.ref(self), memory._cdata))
        self._live[memory._cdata] = (storage, reference)
        self._seen.append(storage)
        self._bytes += storage.size
        self._peak = max(self._peak, (self._bytes, self._events), key=lambda peak: peak[0])
        return storage

    def _free(self, key: int) -> None:
        storage, _reference = self._live.pop(key)
        storage.died = self._events
        self._bytes -= storage.size

    def _note_gradient(self, parameter: Tensor) -> None:
        if parameter.grad is not None:
            self.hold([parameter.grad], "gradients")

    def _note_state(self, *_: object) -> None:
        self.hold(self._state(), "optimizer")

    def _state(self) -> Iterable[Tensor]:
        states = self._optimizer.state.values() if self._optimizer is not None else ()
        return [value for state in states for value in state.values() if isinstance(value, Tensor)]


def _forget(ledger: weakref.ref[Ledger], key: int, _: object) -> None:
    live = ledger()
    if live is not None:
        live._free(key)


def note_kept_tensors(loss: Tensor) -> None:
    """Record as activations what the graph of a loss keeps, in the ledgers that are entered."""
    ledgers = [mode for mode in _get_current_dispatch_mode_stack() if isinstance(mode, Ledger)]
    if ledgers:
        kept = list(_kept_tensors(loss.grad_fn))
        for ledger in ledgers:
            ledger.hold(kept, "activations")


def _kept_tensors(root: Node | None) -> Iterator[Tensor]:
    """The tensors that a graph keeps for its backward pass, without unpacking any of them.

    Unpacking would check them, and recompute what checkpointing has left out.
    """
    nodes, seen = [root], {root}
    while nodes:
        node = nodes.pop()
        if node is None:
            continue
        for name in dir(node):
            if name.startswith("_raw_saved_"):
                saved = getattr(node, name)
                for item in saved if isinstance(saved, tuple) else (saved,):
                    # Hooks of the network's own may have packed anything.
                    if isinstance(tensor := getattr(item, "data", None), Tensor):
                        yield tensor
        following = {next_node for next_node, _ in node.next_functions} - seen
        seen |= following
        nodes.extend(following)
