"""Datasets that are fetched, from small archives laid out as the originals on a local server."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.datasets import (
    DATASETS,
    SHIFTS,
    FileImages,
    dataset_spec,
    downloadable,
    fetching,
    is_fetched,
    load_dataset,
    loading,
)
from analysis.datasets.downloadable import spec_of_download
from analysis.datasets.fetching import Download, Remote, fetch_dataset
from analysis.datasets.sources import DOWNLOADS
from analysis.datasets.vision import CUB200, StanfordDogs
from analysis.errors import AssetError
from analysis.options import SPLITS
from analysis.progress import Progress
from analysis.system.torchvision_guard import torchvision
from tests.analysis.datasets.small_originals import ORIGINALS, md5, served

pytestmark = pytest.mark.usefixtures("home")
every = pytest.mark.parametrize("name", ORIGINALS)

VISION = torchvision.datasets
# Images of the small archives: for training and validation together, and for the test.
SMALL = {
    "pets": (15, 6),
    "flowers": (4, 8),
    "dogs": (10, 4),
    "cub": (10, 4),
    "cifar10": (20, 3),
    "cifar100": (20, 3),
    "fashion-mnist": (20, 3),
}
CLASSES = {"pets": [0, 2, 36], "flowers": [0, 101], "dogs": [0, 119], "cub": [0, 199],
           "cifar10": [0, 9], "cifar100": [0, 99], "fashion-mnist": [0, 9]}  # fmt: skip


class Small:
    """The small archive of one dataset, in place of the real one."""

    def __init__(self, name: str, url: str, requests: list[str]) -> None:
        self.url, self.asked = url, requests
        train, test = SMALL[name]
        validation = 2 if name == "flowers" else train // 5
        files = ORIGINALS[name]()
        real = DOWNLOADS[name]
        self.files = {Path(f.to).name: files[Path(f.to).name] for f in real.files}
        self.download = replace(
            real,
            files=tuple(
                Remote(f"{url}/{Path(f.to).name}", f.to, f"md5:{md5(files[Path(f.to).name])}")
                for f in real.files
            ),
            sizes={"train": train - validation, "validation": validation, "test": test},
        )


@pytest.fixture
def small(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    folder = tmp_path / "served"
    folder.mkdir()
    with served(folder) as (url, requests):
        originals = Small(name, url, requests)
        for file, content in originals.files.items():
            (folder / file).write_bytes(content)
        monkeypatch.setitem(DATASETS, name, spec_of_download(originals.download))
        monkeypatch.setitem(downloadable.DOWNLOADS, name, originals.download)
        _patch_checksums(name, monkeypatch)
        yield originals


def _patch_checksums(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What torchvision and our own classes compare the archives with."""
    files = {file: md5(content) for file, content in ORIGINALS[name]().items()}

    def patched(pairs: object) -> tuple[tuple[str, str], ...]:
        return tuple((url, files[url.rpartition("/")[2]]) for url, _ in pairs)  # type: ignore[attr-defined]

    if name == "pets":
        monkeypatch.setattr(
            VISION.OxfordIIITPet, "_RESOURCES", patched(VISION.OxfordIIITPet._RESOURCES)
        )
    elif name == "flowers":
        original = VISION.Flowers102._file_dict
        changed = {kind: (file, files[file]) for kind, (file, _) in original.items()}
        monkeypatch.setattr(VISION.Flowers102, "_file_dict", changed)
    elif name.startswith("cifar"):
        cifar = VISION.CIFAR10 if name == "cifar10" else VISION.CIFAR100
        monkeypatch.setattr(cifar, "tgz_md5", files[cifar.filename])
        monkeypatch.setattr(cifar, "train_list", patched(cifar.train_list))
        monkeypatch.setattr(cifar, "test_list", patched(cifar.test_list))
        meta = cifar.meta | {"md5": files[cifar.meta["filename"]]}
        monkeypatch.setattr(cifar, "meta", meta)
    else:
        reader = {"dogs": StanfordDogs, "cub": CUB200}.get(name, VISION.FashionMNIST)
        monkeypatch.setattr(reader, "resources", patched(reader.resources))


def test_listing_needs_no_download(home: Path) -> None:
    sizes = {name: DATASETS[name].sizes for name in DOWNLOADS}
    assert list(sizes) == [
        "pets", "flowers", "dogs", "cub", "cifar10", "cifar100", "fashion-mnist",
    ]  # fmt: skip
    assert sizes["pets"] == {"train": 2944, "validation": 736, "test": 3669}
    assert sizes["flowers"] == {"train": 1020, "validation": 1020, "test": 6149}
    assert sizes["dogs"] == {"train": 9600, "validation": 2400, "test": 8580}
    assert sizes["cub"] == {"train": 4795, "validation": 1199, "test": 5794}
    assert sizes["cifar10"] == {"train": 40_000, "validation": 10_000, "test": 10_000}
    assert sizes["cifar100"] == sizes["cifar10"]
    assert sizes["fashion-mnist"] == {"train": 48_000, "validation": 12_000, "test": 10_000}
    counts = {name: len(set(DATASETS[name].class_names)) for name in DOWNLOADS}
    assert counts == {"pets": 37, "flowers": 102, "dogs": 120, "cub": 200, "cifar10": 10,
                      "cifar100": 100, "fashion-mnist": 10}  # fmt: skip
    assert all(DATASETS[name].fingerprint() for name in DOWNLOADS)
    assert not home.exists()


def test_addresses_and_checksums_are_torchvision_s() -> None:
    def known(name: str) -> dict[str, str]:
        return {f.url: f.checksum.removeprefix("md5:") for f in DOWNLOADS[name].files}

    assert known("pets") == dict(VISION.OxfordIIITPet._RESOURCES)
    prefix = VISION.Flowers102._download_url_prefix
    assert known("flowers") == {
        prefix + file: checksum for file, checksum in VISION.Flowers102._file_dict.values()
    }
    assert known("cifar10") == {VISION.CIFAR10.url: VISION.CIFAR10.tgz_md5}
    assert known("cifar100") == {VISION.CIFAR100.url: VISION.CIFAR100.tgz_md5}
    (mirror,) = VISION.FashionMNIST.mirrors
    assert known("fashion-mnist") == {
        mirror + file: checksum for file, checksum in VISION.FashionMNIST.resources
    }
    assert list(known("dogs")) == [url for url, _ in StanfordDogs.resources]
    assert list(known("cub")) == [url for url, _ in CUB200.resources]


def test_class_names_are_torchvision_s() -> None:
    assert list(DATASETS["flowers"].class_names) == VISION.Flowers102.classes
    assert list(DATASETS["fashion-mnist"].class_names) == VISION.FashionMNIST.classes


@every
def test_a_dataset_is_downloaded_unpacked_and_read(small: Small, name: str, home: Path) -> None:
    assert not is_fetched(name)
    reports: list[Progress] = []
    splits = {s: load_dataset(name, split=s, progress=reports.append) for s in SPLITS}
    assert {p.stage for p in reports} == {"Download", "Unpack"}
    assert sorted(set(small.asked)) == sorted(f"/{file}" for file in small.files)
    assert len(small.asked) == len(small.files)
    assert is_fetched(name)
    assert {s: len(part) for s, part in splits.items()} == dataset_spec(name).sizes
    indices = np.concatenate([part.indices for part in splits.values()])
    assert np.array_equal(np.sort(indices), np.arange(sum(SMALL[name])))
    assert np.unique(np.concatenate([p.labels for p in splits.values()])).tolist() == CLASSES[name]
    # The official test images stay the test images, and come after the others.
    assert splits["test"].indices.tolist() == list(range(SMALL[name][0], sum(SMALL[name])))
    if name != "flowers":  # a fifth of each class of the training images
        counts = np.bincount(splits["validation"].labels, minlength=200)[CLASSES[name]]
        assert counts.tolist() == [SMALL[name][0] // 5 // len(CLASSES[name])] * len(CLASSES[name])
    assert {p.name for p in (home / "datasets-fetched").iterdir()} == {"archives", name}
    packed = [p for p in home.rglob("*") if p.suffix in {".tgz", ".tar", ".gz", ".part"}]
    assert packed == []


@pytest.mark.parametrize("name", ["pets", "dogs", "cub"])
def test_photographs_stay_files_and_have_their_labels(small: Small, name: str) -> None:
    for split in SPLITS:
        data = load_dataset(name, split=split)
        assert isinstance(data.images, FileImages)
        for image, label, index in zip(data.images, data.labels, data.indices, strict=True):
            level = round(float(image.mean()) * 255)
            assert image.shape == (3, 30, 20 + level)  # the size says which it is
            assert label == label_of(name, level)
            if name != "cub":
                assert level == index
    (data.images.root / data.images.names[0]).unlink()
    with pytest.raises(
        AssetError, match=r"\(it no longer exists\)\. Delete that folder to download"
    ):
        data.images[0]


def label_of(name: str, level: int) -> int:
    if name == "cub":
        return [0, 199][level // 7]
    per_class = {"pets": (15, 5, 2), "dogs": (10, 5, 2)}[name]
    train, of_train, of_test = per_class
    number = level // of_train if level < train else (level - train) // of_test
    return CLASSES[name][number]


@pytest.mark.parametrize("name", ["cub"])
def test_the_official_split_of_cub_is_kept(small: Small, name: str) -> None:
    levels = [round(float(i.mean()) * 255) for i in load_dataset(name, split="test").images]
    assert levels == [1, 4, 8, 11]  # those with a 0 in train_test_split.txt


@pytest.mark.parametrize("name", ["flowers"])
def test_flowers_have_an_official_validation_split(small: Small, name: str) -> None:
    indices = {}
    for split in SPLITS:
        data = load_dataset(name, split=split, seed=3)
        indices[split] = [image.shape[2] - 20 for image in data.images]
        assert data.labels.tolist() == [0 if k % 2 else 101 for k in indices[split]]
    assert indices == {"train": [11, 12], "validation": [1, 4], "test": [2, 3, 5, 6, 7, 8, 9, 10]}


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion-mnist"])
def test_small_images_come_as_arrays(small: Small, name: str) -> None:
    for split in SPLITS:
        data = load_dataset(name, split=split)
        shape = dataset_spec(name).image_shape
        assert isinstance(data.images, np.ndarray)
        assert data.images.dtype == np.float32
        assert data.images.shape == (len(data), *(shape or ()))
        levels = np.round(data.images * 255).astype(int)
        expected = data.indices[:, None] + np.arange(3 if name.startswith("cifar") else 1)
        assert np.array_equal(levels[:, :, 0, 0], expected)
        assert np.array_equal(levels[:, :, -1, -1], expected)
        assert data.labels.tolist() == [
            CLASSES[name][(k + (k >= 20)) % 2] for k in data.indices.tolist()
        ]


@pytest.mark.parametrize("name", ["cifar10"])
def test_only_drawn_images_become_floats(
    small: Small, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    floats = loading._floats

    def counted(*arguments: Any) -> np.ndarray:
        counts.append(len(arguments[-1]))
        return floats(*arguments)

    monkeypatch.setattr(loading, "_floats", counted)
    for shift in SHIFTS:
        data = load_dataset(name, shift=shift)
        drawn = data.sample(3, seed=1)
        whole = dict(zip(data.indices.tolist(), data.images, strict=True))
        expected = np.stack([whole[k] for k in drawn.indices.tolist()])
        assert np.allclose(drawn.images, expected, atol=1e-6)
    assert sorted(counts) == [3] * (len(SHIFTS) - 1) + [16] * len(SHIFTS)  # noise: all at once


@pytest.mark.parametrize("name", ["cub", "cifar10"])
def test_a_downloaded_dataset_is_read_without_network_or_torch(
    small: Small, name: str, home: Path
) -> None:
    plain = load_dataset(name)
    before = len(small.asked)
    again = load_dataset(name, shift="noise")
    assert np.array_equal(plain.indices, again.indices)
    assert len(small.asked) == before
    program = (
        "import sys; from dataclasses import replace; import analysis.datasets as d;"
        "from analysis.datasets.downloadable import spec_of_download; s = d.DATASETS[sys.argv[1]];"
        f"s = spec_of_download(replace(s.load.args[0], sizes={small.download.sizes!r}));"
        "d.DATASETS[s.name] = s; data = d.load_dataset(s.name);"
        "print(len(data), data.images[0].shape[0], 'torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, name], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == [str(len(plain)), "3", "False"]


@pytest.mark.parametrize("name", ["cub"])
def test_a_killed_unpacking_does_not_pass_for_whole(small: Small, name: str, home: Path) -> None:
    def killed(root: Path) -> object:
        small.download.read(root)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    child = os.fork()
    if not child:
        try:
            fetch_dataset(replace(small.download, read=killed))  # type: ignore[arg-type]
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert list((home / "datasets-fetched").glob(".part-*/cub/CUB_200_2011/images"))
    assert not is_fetched(name)
    before = len(small.asked)
    assert len(load_dataset(name)) == 8
    assert len(small.asked) == before  # the archive was whole, and is there


@pytest.mark.parametrize("name", ["cub"])
def test_an_archive_that_is_not_the_original_is_refused(small: Small, name: str) -> None:
    wrong = replace(small.download.files[0], checksum=f"md5:{md5(b'other')}")
    with pytest.raises(AssetError, match=r"CUB-200-2011 arrived from .* with the wrong checksum"):
        fetch_dataset(replace(small.download, files=(wrong,)))
    assert not is_fetched(name)


@pytest.mark.parametrize("name", ["cub"])
def test_an_archive_with_other_images_is_refused(small: Small, name: str) -> None:
    odd = replace(small.download, sizes=small.download.sizes | {"test": 5})
    with pytest.raises(
        AssetError, match=r"CUB-200-2011 has 10, 0, 4 images .* instead of 10, 0, 5"
    ):
        fetch_dataset(odd)
    assert not is_fetched(name)


@pytest.mark.parametrize("name", ["cub"])
def test_without_a_network_one_sentence_says_how_to_go_on(
    small: Small, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = replace(small.download.files[0], url="http://127.0.0.1:9/CUB_200_2011.tgz")
    download = replace(small.download, files=(gone,))
    monkeypatch.setitem(DATASETS, name, spec_of_download(download))
    with pytest.raises(
        AssetError,
        match=r"^The dataset CUB-200-2011 could not be downloaded from 127\.0\.0\.1 .*digits and",
    ):
        load_dataset(name)


@pytest.mark.parametrize("name", ["cub"])
def test_a_damaged_index_says_what_to_delete(small: Small, name: str, home: Path) -> None:
    load_dataset(name)
    index = home / "datasets-fetched" / name / fetching.INDEX
    index.write_bytes(index.read_bytes()[:-100])
    with pytest.raises(AssetError, match=r"fetched/cub is damaged .*\. Delete that folder"):
        load_dataset(name)


@pytest.mark.parametrize("name", ["cub"])
def test_the_remains_of_an_interrupted_deletion_are_replaced(
    small: Small, name: str, home: Path
) -> None:
    load_dataset(name)
    (home / "datasets-fetched" / name / fetching.INDEX).unlink()
    assert len(load_dataset(name)) == 8
    assert is_fetched(name)


@pytest.mark.parametrize("name", ["cub"])
def test_a_home_that_cannot_be_written_to_is_reported(small: Small, name: str, home: Path) -> None:
    home.mkdir()
    (home / "datasets-fetched").write_text("in the way", encoding="utf-8")
    with pytest.raises(AssetError, match="CUB-200-2011 could not be written to"):
        load_dataset(name)


def with_local(small: Small, folder: Path, *, right: bool) -> Download:
    """The same files as a system package has them: packed otherwise, here in `folder`."""
    folder.mkdir()
    files = []
    for file in small.download.files:
        content = gzip.decompress(small.files[Path(file.to).name])
        local = folder / Path(file.to).name
        local.write_bytes(gzip.compress(content, 1, mtime=7))
        checksum = hashlib.sha256(content if right else b"other").hexdigest()
        files.append(replace(file, local=local, unpacked=checksum))
    return replace(small.download, files=tuple(files))


@pytest.mark.parametrize("name", ["fashion-mnist"])
@pytest.mark.parametrize("right", [True, False])
def test_files_of_a_system_package_need_not_be_downloaded(
    small: Small, name: str, right: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        DATASETS, name, spec_of_download(with_local(small, tmp_path / "package", right=right))
    )
    data = load_dataset(name, split="test")
    assert np.round(data.images[:, 0, 0, 0] * 255).tolist() == [20, 21, 22]  # type: ignore[index]
    assert len(small.asked) == (0 if right else 4)
    assert len(list((tmp_path / "package").iterdir())) == 4


@pytest.mark.parametrize("name", ["dogs", "cub"])
def test_our_classes_are_datasets_in_torchvision_s_manner(small: Small, name: str) -> None:
    root = fetch_dataset(small.download)
    make = StanfordDogs if name == "dogs" else CUB200
    data = make(root, "test", transform=lambda image: image.size, target_transform=lambda k: -k)
    assert len(data) == 4
    assert [item[1] for item in data] == [-label for label in data.labels]
    assert data[3][0] == ((33, 30) if name == "dogs" else (31, 30))
    assert make(root, "test")[0][0].mode == "RGB"
    assert f"Dataset {make.__name__}" in repr(data)
