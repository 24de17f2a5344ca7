"""What the figures of docs/how-it-works.md have in common: size, type, colours, the way they are written."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ehrnet_tf import drawing
from ehrnet_tf.files import atomic_path

WIDTH = 8.0  # inches; the page shows a figure 800 pixels wide, so that a point of type is 1.4 pixels there
DPI = 200
QUALITY = 85  # of .jpg
SMALL, NORMAL = 9, 10  # points

# Okabe and Ito's palette, "Color Universal Design", 2008: one colour a person, in the order in which people are opened.
PEOPLE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
INK, GREY, PALE = "#222222", "#777777", "#e8e8e8"
LEFT, RIGHT = (tuple(c / 255 for c in color) for color in (drawing.LEFT, drawing.RIGHT))
HEAT, TAG = "magma", "RdBu"  # colour maps

STYLE = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": SMALL,
    "axes.titlesize": NORMAL,
    "axes.labelsize": SMALL,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
}


def new(height: float, **subplots) -> tuple[Figure, np.ndarray]:
    """A figure ``height`` inches high and what ``plt.subplots(**subplots)`` gives for it, as an array of axes."""
    plt.rcParams.update(STYLE)
    figure, axes = plt.subplots(figsize=(WIDTH, height), squeeze=False, layout="constrained", **subplots)
    figure.get_layout_engine().set(h_pad=0.07, w_pad=0.05)
    return figure, axes


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure, .png (256 colours) for lines and .jpg for pictures, and closes it."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    plt.close(figure)
    image = Image.open(drawn).convert("RGB")
    with atomic_path(path) as temporary:
        if path.suffix == ".jpg":
            image.save(temporary, "JPEG", quality=QUALITY, optimize=True)
        else:
            image.quantize(256, dither=Image.Dither.NONE).save(temporary, "PNG", optimize=True)
    return path


def show(axes: Axes, picture: np.ndarray, title: str = "", dim: float = 0.0) -> None:
    """Shows a picture (H, W, 3) uint8 in its own pixel frame: x from 0 to W, y from 0 to H downwards.

    ``dim``: how far its colours are taken out and its light towards white, 0 to 1, so that marks stand out.
    """
    height, width = picture.shape[:2]
    shown = picture / 255
    if dim:
        grey = shown.mean(axis=2, keepdims=True)
        shown = (1 - dim) * (0.3 * shown + 0.7 * grey) + dim
    axes.imshow(shown, extent=(0, width, height, 0), interpolation="nearest")
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    bare(axes, title)


def bare(axes: Axes, title: str = "") -> None:
    """Takes ticks and frame away."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(title)


def person_color(index: int) -> str:
    """The colour of the person who was opened as number ``index``; grey beyond the palette."""
    return PEOPLE[index] if index < len(PEOPLE) else GREY
