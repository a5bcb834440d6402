"""Powers of sizes as text, the sizes by hand, and scores that divide by them."""

from __future__ import annotations

import pytest

from analysis.errors import OptionError
from analysis.selection.ranking import ranking
from analysis.selection.scores import (
    NORMALIZATIONS,
    normalization_name,
    normalization_of,
    plain_normalization,
    score,
    size_only,
)
from analysis.selection.sizes import divisor, parse_powers, powers_text, training_bytes
from tests.factories import blobs, circle, layer, report

CIRCLE = circle(20)


def sizes_report():  # type: ignore[no-untyped-def]
    return report(
        layer("a", CIRCLE, width=4, parameters=10, flops=50),
        layer("b", blobs(10), width=16, parameters=5, flops=500),
        layer("c", CIRCLE, width=4, parameters=0, flops=8),
        layer("head", CIRCLE, kind="Linear", width=1, parameters=100, flops=5),
    )


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("activation", "activation"),
        ("activation^1.0", "activation"),
        ("activation^.5", "sqrt-activation"),
        ("parameters^-1  activation^0.50", "activation^0.5 parameters^-1"),
        ("flops^0", "none"),
        ("memory^+1", "memory"),
        ("flops^0.30 memory", "flops^0.3 memory"),
        ("activation^0.3333333333333333", "activation^0.3333333333333333"),
    ],
)
def test_each_set_of_powers_has_one_text(text: str, plain: str) -> None:
    assert plain_normalization(text) == plain
    assert plain_normalization(plain) == plain
    assert normalization_of(plain).powers == normalization_of(text).powers


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names no size"),
        ("size", "'size' is no size of a layer"),
        ("activation activation^2", "names activation twice"),
        ("flops^9", "the power of flops is not between -4 and 4"),
        ("flops^nan", "'flops.nan' is no size"),
        ("activation ^2", "'.2' is no size"),
        ("activation*parameters", "is no size"),
        ("none parameters", "'none' is no size"),
    ],
)
def test_other_texts_are_refused_with_the_reason(text: str, why: str) -> None:
    refusal = rf"`normalization` must be one of activation.*'activation\^0.5 .*got '.*': .*{why}"
    with pytest.raises(OptionError, match=refusal):
        score(sizes_report(), normalization=text)
    with pytest.raises(OptionError, match=refusal):
        size_only(sizes_report(), normalization=text)
    assert plain_normalization(text) == text


def test_the_named_normalisations_are_points_among_the_powers() -> None:
    for name, known in NORMALIZATIONS.items():
        assert normalization_name(known.powers) == name
        if known.powers:
            assert parse_powers(powers_text(known.powers)) == known.powers
            by_powers = score(sizes_report(), normalization=powers_text(known.powers))
            assert by_powers.equals(score(sizes_report(), normalization=name))
    assert normalization_name({"activation": 0.0}) == "none"
    assert normalization_name({"flops": 2.0, "activation": -1.0}) == "activation^-1 flops^2"


def test_the_memory_of_training_a_layer_by_hand() -> None:
    known = sizes_report()
    outputs = [4 + 16 + 4 + 1, 16 + 4 + 1, 4 + 1, 1]  # of the layer and those after it
    parameters = [10, 5, 0, 100]
    expected = [4 * (32 * d + 2 * p) for d, p in zip(outputs, parameters, strict=True)]
    assert training_bytes(known).tolist() == expected
    # A layer around others may use its parameters before they run, but ends after them.
    inner = report(layer("x", CIRCLE), layer("in.a", CIRCLE), layer("in.b", CIRCLE),
                   layer("in", CIRCLE))  # fmt: skip
    memory = training_bytes(inner).tolist()
    assert memory[3] == memory[1] > memory[2]


def test_a_score_divides_by_the_product_of_powers() -> None:
    known = sizes_report()
    loops = [known.layers[i].b1 for i in (0, 1, 3)]
    text = "activation^0.5 parameters^-1 flops^0.25 memory^2"
    memory = training_bytes(known)
    sizes = [(80, 10, 50, memory[0]), (320, 5, 500, memory[1]), (20, 100, 5, memory[3])]
    expected = [
        b1 / (a**0.5 * p**-1.0 * f**0.25 * m**2)
        for b1, (a, p, f, m) in zip(loops, sizes, strict=True)
    ]
    scores = score(known, normalization=text)
    assert scores[["a", "b", "head"]].tolist() == pytest.approx(expected, rel=1e-12)
    assert scores.isna().tolist() == [False, False, True, False]  # c has no parameters
    assert divisor(known, {"parameters": -1.0})[0] == 0.1
    rows = ranking(known, rho=0.3, normalization=text)
    best = max(zip(expected[:2], ["a", "b"], strict=True))[1]
    assert rows.loc[rows["selected"], "layer"].tolist() == [best]
