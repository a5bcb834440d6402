"""The catalogue says what the installed torchvision says."""

import itertools
import json

import pytest

from analysis.models import MODELS
from analysis.models.catalogue import TABLE
from analysis.models.loading import empty_network
from assets.make_catalogue import catalogue

FULL_SIZE = [name for name, spec in MODELS.items() if spec.source == "torchvision"]


def test_the_table_is_that_of_the_installed_torchvision() -> None:
    assert catalogue() == json.loads(TABLE.read_text(encoding="utf-8"))
    assert len(FULL_SIZE) == 80


def test_some_models_match_torchvisions_documentation() -> None:
    resnet = MODELS["resnet50"]
    assert (resnet.title, resnet.family, resnet.head) == ("ResNet-50", "ResNet", "fc")
    assert resnet.description == "Sixteen bottleneck blocks, 25.6 million parameters."
    newest = resnet.weight_sets[0]
    assert (newest.name, newest.sha256, newest.input_side) == ("IMAGENET1K_V2", "11ad3fa6", 224)
    assert newest.url == "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"
    assert newest.accuracy == pytest.approx(0.80858)
    assert newest.megabytes == pytest.approx(4 * 25.6, rel=0.01)  # float32
    assert MODELS["vgg16"].weight_set("IMAGENET1K_FEATURES").accuracy is None  # type: ignore[union-attr]
    assert MODELS["inception_v3"].input_side == 299
    assert MODELS["vit_h_14"].input_side == 518


def test_titles_are_all_different_and_families_stay_together() -> None:
    specs = [MODELS[name] for name in FULL_SIZE]
    assert len({spec.title for spec in specs}) == len(specs)
    families = [spec.family for spec in specs[4:]]
    changes = sum(one != other for one, other in itertools.pairwise(families))
    assert changes == len(set(families)) - 1


SMALLEST = {MODELS[name].family: name for name in reversed(FULL_SIZE[4:])}  # of each family


@pytest.mark.parametrize("name", SMALLEST.values())
def test_skeletons_have_the_requested_head(name: str) -> None:
    model = empty_network(name, 7)
    assert model.get_parameter(f"{MODELS[name].head}.weight").shape[0] == 7
    assert all(tensor.is_meta for tensor in model.state_dict().values())


def test_skeletons_are_built_for_the_side_of_their_weights() -> None:
    usual = empty_network("vit_b_16", 3).get_parameter("encoder.pos_embedding")
    larger = empty_network("vit_b_16", 3, weights="IMAGENET1K_SWAG_E2E_V1")
    assert usual.shape[1] == (224 // 16) ** 2 + 1
    assert larger.get_parameter("encoder.pos_embedding").shape[1] == (384 // 16) ** 2 + 1
