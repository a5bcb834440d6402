"""The paper's claims, and no others."""

from __future__ import annotations

from itertools import product

import pytest

from analysis.selection.strategies import STRATEGIES
from analysis.sweeps.paper_claims import average_claims, claim_for

MODELS = ("resnet50", "vgg16", "mobilenet_v2", "vit_b_16")
DATASETS = ("dogs", "pets", "cub", "flowers")


@pytest.mark.parametrize(
    ("model", "saving"),
    [("resnet50", 66.3), ("vit_b_16", 75.8), ("mobilenet_v2", 14.7), ("vgg16", 5.7)],
)
def test_the_savings_on_pets(model: str, saving: float) -> None:
    claim = claim_for(model, "pets")
    assert claim is not None
    assert claim.saving == saving
    assert claim.short == f"−{saving} %"


def test_nothing_is_claimed_elsewhere() -> None:
    claimed = {
        (model, dataset)
        for model in (*MODELS, "pocket-resnet20", "resnet18")
        for dataset in (*DATASETS, "digits")
        if claim_for(model, dataset)
    }
    assert claimed == {(model, "pets") for model in MODELS}


def test_averages_need_all_of_their_pairs() -> None:
    pairs = list(product(MODELS, DATASETS))
    accuracy, memory = average_claims([*pairs, ("pocket-vgg", "digits")])
    assert "2.5 % above gradient-based baselines on average over its sixteen pairs" in accuracy
    assert "v1 said 5 %" in accuracy
    # (66.3 + 75.8 + 14.7 + 5.7) / 4 = 40.6: four pairs, not sixteen
    assert memory.endswith("40 % lower than full training: the mean of the four models on Pets")
    assert average_claims([pair for pair in pairs if pair[1] == "pets"]) == (memory,)
    assert average_claims([pair for pair in pairs if pair != ("vgg16", "dogs")]) == (memory,)
    assert average_claims([pair for pair in pairs if pair != ("vgg16", "pets")]) == ()
    assert average_claims([]) == ()


def test_what_is_adapted_from_its_source_says_so() -> None:
    assert STRATEGIES["auto-rgn"].source.startswith("Adapted from Auto-RGN")
    assert STRATEGIES["elastic"].source.startswith("Adapted from ElasticTrainer")
