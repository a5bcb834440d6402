"""Bundled datasets: values, splits, draws."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from analysis.datasets import DATASETS, dataset_spec, list_datasets, load_dataset
from analysis.errors import AssetError, OptionError
from analysis.options import SPLITS
from analysis.system import assets

both = pytest.mark.parametrize("name", ["digits", "fashion"])


@both
def test_the_registry_agrees_with_its_loaders(name: str) -> None:
    spec = DATASETS[name]
    images, labels, _ = spec.load()
    assert spec.name == name
    assert isinstance(images, np.ndarray)
    assert images.shape == (spec.size, *spec.image_shape)
    assert (images.dtype, labels.dtype) == (np.float32, np.int64)
    assert np.array_equal(np.unique(labels), np.arange(len(spec.class_names)))
    assert (images.min(), images.max()) == (0, 1)


def test_the_bundled_datasets_are_listed_first() -> None:
    assert list_datasets()[:2] == ["digits", "fashion"]


def test_digits_are_scikit_learn_s() -> None:
    digits, train = load_digits(), load_dataset("digits")
    assert np.array_equal(train.images[:, 0] * 16, digits.images[train.indices])
    assert np.array_equal(train.labels, digits.target[train.indices])


def test_fashion_is_balanced() -> None:
    assert np.array_equal(np.bincount(DATASETS["fashion"].load()[1]), [300] * 10)


@both
def test_splits_are_disjoint_and_hold_everything(name: str) -> None:
    splits = {split: load_dataset(name, split=split) for split in SPLITS}
    indices = np.concatenate([part.indices for part in splits.values()])
    assert np.array_equal(np.sort(indices), np.arange(DATASETS[name].size))
    assert {split: len(part) for split, part in splits.items()} == dataset_spec(name).sizes


def test_split_sizes() -> None:
    assert dataset_spec("digits").sizes == {"train": 1078, "validation": 359, "test": 360}
    assert dataset_spec("fashion").sizes == {"train": 1800, "validation": 600, "test": 600}


@both
def test_splits_are_stratified(name: str) -> None:
    whole = np.bincount(DATASETS[name].load()[1])
    for split, share in zip(SPLITS, (0.6, 0.2, 0.2), strict=True):
        counts = np.bincount(load_dataset(name, split=split).labels)
        assert np.abs(counts - share * whole).max() <= 1.5


@both
def test_splits_are_deterministic_and_follow_the_seed(name: str) -> None:
    first, again, other = (load_dataset(name, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.indices, again.indices)
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.indices, other.indices)


def test_a_draw_keeps_images_labels_and_indices_together() -> None:
    whole, drawn = DATASETS["digits"].load(), load_dataset("digits").sample(40, seed=1)
    assert drawn.images.shape == (40, 1, 8, 8)
    assert len(np.unique(drawn.indices)) == 40
    assert np.array_equal(drawn.images, whole[0][drawn.indices])
    assert np.array_equal(drawn.labels, whole[1][drawn.indices])
    assert set(drawn.indices) <= set(load_dataset("digits").indices)


def test_draws_follow_the_seed_and_grow_by_appending() -> None:
    train = load_dataset("digits")
    small, large = train.sample(8, seed=5), train.sample(40, seed=5)
    assert np.array_equal(small.indices, large.indices[:8])
    assert not np.array_equal(small.indices, train.sample(8, seed=6).indices)
    assert np.array_equal(np.sort(train.sample(1078, seed=5).indices), train.indices)


def test_a_draw_of_too_many_or_none_says_how_many_there_are() -> None:
    train = load_dataset("digits")
    for n, rule in ((5000, "at most 1078"), (1079, "at most 1078"), (0, "at least 1")):
        with pytest.raises(
            OptionError,
            match=rf"`samples` must be {rule}, got {n}: "
            "the train split of digits has 1078 images",
        ):
            train.sample(n, seed=0)


def test_a_split_that_no_analysis_can_use_says_so() -> None:
    three = load_dataset("digits").sample(3, seed=0)
    with pytest.raises(
        OptionError,
        match=r"^the train split of digits has 3 images, and an analysis needs at least 4; add",
    ):
        three.sample(8, seed=0)
    assert len(three.sample(2, seed=0)) == 2  # for another purpose


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(OptionError) as error:
        load_dataset("mnist", split="dev", shift="fog", severity=6, seed=-1)  # type: ignore[arg-type]
    assert str(error.value) == (
        "`dataset` must be one of digits, fashion, pets, flowers, dogs, cub, cifar10, cifar100, "
        "fashion-mnist, folder:/…; got 'mnist'; "
        "`split` must be one of train, validation, test; got 'dev'; "
        "`shift` must be one of none, blur, noise, contrast, rotation, inversion; got 'fog'; "
        "`severity` must be from 1 to 5, got 6; "
        "`seed` must be from 0 to 2³² - 1, got -1"
    )
    with pytest.raises(OptionError, match="`severity` must be from 1 to 5, got 0"):
        load_dataset("digits", severity=0)


def test_truncated_fashion_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = assets.ASSETS
    (tmp_path / "manifest.json").write_bytes((real / "manifest.json").read_bytes())
    (tmp_path / "fashion.npz").write_bytes((real / "fashion.npz").read_bytes()[:-100])
    monkeypatch.setattr(assets, "ASSETS", tmp_path)
    with pytest.raises(AssetError, match=r"fashion\.npz is damaged"):
        load_dataset("fashion")
    (tmp_path / "fashion.npz").unlink()
    with pytest.raises(AssetError, match=r"fashion\.npz is missing"):
        load_dataset("fashion")


def test_loading_data_needs_no_torch() -> None:
    program = (
        "import sys, analysis.datasets as d; d.list_datasets(); early = 'sklearn' in sys.modules;"
        "d.load_dataset('fashion', shift='blur'); print(early, 'torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", "False"]
