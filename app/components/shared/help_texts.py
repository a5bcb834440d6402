"""How help texts are laid out."""

from __future__ import annotations


def listed(entries: dict[str, str]) -> str:
    """Names with what they mean, as a list below a sentence."""
    return "\n".join(["", *(f"- **{name}**: {text}" for name, text in entries.items())])


def as_given(text: str) -> str:
    """What somebody typed, or a link carries: no markdown in it is obeyed."""
    return f"`{text.replace('`', ' ')[:80]}`"
