"""What `assets/microscope.js` draws: one cloud as plain data, or as a page of its own."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from app.pictures import Picture
from app.theme import FONT, Palette

MODULE = Path(__file__).resolve().parents[2] / "assets" / "microscope.js"
LAYERS = MODULE.with_name("layers.js")
SIDE = 40  # pixels of an image in the sprite
ACROSS = 16  # images in a row of it
_QUALITY = 80
# Of points that can be moved
FRAME = (-2.0, 2.0, -1.35, 1.35)  # where they may be: left, right, bottom, top
REACH = 3.0  # the largest scale that is shown, at least
MOST_POINTS = 60


def live_data(
    *,
    name: str,
    distances: ArrayLike,
    points: ArrayLike,
    loops: ArrayLike,
    components: ArrayLike,
    cycles: Sequence[Sequence[int] | None],
    fills: Sequence[bool],
    radii: ArrayLike,
    clusters: Sequence[int],
    min_samples: int,
    min_persistence: float = 0.0,
) -> dict[str, Any]:
    """One cloud for the browser; numbers are float32 in base64, little-endian.

    Parameters
    ----------
    name : str
        What is shown. Under another name the view starts afresh.
    distances : array_like (N, N)
    points : array_like (N, 2)
        The images in the plane.
    loops : array_like (k, 2)
        Births and deaths.
    components : array_like (m, 2)
        Those of H₀; the last death is infinite.
    cycles : sequence of k sequences of int, or None
        The images round each loop, in order, where they are known.
    fills : sequence of k bool
        Whether triangles fill that cycle at the loop's death.
    radii, clusters : array_like (s,), sequence of s int
        From each radius up to the next, so many clusters of DBSCAN with `min_samples`.
    min_persistence : float
        Loops that live no longer do not count.
    """
    between = np.asarray(distances, dtype=np.float32)
    merges = np.asarray(components, dtype=np.float32).reshape(-1, 2)[:, 1]
    return {
        "id": name,
        "count": len(between),
        "distances": base64_floats(between[np.triu_indices(len(between), 1)]),
        "points": base64_floats(points),
        "loops": base64_floats(loops),
        "pieces": len(merges),
        "merges": base64_floats(np.sort(merges[np.isfinite(merges)])),
        "cycles": [cycle if cycle is None else [*map(int, cycle)] for cycle in cycles],
        "fills": [*map(bool, fills)],
        "radii": base64_floats(radii),
        "clusters": [*map(int, clusters)],
        "minSamples": min_samples,
        "least": min_persistence,
    }


def image_data(
    names: Sequence[str], classes: Sequence[str] | None, pictures: Sequence[Picture]
) -> dict[str, Any]:
    """The images of a cloud for the browser.

    Parameters
    ----------
    names : sequence of N str
    classes : sequence of N str, optional
        None without labels.
    pictures : sequence of N arrays (height, width, 3) of uint8
        Without one there are no thumbnails.
    """
    groups = sorted(set(classes or ()))
    return {
        "names": [*names],
        "what": "image",
        "labelled": classes is not None,
        "classes": [*(classes or ["image"] * len(names))],
        "colours": [groups.index(each) for each in classes or ()] or [0] * len(names),
        "sprite": _sprite(pictures) if pictures else "",
        "side": SIDE,
        "across": ACROSS,
    }


def toy_data(
    count: int,
    *,
    quiet: bool,
    version: str = "",
    report: int | None = None,
    start: float | None = None,
) -> dict[str, Any]:
    """What a cloud of points has instead of images.

    Parameters
    ----------
    count : int
    quiet : bool
        Whether to show the map alone, without any number that answers a question.
    version : str
        Another one for other points under the same name, at which the view does not start afresh.
    report : int, optional
        For points that can be dragged, added and removed, whose axes stay as they are: the last
        report of where they are that this answers, so that older answers do not move them back.
    start : float, optional
        The scale to begin with.
    """
    names = [f"point {place + 1}" for place in range(count)]
    data = image_data(names, None, []) | {"what": "point", "toy": True, "quiet": quiet}
    data |= {"version": version, "movable": report is not None}
    if report is not None:
        data |= {"report": report, "frame": [*FRAME], "reach": REACH, "most": MOST_POINTS}
    return data if start is None else data | {"start": start}


def look_of(palette: Palette) -> dict[str, Any]:
    """The colours, the font and the scale of type for the browser."""
    return asdict(palette) | {"font": FONT}


def layers_module() -> str:
    """The module that draws several layers: that of one layer, and what is on top of it."""
    one = MODULE.read_text("utf-8").replace("export default function", "function")
    return one + LAYERS.read_text("utf-8")


def together_data(layers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Clouds of the same images in several layers, which are sent once.

    Parameters
    ----------
    layers : sequence of dict
        Each with its numbers, those of `image_data`, a "look", a "group" and a "title".
    """
    shared = {name: layers[0][name] for name in (*image_data([], None, []), "look", "group")}
    own = [{name: each[name] for name in each if name not in shared} for each in layers]
    return shared | {"id": " ".join(each["id"] for each in layers), "layers": own}


def tour_data(names: Sequence[str], maps: Sequence[ArrayLike]) -> dict[str, Any]:
    """Maps (N, 2) of the same images in layers that follow each other."""
    return {
        "tour": [*names],
        "points": base64_floats(np.asarray(maps)),
        "count": len(np.asarray(maps[0])),
    }


def live_page(data: dict[str, Any], title: str) -> str:
    """A page that shows the data without a server or a network."""
    title, surface = html.escape(title), data["look"]["surface"]
    module, name = MODULE.read_text("utf-8"), "microscope"
    if "layers" in data or "tour" in data:
        module, name = layers_module(), "layers"
    plain = json.dumps(data).replace("<", "\\u003c")  # no text may end the script
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<body style="margin: 16px; background: {surface}">
<h1 style="font: 600 18px {html.escape(FONT)}; color: {data["look"]["text"]}">{title}</h1>
<script type="module">
{module}
{name}({{ data: {plain}, parentElement: document.body }});
</script></body></html>
"""


def base64_floats(values: ArrayLike) -> str:
    return base64.b64encode(np.asarray(values, dtype="<f4").tobytes()).decode()


def _sprite(pictures: Sequence[Picture]) -> str:
    """All pictures in one, as an address of data."""
    rows = -(-len(pictures) // ACROSS)
    canvas = Image.new("RGB", (ACROSS * SIDE, rows * SIDE))
    for place, pixels in enumerate(pictures):
        picture = Image.fromarray(pixels)
        picture.thumbnail((SIDE, SIDE))
        row, column = divmod(place, ACROSS)
        left, top = ((SIDE - size) // 2 for size in picture.size)
        canvas.paste(picture, (column * SIDE + left, row * SIDE + top))
    packed = io.BytesIO()
    canvas.save(packed, "WEBP", quality=_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(packed.getvalue()).decode()}"
