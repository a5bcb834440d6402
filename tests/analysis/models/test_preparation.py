"""Images become a network's input exactly as in its training."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.datasets import DATASETS
from analysis.errors import OptionError
from analysis.models import MODELS, prepare_images
from analysis.models.preparation import MEAN, STD
from analysis.models.weights_files import torchvision_weights
from analysis.system.assets import read_asset
from assets.make_assets import network_input

from torchvision.transforms.v2 import functional as transforms  # isort: skip


def test_fashion_is_prepared_to_the_bit_as_in_the_training() -> None:
    raw = np.load(io.BytesIO(read_asset("fashion")))["images"]
    prepared = prepare_images("pocket-resnet20", DATASETS["fashion"].load()[0])
    assert prepared.shape == (3000, 3, 32, 32)
    assert prepared.dtype == torch.float32
    assert torch.equal(prepared, network_input(torch.from_numpy(raw)))


def test_small_and_large_images_are_resized_and_keep_what_they_show() -> None:
    for side in (8, 28, 90):
        image = np.zeros((1, 1, side, side), np.float32)
        image[..., : side // 2] = 1  # the left half is white
        pixels = prepare_images("pocket-vit", image)[0, 0] * STD + MEAN
        assert pixels.shape == (32, 32)
        assert torch.allclose(pixels[4:28, 4:12], torch.ones(24, 8), atol=1e-6)
        assert torch.allclose(pixels[:, 20:], torch.zeros(32, 12), atol=1e-6)
        border = [pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:]]
        assert all(part.abs().max() < 1e-6 for part in border)


def test_a_fine_chequerboard_shrinks_to_grey() -> None:
    board = (np.indices((280, 280)).sum(axis=0) % 2).astype(np.float32)[None, None]
    pixels = prepare_images("pocket-vgg", board)[0, :, 4:-4, 4:-4] * STD + MEAN
    assert torch.allclose(pixels, torch.tensor(0.5), atol=0.02)  # without antialiasing: 0 or 1


def test_colours_stay_apart_and_grey_is_repeated() -> None:
    colours = np.broadcast_to(
        np.array([0.1, 0.5, 0.9], np.float32)[None, :, None, None], (2, 3, 28, 28)
    )
    middle = prepare_images("pocket-resnet20", colours)[:, :, 16, 16] * STD + MEAN
    assert torch.allclose(middle, torch.tensor([0.1, 0.5, 0.9]).expand(2, 3), atol=1e-6)
    grey = prepare_images("pocket-resnet20", colours[:, :1])
    assert torch.equal(grey[:, 0], grey[:, 1])
    assert torch.equal(grey[:, 0], grey[:, 2])


@pytest.mark.parametrize(("name", "resized"), [("resnet50", 232), ("vit_b_16", 256)])
def test_full_size_networks_get_their_own_preparation(name: str, resized: int) -> None:
    images = np.random.default_rng(0).random((2, 1, 50, 50), dtype=np.float32)
    prepared = prepare_images(name, images)
    assert prepared.shape == (2, 3, 224, 224)
    # By hand: resize the shorter side, crop the centre, ImageNet's mean and deviation.
    pixels = transforms.resize(torch.from_numpy(images), [resized, resized], antialias=True)
    pixels = transforms.center_crop(pixels, [224, 224])[:, 0]
    for channel, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        assert torch.allclose(prepared[:, channel], (pixels - mean) / std, atol=1e-5)
    assert torch.equal(prepared, prepare_images(name, images, weights="random"))


@pytest.mark.parametrize("name", ["pocket-resnet20", "mobilenet_v2"])
def test_images_are_not_altered_and_do_not_depend_on_their_neighbours(name: str) -> None:
    images = np.random.default_rng(0).random((3, 1, 28, 28), dtype=np.float32)
    before = images.copy()
    prepared = prepare_images(name, images)
    prepared.zero_()
    assert np.array_equal(images, before)
    alone = [prepare_images(name, images[[k]]) for k in range(3)]
    assert torch.allclose(prepare_images(name, images), torch.cat(alone), atol=1e-6)


def test_mirrored_views_are_taken_as_they_look() -> None:
    images = np.random.default_rng(0).random((2, 1, 28, 28), dtype=np.float32)
    mirrored = prepare_images("pocket-resnet20", images[..., ::-1])
    assert torch.equal(mirrored, prepare_images("pocket-resnet20", images).flip(-1))


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28), (2, 4, 28, 28), (0, 1, 28, 28)])
def test_other_shapes_are_reported(shape: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match=r"`images` must have the shape \(N, 1 or 3, height"):
        prepare_images("pocket-vit", np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("vgg16", "IMAGENET1K_FEATURES"),  # another mean and deviation
        ("efficientnet_v2_l", "pretrained"),  # likewise, and bicubic
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1"),
        ("inception_v3", "random"),
    ],
)
def test_each_weight_set_has_torchvision_s_own_preparation(name: str, weights: str) -> None:
    # As files are: Pillow then rounds, and cuts what bicubic interpolation makes brighter than
    # white or darker than black.
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype(np.uint8)
    images = (pixels.astype(np.float32) / 255).transpose(2, 0, 1)[None]
    chosen = MODELS[name].weight_set(weights) or MODELS[name].weight_sets[0]
    own = torchvision_weights(MODELS[name], chosen).transforms()
    (prepared,) = prepare_images(name, images, weights=weights)
    levels = torch.tensor(own.std)[:, None, None] * 255
    assert ((prepared - own(Image.fromarray(pixels))) * levels).abs().max() < 1.2


def test_another_side_scales_the_resize_in_proportion() -> None:
    images = np.random.default_rng(0).random((1, 3, 100, 100), dtype=np.float32)
    prepared = prepare_images("vit_b_32", images, weights="random", input_side=224)
    assert torch.equal(prepared, prepare_images("vit_b_32", images, weights="random"))
    half = prepare_images("resnet50", images, input_side=112)  # 224 of 232, halved
    pixels = transforms.resize(torch.from_numpy(images), [116], antialias=True)
    pixels = transforms.center_crop(pixels, [112, 112])
    assert torch.allclose(half[0, 0], (pixels[0, 0] - 0.485) / 0.229, atol=1e-5)
    assert prepare_images("pocket-resnet20", images, input_side=64).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("name", ["pocket-resnet20", "mobilenet_v2"])
def test_images_of_differing_sizes_are_prepared_one_at_a_time(name: str) -> None:
    generator = np.random.default_rng(0)
    shapes = [(1, 28, 28), (3, 50, 40), (3, 31, 77)]
    images = [generator.random(shape, dtype=np.float32) for shape in shapes]
    prepared = prepare_images(name, images)
    for image, one in zip(images, prepared, strict=True):
        assert torch.equal(prepare_images(name, image[None])[0], one)
    with pytest.raises(OptionError, match=r"`images` must have the shape .* got none"):
        prepare_images(name, [])
    with pytest.raises(OptionError, match=r"`images` must have the shape .* got \(28, 28\)"):
        prepare_images(name, [images[0], np.zeros((28, 28), np.float32)])


def test_a_very_long_image_is_not_blown_up(monkeypatch: pytest.MonkeyPatch) -> None:
    long = np.zeros((1, 1, 2, 5000), np.float32)
    long[..., 2490:2510] = 1  # the middle, and all that is left of it
    resized = []
    resize = transforms.resize
    monkeypatch.setattr(
        transforms, "resize", lambda pixels, *rest, **more: resized.append(pixels.shape)
        or resize(pixels, *rest, **more)
    )  # fmt: skip
    prepared = prepare_images("mobilenet_v2", long)
    assert resized == [(1, 1, 2, 8)]
    assert torch.allclose(prepared[0, 0], torch.tensor((1 - 0.485) / 0.229), atol=1e-5)
