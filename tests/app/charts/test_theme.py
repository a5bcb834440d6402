"""Colours: readable, told apart, and the same in Streamlit's settings."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from app.theme import PALETTES, chart_config, style, translucent

ROOT = Path(__file__).parents[3]
SETTINGS = tomllib.loads((ROOT / "streamlit_config.toml").read_text(encoding="utf-8"))
# Simulated deuteranopia and protanopia in linear RGB (Machado, Oliveira, Fernandes 2009).
SEEN = {
    "all cones": np.eye(3),
    "deuteranopia": np.array(
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    ),
    "protanopia": np.array(
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
    ),
}


def linear(color: str) -> np.ndarray:
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    light = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (first, second))
    return (light[1] + 0.05) / (light[0] + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    f = np.cbrt(matrix @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("appearance", sorted(PALETTES))
def test_text_is_readable(appearance):
    palette = PALETTES[appearance]
    for name in ("accent", "text", "secondary", "ink", "noise", "warning"):
        assert contrast(getattr(palette, name), palette.surface) >= 4.5, name
    for color in palette.clusters:
        assert contrast(color, palette.surface) >= 4.5, color
    assert contrast(palette.text, palette.panel) >= 7


@pytest.mark.parametrize("vision", SEEN)
@pytest.mark.parametrize("appearance", sorted(PALETTES))
def test_the_first_clusters_differ_for_any_colour_vision(appearance, vision):
    seen = [lab(SEEN[vision] @ linear(c)) for c in PALETTES[appearance].clusters[:5]]
    gaps = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(gaps) > 12


@pytest.mark.parametrize("vision", SEEN)
@pytest.mark.parametrize("appearance", sorted(PALETTES))
def test_the_kinds_of_memory_differ_for_any_colour_vision(appearance, vision):
    palette = PALETTES[appearance]
    seen = [lab(SEEN[vision] @ linear(c)) for c in palette.memory]
    gaps = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(gaps) > 15
    assert min(contrast(c, palette.surface) for c in palette.memory) >= 3


@pytest.mark.parametrize("appearance", sorted(PALETTES))
def test_streamlit_uses_the_same_colours(appearance):
    palette, settings = PALETTES[appearance], SETTINGS["theme"][appearance.split()[0]]
    assert settings["backgroundColor"] == palette.surface
    assert settings["secondaryBackgroundColor"] == palette.panel
    assert settings["textColor"] == palette.text
    assert settings["borderColor"] == palette.border
    assert settings["linkColor"] == palette.accent
    # Streamlit writes in white on the primary colour.
    assert contrast(settings["primaryColor"], "#ffffff") >= 4.5


def test_streamlit_knows_every_setting():
    from streamlit import config

    known = set(config.get_config_options())
    flat = {f"{section}.{key}" for section, values in SETTINGS.items() for key in values if key} - {
        "theme.light",
        "theme.dark",
    }
    for variant in ("light", "dark"):
        values = SETTINGS["theme"][variant]
        flat |= {f"theme.{variant}.{key}" for key in values if key != "sidebar"}
        flat |= {f"theme.{variant}.sidebar.{key}" for key in values["sidebar"]}
    assert flat <= known


def test_the_server_listens_only_locally_and_sends_no_statistics():
    assert SETTINGS["server"]["address"] == "localhost"
    assert SETTINGS["browser"]["gatherUsageStats"] is False
    assert 0 < SETTINGS["server"]["maxUploadSize"] <= 2000


def test_streamlit_reads_the_file_at_the_root():
    link = ROOT / ".streamlit" / "config.toml"
    assert link.read_text(encoding="utf-8") == (ROOT / "streamlit_config.toml").read_text(
        encoding="utf-8"
    )


def test_style_keeps_what_a_figure_sets_itself():
    figure = go.Figure(layout={"margin": {"l": 99}})
    styled = style(figure, PALETTES["dark"], height=123)
    assert styled is figure
    assert figure.layout.height == 123
    assert figure.layout.margin.l == 99
    assert figure.layout.dragmode is False
    assert figure.layout.template.layout.font.color == PALETTES["dark"].text


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_pictures_are_saved_under_their_name(kind):
    config = chart_config("diagram", kind)
    assert config["toImageButtonOptions"] == {"format": kind, "filename": "diagram", "scale": 2}
    assert config["displaylogo"] is False


def test_translucent():
    assert translucent("#0f766e", 0.25) == "rgba(15,118,110,0.25)"
