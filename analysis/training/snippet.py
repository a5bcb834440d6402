"""A few lines of PyTorch that train the same layers in the user's own code."""

from __future__ import annotations

from analysis.models import spec_of
from analysis.options import LEARNING_RATES, RunOptions, Scope
from analysis.selection.strategies import STRATEGIES
from analysis.training.metrics import Selection

_RULES: dict[Scope, str] = {
    "layers": "owner in LAYERS or owner.removesuffix('.out_proj') in LAYERS",
    "head": "owner in LAYERS",
    "norms-and-biases": (
        'owner in LAYERS or name.endswith("bias") or "Norm" in type(modules[owner]).__name__'
    ),
    "everything": "True",
}

_TEMPLATE = """import torch

# You provide `model`, with a new head ({head}) for your classes, and `loader`, which yields
# batches of images and labels. Chosen by BettiScope: {strategy} on {model}, {dataset}.
LAYERS = {layers}

modules = dict(model.named_modules())
for name, parameter in model.named_parameters():
    owner = name.rpartition(".")[0]
    parameter.requires_grad_({rule})

trained = [p for p in model.parameters() if p.requires_grad]
decayed = [p for p in trained if p.dim() > 1]  # no weight decay for norms and biases
optimizer = {optimizer}
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, {epochs} * len(loader))
everything = len(trained) == len(list(model.parameters()))

for epoch in range({epochs}):
    model.train()
    for module in modules.values():  # frozen norms keep their running statistics
        trains = everything or any(p.requires_grad for p in module.parameters(recurse=False))
        if any(True for _ in module.buffers(recurse=False)) and not trains:
            module.eval()
    for images, labels in loader:
        torch.nn.functional.cross_entropy(model(images), labels).backward()
{decay}        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
model.eval()
"""

_SGD = "torch.optim.SGD(trained, lr={rate:g}, momentum={momentum:g})"
_ADAMW = (
    "torch.optim.AdamW(\n"
    '    [{{"params": decayed, "weight_decay": {decay:g}}},\n'
    '     {{"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0}}],\n'
    "    lr={rate:g},\n"
    ")"
)
_DECOUPLED = """        with torch.no_grad():
            for parameter in decayed:
                parameter.mul_(1 - scheduler.get_last_lr()[0] * {decay:g})
"""


def snippet(options: RunOptions, selection: Selection) -> str:
    """Code that freezes and trains the layers of a run, for the user's own model and data.

    Parameters
    ----------
    options : RunOptions
    selection : Selection
        Of the run.

    Returns
    -------
    str
        Python. It expects the variables `model` and `loader`.
    """
    recipe, scope = options.recipe, STRATEGIES[options.strategy].scope
    spec = spec_of(options.analysis.model)  # None if the model is gone since
    known = spec.head if spec else ""
    # In timm's networks and the user's own code, the head is the layer that runs last.
    head = known or (selection.layers[-1] if selection.layers else "")
    rate = recipe.learning_rate or LEARNING_RATES[selection.optimizer]
    # The code finds norms that train by their kind, not by name.
    names = (head,) if scope == "norms-and-biases" else selection.layers
    layers = "[]" if scope == "everything" else _list_literal(names)
    optimizer = (_SGD if selection.optimizer == "sgd" else _ADAMW).format(
        rate=rate, momentum=recipe.momentum, decay=recipe.weight_decay
    )
    by_hand = selection.optimizer == "sgd" and recipe.weight_decay > 0
    return _TEMPLATE.format(
        head=f'"{head}"' if known or scope == "norms-and-biases" else "the classifier",
        strategy=options.strategy,
        model=options.analysis.model,
        dataset=options.analysis.dataset,
        layers=layers,
        rule=_RULES[scope],
        optimizer=optimizer,
        epochs=recipe.epochs,
        decay=_DECOUPLED.format(decay=recipe.weight_decay) if by_hand else "",
    )


def _list_literal(layers: tuple[str, ...]) -> str:
    return "[\n" + "".join(f'    "{name}",\n' for name in layers) + "]"
