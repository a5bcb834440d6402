"""What a network raises in a forward pass, as a sentence for the user."""

from __future__ import annotations

import inspect
import re
import traceback

from torch import Tensor, nn

from analysis.errors import is_out_of_memory

_HALF = re.compile("Half|BFloat16")
# Words of torch's errors about tensors on several devices
OTHER_DEVICE = re.compile("same device|expected device|torch.cuda.FloatTensor|to numpy")
LEFT_BEHIND = (
    "The network uses tensors on another device than the images. Register them with "
    "register_buffer, or make them with device=x.device; or compute on the CPU."
)


def pass_error(error: BaseException, images: Tensor, model: nn.Module) -> str:
    """Why a model could not run on images, for the user."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if is_out_of_memory(error):
        return (
            f"There is not enough memory for {len(images)} images of shape "
            f"{tuple(images.shape[1:])} in one pass: use fewer samples or a smaller model."
        )
    inputs = _required_inputs(model)
    if len(inputs) > 1:
        return (
            f"The network takes {len(inputs)} inputs ({', '.join(inputs)}), but here it gets one, "
            "the images. Wrap it in a module whose forward needs nothing else."
        )
    if _wanted_names(error):
        return (
            "The network takes a dict or an object with names, but here it gets a tensor, the "
            "images. Wrap it in a module whose forward takes a tensor."
        )
    if missing := without_forward(error):
        return missing
    if re.search("dtype|same type|should be the same", lines[0]) and _HALF.search(lines[0]):
        return (
            f"The network computes in half precision by itself, but its weights are float32 here, "
            f"as all are ({lines[0].rstrip('.')}). Let its forward keep the type of its input; "
            "choose a half precision with --precision."
        )
    if OTHER_DEVICE.search(lines[0]):
        return LEFT_BEHIND
    why = f"SystemExit: {error}" if isinstance(error, SystemExit) else lines[0]
    return f"The model could not run on images of shape {tuple(images.shape[1:])}: {why}"


def without_forward(error: BaseException) -> str:
    """That a module was called that has no forward pass; or ""."""
    match = re.search(r'Module \[(.+)\] is missing the required "forward"', str(error))
    if match is None:
        return ""
    return (
        f"The module {match[1]} has no forward pass, but is called. Give it a method `forward`, or "
        "call what it contains."
    )


def _required_inputs(model: nn.Module) -> list[str]:
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):  # written in C, for example
        return []
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variable]


def _wanted_names(error: BaseException) -> bool:
    """Whether a tensor was used as if it were a dict: torch's messages do not say so."""
    if isinstance(error, AttributeError):
        return bool(re.search("'Tensor' object has no attribute '(get|items|keys)'", str(error)))
    line = (traceback.extract_tb(error.__traceback__)[-1].line or "") if error.__traceback__ else ""
    by_name = isinstance(error, (IndexError, TypeError)) and re.search(r"""\[\s*["']""", line)
    return bool(by_name) or "must be a mapping, not Tensor" in str(error)
