"""A few lines of PyTorch that train the same layers in the user's own code."""

from __future__ import annotations

from analysis.datasets import DATASETS
from analysis.models import spec_of
from analysis.models.names import ADDED_HEAD
from analysis.options import LEARNING_RATES, RunOptions, Scope
from analysis.selection.strategies import ALL_STRATEGIES
from analysis.training.metrics import Selection

_RULES: dict[Scope, str] = {
    "layers": "owner_of(name) in LAYERS",
    "head": "owner_of(name) in LAYERS",
    "norms-and-biases": (
        'owner_of(name) in LAYERS or name.endswith("bias") or "Norm" in kinds[owner_of(name)]'
    ),
    "everything": "True",
}
# Older runs do not say which modules belong to their attention layers.
_OLDER_RULE = 'owner_of(name) in LAYERS or owner_of(name).removesuffix(".out_proj") in LAYERS'

_KINDS = """kinds = {
    owner_of(f"{name}."): type(module).__name__
    for name, module in network.named_modules(remove_duplicate=False)
    if "parametrizations" not in name
}
"""

_ADDED = """

def features_of(output):  # of each image: the mean over places of the first tensor
    while not isinstance(output, torch.Tensor):
        output = next(iter(output.values() if isinstance(output, dict) else output))
    if output.dim() == 3:  # (images, places, features)
        return output.mean(1)
    return output.flatten(2).mean(2) if output.dim() > 3 else output


class WithClassifier(torch.nn.Module):
    def __init__(self, backbone, images):
        super().__init__()
        self.backbone = backbone.eval()
        with torch.no_grad():
            features = features_of(backbone(images))
        self.{head} = torch.nn.Linear(features.shape[1], {classes}, device=features.device)

    def forward(self, images):
        return self.{head}(features_of(self.backbone(images)))


model = network = WithClassifier(network, next(iter(loader))[0])
"""

_TEMPLATE = """import torch

# You provide `model`, {head}, and `loader`, which yields
# batches of images and labels. Chosen by BettiScope: {strategy} on {model}, {dataset}.
LAYERS = {layers}

parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
network = model.module if isinstance(model, parallel) else model
{added}

def owner_of(name):  # the module of a parameter; a parametrisation is part of its module
    path = f".{{name}}".replace("._orig_mod", "")  # which torch.compile adds
    module, within, _ = path.partition(".parametrizations.")
    return (module if within else path.rpartition(".")[0])[1:]


{kinds}named = list(network.named_parameters(remove_duplicate=False))  # tied ones by each name
model.requires_grad_(False)
for name, parameter in named:
    if {rule}:
        parameter.requires_grad_(True)

trained = [p for p in model.parameters() if p.requires_grad]
decayed = [p for p in trained if p.dim() > 1]  # no weight decay for norms and biases
optimizer = {optimizer}
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, {epochs} * len(loader))
everything = len(trained) == len(list(model.parameters()))
training = {{owner_of(name) for name, p in named if p.requires_grad}}

for epoch in range({epochs}):
    model.train()
    for name, module in network.named_modules():  # frozen norms keep their running statistics
        trains = everything or owner_of(f"{{name}}.") in training
        if any(True for _ in module.buffers(recurse=False)) and not trains:
            module.training = False
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
                if parameter.grad is not None:
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
    recipe, scope = options.recipe, ALL_STRATEGIES[options.strategy].scope
    spec = spec_of(options.analysis.model)  # None if the model is gone since
    known = selection.head or (spec.head if spec else "")
    # Of older runs: in timm's networks and the user's own code, it was the layer that ran last.
    head = known or (selection.layers[-1] if selection.layers else "")
    shown = f'"{head}"' if known or scope == "norms-and-biases" else "the classifier"
    shown = f"with a new head ({shown}) for your classes"
    if is_added := head == ADDED_HEAD:
        shown = "which gets a new linear head here"
    rate = recipe.learning_rate or LEARNING_RATES[selection.optimizer]
    # The code finds norms that train by their kind, not by name.
    is_norms = scope == "norms-and-biases"
    names = (head,) if is_norms else (*selection.layers, *(selection.inner or ()))
    if is_added:
        names = tuple(name if name == head else f"backbone.{name}" for name in names)
    is_older = selection.inner is None and scope == "layers"
    layers = "[]" if scope == "everything" else _list_literal(names)
    optimizer = (_SGD if selection.optimizer == "sgd" else _ADAMW).format(
        rate=rate, momentum=recipe.momentum, decay=recipe.weight_decay
    )
    by_hand = selection.optimizer == "sgd" and recipe.weight_decay > 0
    return _TEMPLATE.format(
        head=shown,
        strategy=options.strategy,
        model=options.analysis.model,
        dataset=options.analysis.dataset,
        layers=layers,
        added=_ADDED.format(head=head, classes=_classes(options)) if is_added else "",
        rule=_OLDER_RULE if is_older else _RULES[scope],
        kinds=_KINDS if is_norms else "",
        optimizer=optimizer,
        epochs=recipe.epochs,
        decay=_DECOUPLED.format(decay=recipe.weight_decay) if by_hand else "",
    )


def _classes(options: RunOptions) -> str:
    known = DATASETS.get(options.analysis.dataset)  # a folder may be gone since, or take a scan
    return str(len(known.class_names)) if known else "len(loader.dataset.classes)"


def _list_literal(layers: tuple[str, ...]) -> str:
    return "[\n" + "".join(f'    "{name}",\n' for name in layers) + "]"
