"""The datasets that come with BettiScope or with a library that it requires."""

from __future__ import annotations

import io
from functools import cache, partial

import numpy as np

from analysis.datasets.specs import Content, DatasetSpec
from analysis.datasets.splits import sizes_of, stratify
from analysis.progress import ProgressCallback
from analysis.system.assets import asset_entry, read_asset

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_DIGITS, _FASHION = sizes_of(1797), sizes_of(3000)


def _load_digits(progress: ProgressCallback | None = None) -> Content:
    return _digits()


@cache  # read four times for each fine-tune, 20 ms each; the images take half a megabyte
def _digits() -> Content:
    # Slow to import, and listing datasets does not need it.
    from sklearn.datasets import load_digits

    data = load_digits()
    labels = data.target.astype(np.int64)
    images = data.images[:, None].astype(np.float32) / 16
    return Content(images, labels, partial(stratify, labels, _DIGITS))


def _load_fashion(progress: ProgressCallback | None = None) -> Content:
    with np.load(io.BytesIO(read_asset("fashion")), allow_pickle=False) as data:
        images = data["images"][:, None].astype(np.float32) / 255
        labels = data["labels"].astype(np.int64)
    return Content(images, labels, partial(stratify, labels, _FASHION))


BUNDLED = (
    DatasetSpec(
        name="digits",
        title="Handwritten digits",
        description="1,797 scanned digits of 8 × 8 grey pixels; new to the pocket models.",
        class_names=tuple("0123456789"),
        image_shape=(1, 8, 8),
        sizes=_DIGITS,
        licence="CC BY 4.0",
        source="scikit-learn; E. Alpaydin and C. Kaynak, UCI Machine Learning Repository (1998)",
        load=_load_digits,
        fingerprint=lambda: "digits-1797",
    ),
    DatasetSpec(
        name="fashion",
        title="Fashion-MNIST sample",
        description="3,000 test images of clothes, 28 × 28 grey pixels; the pocket models "
        "were trained on the training images of the same set.",
        class_names=FASHION_CLASSES,
        image_shape=(1, 28, 28),
        sizes=_FASHION,
        licence="MIT",
        source="H. Xiao, K. Rasul and R. Vollgraf, Zalando Research (2017)",
        load=_load_fashion,
        fingerprint=lambda: asset_entry("fashion").sha256,
    ),
)
