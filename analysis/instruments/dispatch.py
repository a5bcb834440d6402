"""Dispatch modes, which see each operation of torch, without torch's compiler.

torch wraps every mode so that the compiler leaves its code alone. That imports the compiler with
the first operation, which takes nearly as long as importing torch itself.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, _FlopCounterMode


def _past_compiler(wrapped: Callable[..., Any]) -> Callable[..., Any]:
    own = inspect.unwrap(wrapped)

    @wraps(own)
    def dispatch(*args: Any, **kwargs: Any) -> Any:
        return (wrapped if "torch._dynamo" in sys.modules else own)(*args, **kwargs)

    return dispatch


class DispatchMode(TorchDispatchMode):
    """A dispatch mode that does not import the compiler.

    Once it is there, because a network has compiled parts or for an optimiser, it is kept out of
    the mode's code as torch does.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)  # type: ignore[no-untyped-call]
        cls.__torch_dispatch__ = _past_compiler(cls.__torch_dispatch__)  # type: ignore[method-assign]


class FlopMode(DispatchMode, _FlopCounterMode):
    """Counts the FLOPs of all operations."""

    def __init__(self) -> None:
        super().__init__(FlopCounterMode(display=False))

    @property
    def flops(self) -> int:
        """Those so far."""
        return self.counter.get_total_flops()
