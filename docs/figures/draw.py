"""Draws the figures of docs/how-it-works.md, from the code and from a trained network.

    make demo
    python docs/figures/draw.py demo_output/run/best.keras --int8 demo_output/int8.tflite --out docs/images

Without a network: `--only scaling network augmentation targets`. The picture is a made-up one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

WITHOUT = ("scaling", "network", "augmentation", "targets")
WITH = ("task", "heatmaps", "tags", "decoding")
FIGURES = (*WITHOUT, *WITH, "integers")


def main(arguments: list[str] | None = None) -> list[Path]:
    """Draws, prints the files and what was measured on the way, and gives the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="a .keras file; needed by " + ", ".join((*WITH, "integers")))
    parser.add_argument("--int8", help="an int8 .tflite file of the same model; needed by integers")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=FIGURES)
    parser.add_argument("--picture", type=int, help="number of the made-up picture (default: see how_scene.py)")
    parser.add_argument("--variant", default="H-2", help="of the network figures (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder")
    options = parser.parse_args(arguments)
    only = [name for name in FIGURES if name in options.only]
    if options.model is None and set(only) - set(WITHOUT):
        parser.error(f"give a .keras file, or --only {' '.join(WITHOUT)}")
    if options.int8 is None and "integers" in only:
        parser.error("integers: give --int8 FILE, or leave it out by --only")
    options.out.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in figures(options).items():
        if name in only:
            for file, found in figure():
                files.append(file)
                print(file, "" if found is None else found, flush=True)
    return files


def figures(options: argparse.Namespace) -> dict[str, Callable[[], list[tuple[Path, object]]]]:
    """What draws the files of each name and gives them, each with what was measured, or None."""
    import how_decoding as decoding
    import how_integers as integers
    import how_maps as maps
    import how_network as network
    import how_scaling as scaling
    import how_tags as tags
    import how_training as training
    from how_scene import PICTURE, Scene, made_up

    from ehrnet_tf.models.efficienthrnet import EfficientHRNet
    from ehrnet_tf.runtime.estimator import PoseEstimator

    out = options.out
    picture, annotations = made_up(PICTURE if options.picture is None else options.picture)
    scene = Scene(picture, PoseEstimator(options.model)) if options.model else None
    if scene and not len(scene.shown):
        raise SystemExit(f"{options.model}: finds nobody in the picture; train it longer, or take another --picture")
    return {
        "scaling": lambda: [(scaling.draw(out, measured := scaling.measure_family()), measured)],
        "network": lambda: [(file, None) for file in network.draw(out, EfficientHRNet(options.variant))],
        "augmentation": lambda: [(training.draw_augmentation(out, picture, annotations), None)],
        "targets": lambda: [(training.draw_targets(out, picture, annotations)[0], None)],
        "task": lambda: [(maps.draw_task(out, scene), None)],
        "heatmaps": lambda: [(maps.draw_heatmaps(out, scene), None)],
        "tags": lambda: [
            (tags.draw_tags(out, scene), tags.count_sides(scene.estimator)),
            tags.draw_losses(out, scene, annotations),
        ],
        "decoding": lambda: [
            (decoding.draw_steps(out, scene), decoding.refined(scene)),
            (decoding.draw_grouping(out, scene), None),
            decoding.draw_subpixel(out, scene),
        ],
        "integers": lambda: [integers.draw(out, scene, Scene(picture, PoseEstimator(options.int8)))],
    }


if __name__ == "__main__":
    main()
