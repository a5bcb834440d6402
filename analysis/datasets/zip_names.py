"""Names in zip archives, as their makers meant them."""

from __future__ import annotations

import unicodedata
import zipfile
from collections.abc import Sequence

_UTF8 = 0x800  # flag: names are UTF-8; without it, they are read as code page 437


def maker_names(infos: Sequence[zipfile.ZipInfo]) -> list[str]:
    """The names of an archive's entries.

    Archives of macOS hold UTF-8 without the flag that says so, and Japanese ones hold Shift-JIS.
    One encoding is guessed for the whole archive: the first in which all names can be read.
    Where no name has a slash, backslashes separate folders, as some programs for Windows write.
    """
    unsure = [info for info in infos if _is_unsure(info)]
    raw = b"/".join(info.orig_filename.encode("cp437") for info in unsure)
    encoding = _guess(raw)
    names = [
        info.orig_filename.encode("cp437").decode(encoding) if _is_unsure(info) else info.filename
        for info in infos
    ]
    return names if any("/" in name for name in names) else [n.replace("\\", "/") for n in names]


def _is_unsure(info: zipfile.ZipInfo) -> bool:
    same = info.filename == info.orig_filename  # else an extra field gave the name
    return same and not info.flag_bits & _UTF8 and not info.filename.isascii()


def _guess(raw: bytes) -> str:
    for encoding in ("utf-8", "cp932"):
        try:
            raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        # Any two letters of western names may be one of Shift-JIS; frames and signs are in no name.
        odd = [s for s in raw.decode("cp437") if ord(s) > 127 and unicodedata.category(s)[0] != "L"]
        if encoding == "utf-8" or odd:
            return encoding
    return "cp437"
