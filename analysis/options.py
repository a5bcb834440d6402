"""What a person may ask for: one analysis, one fine-tune, and the presets of the method."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, get_args

from analysis.errors import OptionError, choice_problem, raise_problems

Pooling = Literal["pooled", "per-batch", "subsets"]
Rounding = Literal["nearest", "floor", "at-least-one"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bfloat16", "float16"]
Split = Literal["train", "validation", "test"]
Augmentation = Literal["none", "flip-crop"]
Optimizer = Literal["auto", "sgd", "adamw"]
LoopUnit = Literal["distance", "diameter"]
EpsRule = Literal["most-clusters", "knee"]
Scope = Literal["layers", "head", "norms-and-biases", "everything"]

POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)
WEIGHTS = ("pretrained", "random")  # beside weight sets by name and checkpoints by path
DEVICES: tuple[Device, ...] = get_args(Device)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
SPLITS: tuple[Split, ...] = get_args(Split)
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)
OPTIMIZERS: tuple[Optimizer, ...] = get_args(Optimizer)
EPS_RULES: tuple[EpsRule, ...] = get_args(EpsRule)
LOOP_UNITS: tuple[LoopUnit, ...] = get_args(LoopUnit)

MIN_SAMPLES = 4  # a loop needs four points
USUAL_BATCH = 8  # images, as in the paper
CLOUD_IMAGES = {"per-batch": USUAL_BATCH, "subsets": 40}  # of a batch or subset, if not given
MAX_SEVERITY = 5
LEARNING_RATES = {"sgd": 0.05, "adamw": 1e-3}  # what suits the pocket zoo on the digits
_MOST_SEED = 2**32 - 1

_T = TypeVar("_T")


@dataclass(frozen=True)
class Option:
    """What the command line and the pages show of one option, and the values it may have."""

    help: str  # read by the command line and by the pages
    choices: tuple[str, ...] = ()
    low: float | None = None  # allowed itself, as `high` is
    high: float | None = None
    above: float | None = None  # not allowed itself, as `below` is not
    below: float | None = None
    # What a form offers, where that is less than what is allowed.
    least: float | None = None
    most: float | None = None
    step: float | None = None

    def problems(self, name: str, value: Any) -> list[str]:
        """What is wrong with a value; None is left to whoever uses the option."""
        if value is None:
            return []
        if self.choices:
            return choice_problem(name, value, self.choices)
        rule = self._rule()
        if not rule or self._in_range(value):
            return []
        shown = f"{value:g}" if isinstance(value, float) else value
        return [f"`{name}` must be {rule}, got {shown}"]

    def _in_range(self, value: float) -> bool:
        return (
            (not isinstance(value, float) or math.isfinite(value))
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def _rule(self) -> str:
        low, high, above, below = map(_number, (self.low, self.high, self.above, self.below))
        if above and high:
            return f"in ({above}, {high}]"
        if low and below:
            return f"in [{low}, {below})"
        if low and high:
            return f"from {low} to {high}"
        return f"above {above}" if above else f"at least {low}" if low else ""


def option(default: _T, help: str, **settings: Any) -> _T:
    """A dataclass field with an `Option`, which takes the settings."""
    return field(default=default, metadata={"option": Option(help, **settings)})


def option_of(owner: type, name: str) -> Option:
    """The `Option` of a field of `AnalysisOptions`, `RunOptions` or `Recipe`."""
    return options_of(owner)[name]


def options_of(owner: type) -> dict[str, Option]:
    """Every `Option` of a dataclass by its field's name."""
    return {f.name: f.metadata["option"] for f in fields(owner) if "option" in f.metadata}


def option_problems(owner: type, values: Mapping[str, Any]) -> list[str]:
    """What is wrong with these values of fields: choices first, then ranges."""
    known = {name: setting for name, setting in options_of(owner).items() if name in values}
    ordered = sorted(known, key=lambda name: not known[name].choices)
    return [text for name in ordered for text in known[name].problems(name, values[name])]


_MOST_STD = 10  # more belongs to values up to 255


def channel_numbers(name: str, text: str) -> tuple[float, ...]:
    """The numbers in `input_mean` or `input_std`, one or one for each channel.

    Raises
    ------
    OptionError
        If it is no list of numbers, or a deviation is not above zero.
    """
    words = text.strip(" ()[]").replace(",", " ").split()
    try:
        numbers = tuple(float(word) for word in words)
    except ValueError:
        numbers = (math.nan,)
    if rule := channel_rule(numbers, positive=name == "input_std"):
        raise OptionError(f"`{name}` must be {rule}, separated by commas, got {text!r}")
    return numbers


def channel_rule(numbers: Iterable[float], *, positive: bool) -> str:
    """The rule that a mean breaks, or a deviation, which is positive; or ""."""
    numbers = list(numbers)
    kind = "numbers above 0" if positive else "numbers"
    if not all(math.isfinite(number) and (number > 0 or not positive) for number in numbers):
        return kind
    # Values in [0, 1] have no mean above 1, and a deviation of at most 0.5.
    if any(abs(number) > (_MOST_STD if positive else 1) for number in numbers):
        return f"{kind} for values from 0 to 1 (divide those for 0 to 255 by 255)"
    return ""


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return "2³² - 1" if value == _MOST_SEED else f"{value:g}"


@dataclass(frozen=True)
class AnalysisOptions:
    """Everything that decides the numbers of one analysis. Names are checked where they are used.

    Raises
    ------
    OptionError
        Naming every field out of range.
    """

    model: str = option("pocket-resnet20", "The network to use.")
    dataset: str = option("digits", "The images to use.")
    # "pretrained", "random", a weight set's name, or "file:" and a checkpoint
    weights: str = option("pretrained", "The weights to start from.")
    # Only of a checkpoint; "": the weights that were trained, not an average of them
    weights_key: str = option(
        "", "Which set of weights to use, if a checkpoint contains several, such as model_ema."
    )
    # Of the user's own code; "": found by what the network gives
    head: str = option(
        "",
        "The layer that gives the classes, if it is not found by itself: its name, or none if the "
        "network has no classifier.",
    )
    # A name of `analysis.datasets.SHIFTS`
    shift: str = option("none", "A change to the images, to see how the layers respond.")
    # Without effect when `shift` is "none"
    severity: int = option(
        3, "How strong the shift is, from 1 (slight) to 5 (strong).", low=1, high=MAX_SEVERITY
    )
    # Images, each one point of every cloud
    samples: int = option(160, "How many images to measure the layers with.", low=MIN_SAMPLES)
    # Images; decides the clouds unless `pooling` is "pooled"
    batch_size: int = option(
        CLOUD_IMAGES["subsets"],
        "Images in each batch or subset, if these are measured separately.",
        low=1,
    )
    # Decides the clouds when `pooling` is "subsets"
    subsets: int = option(
        100,
        "How many random subsets of the images to measure. Each number is the mean over them.",
        low=1,
        high=10_000,
        step=20,
    )
    seed: int = option(
        0,
        "Decides which images are drawn, and any random weights. The same seed repeats a result.",
        low=0,
        high=_MOST_SEED,
        most=9999,
    )
    pooling: Pooling = option(
        "subsets",
        "Measure all images together (pooled), each batch separately, or random subsets.",
        choices=POOLINGS,
    )
    split: Split = option("train", "The part of the dataset to draw images from.", choices=SPLITS)
    input_side: int = option(
        0,
        "Width and height of the images in pixels. 0: the size that the weights expect.",
        low=0,
        most=2048,
        step=32,
    )
    # Pixels of the shorter side; 0: as for the weights
    input_resize: int = option(
        0,
        "Resize the shorter side of an image to so many pixels before its centre is cropped to the "
        "image side; as many as that crop nothing of a square. 0: as the weights expect.",
        low=0,
        most=4096,
        step=32,
    )
    # On the scale of 0 to 1, one number or one for each channel; "": those of the weights
    input_mean: str = option(
        "",
        "What is subtracted from the values of the images, from 0 (black) to 1, such as 0.5 or "
        "0.485, 0.456, 0.406. Empty: what the weights expect.",
    )
    input_std: str = option(
        "",
        "What the values are then divided by, such as 0.5 or 0.229, 0.224, 0.225. Empty: what the "
        "weights expect.",
    )
    precision: Precision = option(  # distances are never computed in less than float32
        "float32",
        "Number format of the activations. The 16-bit formats need less memory on a GPU, but their "
        "rounding makes and hides short loops.",
        choices=PRECISIONS,
    )
    # These two decide how an analysis is computed, not what comes out of it.
    device: Device = option(
        "auto",
        "Where the network runs. auto: the graphics card if there is one, otherwise the CPU.",
        choices=DEVICES,
    )
    memory: int = option(  # bytes, of the process or of the GPU
        0,
        "The most memory an analysis may use, in GB. 0: most of what is free.",
        low=0,
        most=1024 * 10**9,
        step=5 * 10**8,
    )

    def __post_init__(self) -> None:
        problems = option_problems(AnalysisOptions, vars(self))
        for name in ("input_mean", "input_std"):
            try:
                numbers = channel_numbers(name, getattr(self, name))
            except OptionError as error:
                problems.append(str(error))
            else:  # one spelling, so that equal options are equal
                object.__setattr__(self, name, ", ".join(f"{number:.9g}" for number in numbers))
        if self.pooling == "per-batch" and MIN_SAMPLES <= self.samples < self.batch_size:
            problems.append(
                f"`samples` must be at least one batch of {self.batch_size} when `pooling` is "
                f"'per-batch', got {self.samples}"
            )
        if self.pooling == "subsets" and 1 <= self.batch_size < MIN_SAMPLES:
            problems.append(
                f"`batch_size` must be at least {MIN_SAMPLES} when `pooling` is 'subsets', got "
                f"{self.batch_size}"
            )
        raise_problems(problems)

    @property
    def cloud_images(self) -> int:
        """Images in each of the clouds that are measured."""
        return self.samples if self.pooling == "pooled" else min(self.batch_size, self.samples)

    @property
    def clouds(self) -> int:
        """Clouds that are measured in each layer."""
        if self.pooling == "per-batch":
            return self.samples // self.batch_size
        return self.subsets if self.cloud_images < self.samples else 1

    @property
    def gradient_batch(self) -> int:
        """Images in each backward pass that chooses layers; a subset is not passed by itself."""
        return USUAL_BATCH if self.pooling == "subsets" else self.batch_size

    def idle(self) -> frozenset[str]:
        """The fields that do not affect the numbers of this analysis."""
        names = {"memory"}
        if self.shift == "none":
            names.add("severity")
        if self.pooling == "pooled":
            names.add("batch_size")
        if self.pooling != "subsets":
            names.add("subsets")
        elif self.clouds == 1:  # all images
            names |= {"batch_size", "subsets"}
        if not self.head:
            names.add("head")
        if not self.weights_key or not self.weights.startswith("file:"):
            names.add("weights_key")
        names |= {
            name for name in ("input_resize", "input_mean", "input_std") if not getattr(self, name)
        }
        # In half widths autocast takes other operations on a GPU than on the CPU. What "auto" is
        # here only torch could say, which is not imported: the server works without it.
        if self.precision == "float32":
            names.add("device")
        return frozenset(names)

    def deciding(self) -> AnalysisOptions:
        """The same value for all options that ask for the same numbers."""
        return _with_defaults(self, self.idle())


def _with_defaults(options: AnalysisOptions, names: Iterable[str]) -> AnalysisOptions:
    return replace(options, **{name: getattr(AnalysisOptions, name) for name in names})


@dataclass(frozen=True)
class Preset:
    """One reading of the method (METHOD: three presets)."""

    help: str
    pooling: Pooling
    batches: int
    batch_size: int  # images
    normalization: str  # a name of `analysis.selection.scores.NORMALIZATIONS`
    rounding: Rounding
    ranks_head: bool  # False: the classifier head is always trained and never ranked
    subsets: int = AnalysisOptions.subsets  # of `batch_size` images

    @property
    def samples(self) -> int:
        return self.batches * self.batch_size


PRESETS = {
    "recommended": Preset(
        help="b₁ of 100 random subsets of 40 of 160 images, averaged; at least one layer; the new "
        "head is always trained.",
        pooling="subsets",
        batches=4,
        batch_size=CLOUD_IMAGES["subsets"],
        normalization="activation",
        rounding="at-least-one",
        ranks_head=False,
    ),
    "paper": Preset(
        help="One cloud of 5 × 8 images; the head is ranked like any layer. The paper does not "
        "state how ρ × layers is rounded: we take the nearest whole number.",
        pooling="pooled",
        batches=5,
        batch_size=8,
        normalization="activation",
        rounding="nearest",
        ranks_head=True,
    ),
    "released": Preset(
        help="b₁ of each of 4 batches of 32 images, averaged; ρ × layers is rounded down, "
        "so a small ρ may select nothing; the head is ranked like any layer.",
        pooling="per-batch",
        batches=4,
        batch_size=32,
        normalization="activation",
        rounding="floor",
        ranks_head=True,
    ),
}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, whatever part of it.

    Raises
    ------
    OptionError
        Naming every field out of range.
    """

    epochs: int = option(
        8, "How often training goes through the training images.", low=1, most=1000
    )
    batch_size: int = option(
        32, "Images in each training step. More images need more memory.", low=1, most=1024
    )
    # At the start; None: as in `LEARNING_RATES`
    learning_rate: float | None = option(
        None,
        "Size of the first training steps, which then shrink to zero. If you leave it out: "
        + ", ".join(f"{rate:g} for {name}" for name, rate in LEARNING_RATES.items())
        + ".",
        above=0.0,
        least=1e-6,
        most=10.0,
        step=0.01,
    )
    optimizer: Optimizer = option(
        "auto",
        "How training changes the weights. auto: AdamW for transformers, SGD with momentum for "
        "other networks.",
        choices=OPTIMIZERS,
    )
    momentum: float = option(
        0.9,
        "How much of each step carries over into the next. SGD only.",
        low=0.0,
        below=1.0,
        most=0.999,
        step=0.05,
    )
    weight_decay: float = option(  # decoupled
        5e-3,
        "Each step shrinks the weights by learning rate × this. Norms and biases do not shrink.",
        low=0.0,
        most=1.0,
        step=0.001,
    )
    augmentation: Augmentation = option(
        "none",
        "Random changes to the training images. flip-crop mirrors half of them and moves each a "
        "little; do not use it on digits or letters.",
        choices=AUGMENTATIONS,
    )
    # It changes time and memory, and no number that the training gives
    reuse_frozen: bool = option(
        True,
        "Run the frozen part of the network only once for each image, and keep its results for the "
        "other epochs. This is faster and needs more memory.",
    )
    # None: where it is cheap. It changes no number that the training gives
    follow_topology: bool | None = option(
        None,
        "Measure the loops of every layer after each epoch, on 32 validation images; the training "
        "itself stays the same.",
    )
    seed: int = option(
        0,
        "Decides the images drawn, their order, the new classifier and any random weights.",
        low=0,
        high=_MOST_SEED,
    )

    def __post_init__(self) -> None:
        raise_problems(option_problems(Recipe, vars(self)))


def batch_sizes(count: int, size: int) -> list[int]:
    """Images in each batch of an epoch; none is left alone, for norms that need two of them.

    A last image by itself joins the batch before it.
    """
    sizes, rest = [size] * (count // size), count % size
    if rest == 1 and sizes:
        return [*sizes[:-1], size + 1]
    return [*sizes, rest] if rest else sizes


@dataclass(frozen=True)
class RunOptions:
    """Everything that decides one fine-tune. Names are checked where they are used.

    Raises
    ------
    OptionError
        Naming every field out of range.
    """

    # The model and the data; also the images by which a strategy chooses its layers.
    analysis: AnalysisOptions = field(default_factory=AnalysisOptions)
    # A name of `analysis.selection.strategies.STRATEGIES`
    strategy: str = option("adabet", "How to choose the layers to train.")
    rho: float = option(
        0.1,
        "ρ (rho), the share of the layers to train. The layers with the best scores train, the "
        "others stay frozen.",
        above=0.0,
        high=1.0,
        least=0.01,
        step=0.01,
    )
    # As for `analysis.selection.scores.normalization_of`
    normalization: str = option(
        "activation", "What the number of loops is divided by to give the score."
    )
    # Rounding, and whether the head is ranked
    preset: str = option(
        "recommended",
        "Three versions of the method. Each sets other options as well.",
        choices=tuple(PRESETS),
    )
    # A name of `analysis.topology.summaries.SUMMARIES`
    summary: str = option("b1", "The number that describes a layer's loops in the score.")
    min_persistence: float = option(  # in `persistence_unit`
        0.0,
        "Ignore loops that live no longer than this.",
        low=0.0,
        step=0.1,
    )
    persistence_unit: LoopUnit = option(
        "distance",
        "Unit of the shortest loop. distance: as in the layer, whose distances may be many times "
        "those of another; diameter: a share of the layer's largest distance.",
        choices=LOOP_UNITS,
    )
    # Images; validation and test are used whole
    train_samples: int = option(
        500,
        "How many images to train on, drawn from the train split.",
        low=1,
        most=1_000_000,
        step=50,
    )
    recipe: Recipe = field(default_factory=Recipe)
    # Names of layers that train beside those that the strategy chooses
    also_train: tuple[str, ...] = ()

    @property
    def largest_step(self) -> Recipe:
        """The recipe with the batch of the largest step, which may be smaller or larger by one."""
        largest = max(batch_sizes(self.train_samples, self.recipe.batch_size))
        return replace(self.recipe, batch_size=largest)

    def deciding(self) -> RunOptions:
        """The same value for all options that ask for the same numbers.

        Unlike an analysis, training depends on the device, and the backward passes that choose
        layers depend on the batch size. Reuse of the frozen part changes only time and memory, and
        so does following the topology.
        """
        idle = self.analysis.idle() - {"device", "batch_size"}
        return replace(
            self,
            analysis=_with_defaults(self.analysis, idle),
            recipe=replace(
                self.recipe,
                reuse_frozen=Recipe.reuse_frozen,
                follow_topology=Recipe.follow_topology,
            ),
            persistence_unit=self.persistence_unit if self.min_persistence else "distance",
        )

    def __post_init__(self) -> None:
        problems = option_problems(RunOptions, vars(self))
        raise_problems(problems or loop_problems(self.min_persistence, self.persistence_unit))


@dataclass(frozen=True)
class ClusterOptions:
    """How DBSCAN clusters the images of each layer. No score depends on it.

    Raises
    ------
    OptionError
        Naming every field out of range.
    """

    # Without effect if one of the next two is given
    eps_rule: EpsRule = option(
        "most-clusters",
        "How the radius is found. most-clusters: the radius that gives the most clusters; knee: "
        "where the sorted distances to the nearest images bend most.",
        choices=EPS_RULES,
    )
    eps_quantile: float | None = option(
        None,
        "The radius is the distance that this share of all pairs of images lies below.",
        above=0.0,
        high=1.0,
        least=0.01,
        most=0.5,
        step=0.01,
    )
    eps: float | None = option(
        None, "The radius itself, the same in every layer.", above=0.0, least=1e-6, step=0.1
    )
    # The image itself included (Ester et al. 1996)
    min_samples: int = option(
        3, "How many images must be within the radius to start a cluster.", low=1, most=20
    )

    def __post_init__(self) -> None:
        problems = option_problems(ClusterOptions, vars(self))
        if self.eps is not None and self.eps_quantile is not None:
            problems.append("give `eps` or `eps_quantile`, not both")
        raise_problems(problems)

    @property
    def words(self) -> str:
        """How the radius was chosen; empty by default."""
        if self.eps is not None:
            return f"DBSCAN radius {self.eps:g}"
        if self.eps_quantile is not None:
            return f"DBSCAN radius at quantile {self.eps_quantile:g}"
        return "" if self.eps_rule == ClusterOptions.eps_rule else f"DBSCAN radius: {self.eps_rule}"


def loop_problems(min_persistence: float, persistence_unit: str) -> list[str]:
    """What is wrong with the shortest loop in its unit."""
    if persistence_unit != "diameter" or not min_persistence >= 1:
        return []
    return [
        "`min_persistence` must be below 1 when `persistence_unit` is 'diameter', got "
        f"{min_persistence:g}"
    ]


def check_rho(rho: float) -> None:
    """Raise `OptionError` unless 0 < rho <= 1."""
    raise_problems(option_problems(RunOptions, {"rho": rho}))


MOST_DRAWS = 99_999
MOST_PERMUTED = 9_999  # the loops of each are kept in memory and on disk


@dataclass(frozen=True)
class NullOptions:
    """Whether the loops of each layer are tested. No score depends on it unless it says so.

    Raises
    ------
    OptionError
        Naming every field out of range.
    """

    # Random rotations; the smallest p is 1 / (null + 1)
    null: int = option(
        0,
        "Test the loops of each layer against so many random rotations of its images, such as 199. "
        "0: no test.",
        low=0,
        high=MOST_DRAWS,
    )
    # Clouds of each layer; the smallest p is 1 / (permuted + 1)
    permuted: int = option(
        0,
        "Count the loops of each layer so often with every feature permuted over the images, such "
        "as 19. That takes one more pass of the network. 0: never.",
        low=0,
        high=MOST_PERMUTED,
    )

    def __post_init__(self) -> None:
        raise_problems(option_problems(NullOptions, vars(self)))
