"""The Start button stays when the predictions arrive, however the requests of a page meet."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.serving import PATIENCE, serve

pytestmark = pytest.mark.e2e
AT_ONCE = 5  # pages, which keep the server busy as a fresh one is
SOON = 1000 * PATIENCE  # milliseconds
STARTS = "() => [...document.querySelectorAll('.st-key-start button')].map(b => b.innerText.trim())"
