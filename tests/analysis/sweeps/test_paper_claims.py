"""The paper's claims, and no others."""

from __future__ import annotations

from itertools import product

import pytest

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


def test_averages_need_all_sixteen_pairs() -> None:
    pairs = list(product(MODELS, DATASETS))
    accuracy, memory = average_claims([*pairs, ("pocket-vgg", "digits")])
    assert "2.5 % above gradient-based baselines" in accuracy
    assert "v1 said 5 %" in accuracy
    assert "40 % lower" in memory
    assert average_claims(pairs[:-1]) == ()
    assert average_claims([]) == ()
