"""Images to analyse and to train on: bundled, downloaded, or the user's own. Needs no torch.

Only the first use of a downloaded dataset reads it with torchvision, and so imports torch.
"""

from analysis.datasets.archives import Imported, ImportRequest, import_archive
from analysis.datasets.downloadable import is_fetched
from analysis.datasets.image_files import FileImages
from analysis.datasets.loading import ImageDataset, list_datasets, load_dataset
from analysis.datasets.own import folder_of, needs_look, own_datasets, remove_dataset
from analysis.datasets.registry import DATASETS, dataset_problem, dataset_spec
from analysis.datasets.shifts import SHIFTS, Shift
from analysis.datasets.specs import DatasetSpec

__all__ = [
    "DATASETS",
    "SHIFTS",
    "DatasetSpec",
    "FileImages",
    "ImageDataset",
    "ImportRequest",
    "Imported",
    "Shift",
    "dataset_problem",
    "dataset_spec",
    "folder_of",
    "import_archive",
    "is_fetched",
    "list_datasets",
    "load_dataset",
    "needs_look",
    "own_datasets",
    "remove_dataset",
]
