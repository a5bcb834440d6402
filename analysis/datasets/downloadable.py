"""The datasets that are downloaded on first use and kept."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from analysis.datasets.bundled import FASHION_CLASSES
from analysis.datasets.fetching import INDEX, PIXELS, Download, fetch_dataset, is_complete
from analysis.datasets.image_files import FileImages
from analysis.datasets.sources import DOWNLOADS
from analysis.datasets.specs import Bytes, Content, DatasetSpec, Images
from analysis.datasets.splits import Splits, official_splits
from analysis.errors import AssetError
from analysis.options import SPLITS
from analysis.progress import ProgressCallback

_CLASSES: dict[str, list[str]] = json.loads(
    Path(__file__).with_name("class_names.json").read_text(encoding="utf-8")
) | {"fashion-mnist": list(FASHION_CLASSES)}


@dataclass(frozen=True)
class _About:
    description: str
    megabytes: int  # to download, approximately
    image_shape: tuple[int, int, int] | None
    licence: str
    source: str


_ABOUT = {
    "pets": _About(
        "7,349 photographs of 37 breeds of cats and dogs.",
        800,
        None,
        "CC BY-SA 4.0",
        "O. Parkhi, A. Vedaldi, A. Zisserman and C. V. Jawahar, CVPR (2012)",
    ),
    "flowers": _About(
        "8,189 photographs of 102 kinds of flowers.",
        350,
        None,
        "none stated; for research",
        "M.-E. Nilsback and A. Zisserman, ICVGIP (2008)",
    ),
    "dogs": _About(
        "20,580 photographs of 120 breeds of dogs, from ImageNet.",
        800,
        None,
        "none stated; for research, as ImageNet",
        "A. Khosla, N. Jayadevaprakash, B. Yao and L. Fei-Fei, CVPR workshop (2011)",
    ),
    "cub": _About(
        "11,788 photographs of 200 species of birds.",
        1200,
        None,
        "none stated; for research",
        "C. Wah, S. Branson, P. Welinder, P. Perona and S. Belongie, Caltech (2011)",
    ),
    "cifar10": _About(
        "60,000 photographs of ten kinds of objects, 32 × 32 pixels.",
        170,
        (3, 32, 32),
        "none stated",
        "A. Krizhevsky, University of Toronto (2009)",
    ),
    "cifar100": _About(
        "60,000 photographs of a hundred kinds of objects, 32 × 32 pixels.",
        170,
        (3, 32, 32),
        "none stated",
        "A. Krizhevsky, University of Toronto (2009)",
    ),
    "fashion-mnist": _About(
        "All 70,000 images of clothes, 28 × 28 grey pixels. The pocket models were trained on its "
        "training images.",
        31,
        (1, 28, 28),
        "MIT",
        "H. Xiao, K. Rasul and R. Vollgraf, Zalando Research (2017)",
    ),
}


def spec_of_download(download: Download) -> DatasetSpec:
    """The registry entry of a dataset, known before its download."""
    about = _ABOUT[download.name]
    return DatasetSpec(
        name=download.name,
        title=download.title,
        description=f"{about.description} A download of {about.megabytes:,} MB.",
        megabytes=about.megabytes,
        class_names=tuple(_CLASSES[download.name]),
        image_shape=about.image_shape,
        sizes=download.sizes,
        licence=about.licence,
        source=about.source,
        load=partial(_load, download),
        fingerprint=lambda: f"{download.name}-{download.digest}",
    )


def is_fetched(name: str) -> bool:
    """Whether a dataset can be loaded now, without a download or unpacking."""
    return name not in DOWNLOADS or is_complete(DOWNLOADS[name])


def _load(download: Download, progress: ProgressCallback | None = None) -> Content:
    root = fetch_dataset(download, progress)
    try:
        with np.load(root / INDEX, allow_pickle=False) as index:
            labels, parts, names = index["labels"], index["parts"], index["names"]
        remedy = "Delete that folder to download the dataset again."
        images: Images | Bytes | FileImages = FileImages(root, tuple(names.tolist()), remedy=remedy)
        if (root / PIXELS).is_file():
            images = np.load(root / PIXELS, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise AssetError(
            f"{root} is damaged ({type(error).__name__}). Delete that folder to download the "
            f"dataset {download.title} again."
        ) from error
    splits: Splits = {
        split: np.flatnonzero(parts == k) for k, split in enumerate(SPLITS) if (parts == k).any()
    }
    return Content(images, labels, partial(official_splits, labels, splits, download.sizes))


DOWNLOADABLE = tuple(spec_of_download(download) for download in DOWNLOADS.values())
