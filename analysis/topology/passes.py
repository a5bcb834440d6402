"""Which images go into which forward pass, so that an analysis stays within a memory budget.

A distance involves two images. So if not all images fit into one pass, they are split into blocks,
and each pair of blocks gets a pass of its own: k blocks need k - 1 times the work of one pass and
2/k of its memory, and give the same distances. The alternative, a pass over all images for each
group of layers whose activations fit together, would need several times as many passes: 100
images of 224² make 8.9 GB of activations in ResNet50, of which 1.1 GB are live at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

from analysis.errors import ModelError
from analysis.options import MIN_SAMPLES
from analysis.text import gigabytes, plural

# What `Ledger` does not see: temporary copies of weights and tensors in another layout, and the
# allocator's reserve. Measured: 2 to 4 % for ResNet50.
_KERNELS, _ALLOCATOR = 1.15, 48_000_000  # a factor of the ledger's bytes, and bytes
_GRAM = 64  # bytes per pair of images in a pass while distances are formed, in float64
_MATRICES = 8  # bytes per pair of images in each layer: the matrix, and a copy to save it
_TOPOLOGY = 150  # bytes per pair of images in Ripser and DBSCAN, one layer at a time
HELD_BYTES = 2**29  # of prepared images; if they take more, they are prepared block by block
_PROCESS = 250_000_000  # bytes of a process that runs Ripser
PARALLEL_FROM = 150  # images; with fewer, Ripser needs less than about 10 ms per layer


@dataclass(frozen=True)
class Footprint:
    """The memory of an analysis, besides the weights, by its number of images."""

    layers: int
    image: int  # bytes of a forward pass for each of its images, including the input
    fixed: int = 0  # bytes of a forward pass, whatever its number of images
    processes: int = 1  # that run Ripser at the same time
    cloud: int | None = None  # images of the clouds that Ripser gets; None: all

    def of_pass(self, images: int) -> int:
        """Bytes on the model's device during a pass of `images` images."""
        live = _KERNELS * (self.fixed + self.image * images)
        return round(live) + _ALLOCATOR + _GRAM * images**2

    def of_matrices(self, samples: int) -> int:
        """Bytes of all distance matrices, on the host."""
        return _MATRICES * self.layers * samples**2

    def of_topology(self, samples: int) -> int:
        """Bytes on the host after the passes."""
        processes = self.processes if (self.cloud or samples) >= PARALLEL_FROM else 1
        started = processes * _PROCESS if processes > 1 else 0
        return self.of_matrices(samples) + started + processes * _TOPOLOGY * samples**2

    def peak(self, samples: int, images: int, budget: Budget) -> int:
        """Bytes at the peak of an analysis whose largest pass has `images` images."""
        if budget.host is not None:
            return self.of_pass(images)
        passes = self.of_matrices(samples) + self.of_pass(images)
        return max(passes, self.of_topology(samples))

    def fits(self, samples: int, images: int, budget: Budget) -> bool:
        """Whether an analysis whose largest pass has `images` images stays within a budget."""
        host = budget.device if budget.host is None else budget.host
        within = self.peak(samples, images, budget) <= budget.device
        return within and self.of_topology(samples) <= host

    def most_at_once(self, budget: Budget) -> int:
        """The number of images of the largest analysis in one pass."""
        return _largest(lambda images: self.fits(images, images, budget))


@dataclass(frozen=True)
class Budget:
    """Bytes that an analysis may take beyond those held when it starts."""

    device: int
    host: int | None = None  # None: the device is the host, and shares its bytes


@dataclass(frozen=True)
class Plan:
    """Which images go into which pass."""

    samples: int
    blocks: int = 1

    def __iter__(self) -> Iterator[tuple[range, ...]]:
        """The blocks of images of each pass; every pair of images is in some pass."""
        bounds = [i * self.samples // self.blocks for i in range(self.blocks + 1)]
        parts = [range(*bounds[i : i + 2]) for i in range(self.blocks)]
        return iter([tuple(parts)]) if self.blocks == 1 else combinations(parts, 2)

    @property
    def passes(self) -> int:
        return math.comb(self.blocks, 2) if self.blocks > 1 else 1

    @property
    def largest(self) -> int:
        """Images of the largest pass."""
        return min(self.samples, 2 * math.ceil(self.samples / self.blocks))

    @property
    def images(self) -> int:
        """Images of all passes together."""
        return self.samples * max(1, self.blocks - 1)

    @property
    def pairs(self) -> int:
        """Entries of the distance matrices of all passes together, for one layer."""
        small, larger = divmod(self.samples, self.blocks)
        within = larger * (small + 1) ** 2 + (self.blocks - larger) * small**2
        return self.samples**2 + max(0, self.blocks - 2) * within


def plan_passes(samples: int, footprint: Footprint, budget: Budget) -> Plan:
    """The fewest passes that stay within a budget.

    Parameters
    ----------
    samples : int
        Images of the analysis.
    footprint : Footprint
    budget : Budget

    Raises
    ------
    ModelError
        If no number of passes does; it says how many images would fit, or that not even two do.
    """
    fit = _largest(lambda images: footprint.fits(samples, images, budget))
    if fit >= samples:
        return Plan(samples)
    if fit >= 2:
        return Plan(samples, blocks=math.ceil(samples / (fit // 2)))
    raise ModelError(_why_not(samples, footprint, budget))


def most_samples(footprint: Footprint, budget: Budget) -> int:
    """The most images that can be analysed within a budget; 0 if too few can."""
    most = _largest(lambda samples: footprint.fits(samples, 2, budget))
    return most if most >= MIN_SAMPLES else 0


def _why_not(samples: int, footprint: Footprint, budget: Budget) -> str:
    most = most_samples(footprint, budget)
    if most:
        least = max(footprint.peak(samples, 2, budget), footprint.of_topology(samples))
        room = budget.device if budget.host is None else budget.host
        return (
            f"The distances and topology of {samples} images in "
            f"{plural(footprint.layers, 'layer')} need {gigabytes(least)} of memory, but only "
            f"{gigabytes(room)} are available: use at most {most} images or a higher memory limit."
        )
    return (
        f"Even two images at a time need {gigabytes(footprint.of_pass(2))} of memory in this "
        f"model, but only {gigabytes(budget.device)} are available: use smaller images, a "
        "smaller model or a higher memory limit."
    )


def _largest(fits: Callable[[int], bool]) -> int:
    """The largest count that fits, if every smaller one does; 0 if not even 1 fits."""
    low, high = 0, 1
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
