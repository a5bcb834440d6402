"""The glossary: one sentence for each term, and links that lead to steps."""

from __future__ import annotations

import re

import pytest

from app.components.explore.microscope import DIAGRAM_HELP
from app.components.learn.steps import STEPS
from app.components.shared.glossary import GLOSSARY, glossary_list, linked


@pytest.mark.parametrize("name", GLOSSARY)
def test_a_term_has_one_short_sentence(name: str) -> None:
    sentence = GLOSSARY[name].sentence
    assert re.fullmatch(r"[A-Z][^.!?]{10,90}\.", sentence), sentence


def test_each_step_explains_a_term_and_each_term_has_a_step() -> None:
    assert {term.step for term in GLOSSARY.values()} == set(range(1, len(STEPS) + 1))
    assert [term.step for term in GLOSSARY.values()] == sorted(t.step for t in GLOSSARY.values())
    assert glossary_list().count("](learn?step=") == len(GLOSSARY)


def test_a_help_text_leads_to_the_step_that_explains_it() -> None:
    sentence = GLOSSARY["b₁"].sentence
    assert linked("b₁", "loops") == f'[loops](learn?step=2 "{sentence}")'
    assert linked("loop") in DIAGRAM_HELP
