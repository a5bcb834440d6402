"""Layer names short enough for labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

LABEL_LENGTHS = (26, 34, 48)  # characters, tried in turn until all names differ

# "encoder.layers.encoder_layer_5.ln_1" and "model.blocks.5.ln_1" both say "5.ln_1".
_REPEATED_BLOCK = re.compile(r"^(?:\w+\.)*?(?:layers|blocks|block|h)\.(?:\w*_)?(\d+)(?=\.|$)")


def short_names(names: Sequence[str]) -> list[str]:
    """Shorten qualified layer names for labels.

    Parameters
    ----------
    names : sequence of str
        As in `named_modules()`, all different.

    Returns
    -------
    list of str
        One label per name, all different, in the same order. A repeated block keeps only its number
        ("encoder.layers.encoder_layer_5.ln_1" becomes "5.ln_1") unless that would be ambiguous.
    """
    short = [_REPEATED_BLOCK.sub(r"\1", name) or "(model)" for name in names]
    count = Counter(short)
    short = [label if count[label] == 1 else name for label, name in zip(short, names, strict=True)]
    for length in LABEL_LENGTHS:
        cut = [label if len(label) <= length else "…" + label[1 - length :] for label in short]
        if len(set(cut)) == len(cut):
            return cut
    return short
