"""The version of the program, and that of the numbers it computes."""

from __future__ import annotations

__version__ = "0.1.0"
ANALYSIS_VERSION = 2  # raise it whenever the same options would give other numbers
