"""Parts of help texts and messages."""

from __future__ import annotations


def bullet_list(entries: dict[str, str]) -> str:
    """Names and their meanings, as a Markdown list to put below a sentence."""
    return "\n".join(["", *(f"- **{name}**: {text}" for name, text in entries.items())])
