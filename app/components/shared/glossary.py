"""One sentence for each term, and the step of the page Learn that explains it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    sentence: str
    step: int  # of the page Learn, counted from 1


GLOSSARY = {
    "ε": Term("The scale: points at most ε apart are joined.", 1),
    "loop": Term("A closed way along edges round a hole that no triangles fill.", 1),
    "birth and death": Term("The ε at which a loop closes, and that at which it is filled.", 1),
    "persistence diagram": Term("One dot for each loop: its birth across, its death up.", 1),
    "barcode": Term("One bar for each loop, from its birth to its death.", 1),
    "Betti curve": Term("How many loops are alive at each ε.", 1),
    "β₀, β₁": Term("How many pieces, and how many loops, a cloud has at one ε.", 1),
    "b₁": Term("How many loops a cloud has, over all ε.", 2),
    "rotated clouds": Term(
        "Clouds of pure noise that are as wide as the real one in every direction.", 2
    ),
    "p": Term("How often pure noise would give as much as was seen.", 2),
    "cloud": Term("All images as points, as one layer sees them.", 3),
    "activation": Term("One of the numbers that a layer makes of an image.", 3),
    "normalisation": Term("What b₁ is divided by, so that large layers do not win by size.", 4),
    "ρ": Term("The share of the layers that train.", 4),
    "draw": Term("A choice of images by chance; another one may choose other layers.", 4),
    "fine-tune": Term("Train a part of a network further on other images.", 5),
    "seed": Term("The number that decides what is left to chance, such as the images.", 5),
}


def linked(term: str, text: str = "") -> str:
    """A term in Markdown, or other text for it, that leads to the step that explains it.

    The pointer shows its sentence.
    """
    entry = GLOSSARY[term]
    return f'[{text or term}](learn?step={entry.step} "{entry.sentence}")'


def glossary_list() -> str:
    """All terms in Markdown, each with its sentence, in the order of the steps."""
    return "\n".join(f"- **{linked(name)}**: {term.sentence}" for name, term in GLOSSARY.items())
