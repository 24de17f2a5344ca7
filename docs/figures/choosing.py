"""Draws speed against AP of the published sizes: our milliseconds, the authors' AP.

Run as ``python docs/figures/choosing.py --out docs/images``.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from how_style import GREY, PEOPLE, SMALL, new, save

PUBLISHED_AP = {"h0": 0.640, "h-1": 0.591, "h-2": 0.528, "h-3": 0.445, "h-4": 0.355}  # arXiv 2007.08090, COCO test-dev
VARIANTS = Path(__file__).resolve().parents[2] / "benchmarks" / "variants.csv"
COLORS = {"float32": GREY, "int8": PEOPLE[0]}


def points(path: Path = VARIANTS) -> dict[str, list[tuple[str, float, float]]]:
    """Precision → (variant, milliseconds of the network, median, published AP), the largest network first."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = {row["config"]: row for row in csv.DictReader(file)}
    return {
        precision: [
            (name.upper(), float(rows[name][f"{precision}_ms_median"]), ap) for name, ap in PUBLISHED_AP.items()
        ]
        for precision in COLORS
    }


def draw(folder: Path) -> Path:
    """Writes the figure, and gives its path."""
    figure, [[axes]] = new(4.5)
    for precision, line in points().items():
        milliseconds, ap = [ms for _, ms, _ in line], [ap for *_, ap in line]
        axes.plot(milliseconds, ap, "o-", color=COLORS[precision], label=f"TFLite {precision}")
        for name, ms, value in line:
            right = precision == "float32"
            axes.annotate(
                f"{name}, {ms:.0f} ms",
                (ms, value),
                xytext=(6, -9) if right else (-6, 5),
                textcoords="offset points",
                ha="left" if right else "right",
                fontsize=SMALL,
                color=COLORS[precision],
            )
    axes.set(
        xscale="log",
        xlim=(6, 700),
        ylim=(0.32, 0.68),
        xlabel="network, ms a picture (two cores of an AMD EPYC)",
        ylabel="AP as published (COCO test-dev)",
    )
    axes.set_xticks([10, 20, 50, 100, 200, 500], ["10", "20", "50", "100", "200", "500"])
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right")
    return save(figure, folder / "choosing.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder to write choosing.png to")
    arguments = parser.parse_args()
    draw(arguments.out)


if __name__ == "__main__":
    main()
