"""Names from outside are shown letter by letter."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.literal import code, figure_text, literal, sentence, visible

NAMES = {
    "*a*": r"\*a\*",
    "$x$": r"\$x\$",
    "<b>": r"\<b\>",
    "[l](u)": r"\[l\](u)",
    "![l](u)": r"\!\[l\](u)",
    ":red[x]": r"\:red\[x\]",
    "`a`": r"\`a\`",
    "~~a~~": r"\~\~a\~\~",
    "noise:3, 10:30": "noise:3, 10:30",
    "a\nb": r"a\\nb",
    "_a_ __b__": r"\_a\_ \_\_b\_\_",
    "layer1.0.conv_1": "layer1.0.conv_1",
    "a__b": "a__b",
    "# a": r"\# a",
    "- a": r"\- a",
    "1. a": r"1\. a",
    "12) a": r"12\) a",
    "&lt; &#60;": r"\&lt; \&#60;",
    "R&D at 10:30, 5 > 4": "R&D at 10:30, 5 \\> 4",
    "C:\\new": r"C:\\new",
    "https://a.b/c_d": "https://a.b/c_d",
    "|a|b|": r"\|a\|b\|",
    "Küche 中文": "Küche 中文",
}


@pytest.mark.parametrize("name", NAMES)
def test_markup_is_escaped_and_nothing_else(name: str) -> None:
    assert literal(name) == NAMES[name]


@pytest.mark.parametrize(
    "name", [":smile:", ":+1:", ":100:", ":material/close:", ":material_close:", ":streamlit:"]
)
def test_no_picture_takes_the_place_of_a_name(name: str) -> None:
    shown = re.sub(r"\\(\W|_)", r"\1", literal(name))  # as Streamlit's plugins find it
    assert not re.search(r":(material/\w+|[\w+-]+):", shown)
    assert shown.replace("\u2060", "") == name


@pytest.mark.parametrize("sign", ["->", "<-", "<->", "--", ">=", "<=", "~="])
def test_no_sign_is_replaced_by_another(sign: str) -> None:
    shown = re.sub(r"\\(\W)", r"\1", literal(f"a {sign} b"))
    assert shown != f"a {sign} b"
    assert shown.replace("\u2060", "") == f"a {sign} b"


def test_an_address_with_markup_is_no_link() -> None:
    assert "https://" not in literal("see https://a.b/*c*")
    assert literal("see https://a.b/c") == "see https://a.b/c"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\r\n\tb", r"a\r\n\tb"),
        ("a\u202egnp.b", r"a\u202egnp.b"),
        ("\udce9t\udce9", r"\xe9t\xe9"),  # Latin-1, as Python reads it from a disk of UTF-8 names
        ("a\ud800b", "a\ufffdb"),
        ("a  b", "a\u00a0\u00a0b"),
        ("a\u200cb", "a\u200cb"),  # belongs to Persian words
    ],
)
def test_what_cannot_be_seen_is_spelled_out(name: str, shown: str) -> None:
    assert visible(name) == shown
    shown.encode()


def test_code_keeps_a_slash_that_streamlit_would_change() -> None:
    assert ":material/" not in code(":material/close:")


def test_bold_text_may_end_in_a_space() -> None:
    assert literal(" a ") == "\u2060 a \u2060"


def test_only_the_option_that_begins_a_sentence_is_code() -> None:
    error = "`dataset` must be a folder: /a/`b`/*c*; `seed` must be from 0. Not `x y`"
    assert sentence(error) == (
        "`dataset` must be a folder: /a/\\`b\\`/\\*c\\*; `seed` must be from 0. Not \\`x y\\`"
    )
    assert sentence(ValueError("`a` *b*")) == r"`a` \*b\*"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a", "`a`"),
        ("a`b", "``a`b``"),
        ("`a", "`` `a ``"),
        ("``", "``` `` ```"),
        ("a\nb", r"`a\nb`"),
    ],
)
def test_code_holds_any_backticks(name: str, shown: str) -> None:
    assert code(name) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<b>a</b>", "&lt;b&gt;a&lt;/b&gt;"),
        ("&lt;", "&amp;lt;"),
        ("$x$", "&#36;x&#36;"),
        ("%{x}", "&#37;{x}"),
        ("50 %, a\nb", r"50 %, a\nb"),
    ],
)
def test_a_figure_takes_no_markup(name: str, shown: str) -> None:
    assert figure_text(name) == shown


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab1 *_`~$<>[]()!&#;:|\\+-.={}^%\n@/", max_size=20))
def test_the_escapes_can_be_taken_out_again(name: str) -> None:
    shown = literal(name)
    assert "\n" not in shown
    plain = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", shown).replace("\u2060", "")
    assert plain == visible(name)
    # Outside escapes, no two marks of a kind are left that could enclose something.
    bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", shown)
    assert not re.search(r"[*`$<\[\]~|]", bare)
