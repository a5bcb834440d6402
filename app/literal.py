"""Names from outside, shown letter by letter: in Markdown, in code spans, and in figures.

Names of files, folders, classes, layers and models may hold anything. What Streamlit's Markdown
or Plotly's labels would take for markup is escaped; what cannot be seen is spelled out.
"""

from __future__ import annotations

import re

# Line breaks, controls, and marks that reverse the order of the letters after them.
_UNSEEN = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069]")
_BYTE = re.compile("[\\udc80-\\udcff]")  # of a file name that is not UTF-8
_SURROGATE = re.compile("[\\ud800-\\udfff]")
_MARKUP = re.compile(
    r"[\\`*\[\]<>$~|^{}]"  # always
    r"|(?<!\w)_+|_+(?!\w)"  # beside a word; within one, an underscore is a letter
    r"|:(?=[A-Za-z:]|[\w+-]+:)|&(?=#?\w+;)|!(?=\[)"
    r"|^[#+-]|(?<=^\d)[.)]|(?<=^\d\d)[.)]|(?<=^\d{3})[.)]|(?<=^\d{4})[.)]"  # headings and lists
)
# What Streamlit replaces after it has read the escapes: emoji, icons, arrows and dashes.
_LATER = re.compile(r"(?<=:)(?=material[/_]\w|[\w+-]+:)|(?:(?<=^[<~>-])|(?<=\s[<~>-]))(?=[->=])")
_ADDRESS = re.compile(r"\b(?:https?://|www\.)\S*", re.IGNORECASE)  # becomes a link, escapes and all
_JOINER = "\N{WORD JOINER}"  # has no width
_OPTION = re.compile(r"(?:^|(?<=; )|(?<=\. ))`([a-z_]+)`")


def visible(text: str) -> str:
    """The text on one line, with what cannot be seen spelled out: a line break as ``\\n``."""
    text = _BYTE.sub(lambda m: f"\\x{ord(m[0]) - 0xDC00:02x}", text)
    text = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
    text = _UNSEEN.sub(lambda m: m[0].encode("unicode_escape").decode(), text)
    return re.sub(" {2,}", lambda m: "\N{NO-BREAK SPACE}" * len(m[0]), text)


def literal(text: object) -> str:
    """Text for Streamlit's Markdown that is shown letter by letter."""
    shown = _escape(str(text))
    # Beside a space, the marks of bold text would not count.
    return re.sub(r"^(?=\s)|(?<=\s)$", _JOINER, shown)


def _escape(text: str) -> str:
    shown = _LATER.sub(_JOINER, visible(text))
    return _MARKUP.sub(_escaped, _ADDRESS.sub(_unlinked, shown))


def _unlinked(match: re.Match[str]) -> str:
    address = match[0]
    return address[:3] + _JOINER + address[3:] if _MARKUP.search(address) else address


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"\\{character}" for character in match[0])


def sentence(text: object) -> str:
    """An error or a note in Markdown, with the names in it letter by letter.

    Only an option's name that begins a sentence, as in "`rho` must be", is set as code.
    """
    parts = _OPTION.split(str(text))
    return "".join(f"`{part}`" if i % 2 else _escape(part) for i, part in enumerate(parts))


def code(text: object) -> str:
    """A code span of Markdown that shows the text letter by letter."""
    shown = visible(str(text)).replace(":material/", f":{_JOINER}material/")
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    space = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{space}{shown}{space}{fence}"


def figure_text(text: object) -> str:
    """Text for a figure: Plotly knows some HTML, LaTeX between dollars, and templates."""
    shown = visible(str(text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return shown.replace("%{", "&#37;{").replace("$", "&#36;")
