"""Tables as plain text and as Markdown."""

from __future__ import annotations


def show_table(head: list[str], rows: list[list[str]]) -> None:
    """Print rows under their headings, the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells).rstrip())


def show_markdown(head: list[str], rows: list[list[str]]) -> None:
    """Print the same as a Markdown table, for a document."""
    rule = ["---", *("---:" for _ in head[1:])]
    for row in [head, rule, *rows]:
        print(f"| {' | '.join(row)} |")


def verdict(reached: bool) -> str:
    return "met" if reached else "MISSED"
