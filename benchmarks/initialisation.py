"""How fast training from nothing begins, by the weights it starts from.

Trains the same network on the same pictures from weights drawn by each scheme and seed, and writes losses and AP to a
table and a plot. The scheme `reference` draws every kernel from N(0, 0.001), as the original does; `package` is what
`EfficientHRNet` draws.

    python benchmarks/initialisation.py DATA --out runs/initialisation
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path

import keras
import numpy as np

from ehrnet_tf.config import load_config
from ehrnet_tf.files import atomic_path
from ehrnet_tf.training.logs import read_log
from ehrnet_tf.training.train import build_model, train

REFERENCE_STD = 1e-3
SETTINGS = [  # H-4 as published, Adam 1e-3; windows as the letterbox of evaluation makes them
    "model.input_size=128",
    "augment.rotation=10",
    "augment.scale=[1.1,1.5]",
    "augment.translate=0.1",
    "train.epochs=6",
    "train.steps_per_epoch=100",
    "train.validate_every=3",
]


def package(model: keras.Model, rng: np.random.Generator) -> None:
    """Leaves the weights as `EfficientHRNet` drew them."""


def reference(model: keras.Model, rng: np.random.Generator) -> None:
    """Draws every kernel from N(0, 0.001); biases stay 0, batch norms 1 and 0."""
    for weight in model.trainable_weights:
        if len(weight.shape) == 4:
            weight.assign(rng.normal(0, REFERENCE_STD, weight.shape))


SCHEMES = {"reference": reference, "package": package}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder in COCO's layout, such as make-data writes")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs, results.csv and curves.png")
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=list(SCHEMES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("overrides", nargs="*", metavar="a.b=c", help="values over configs/h-4.yaml and SETTINGS")
    arguments = parser.parse_args()

    rows = []
    for seed in arguments.seeds:
        for scheme in arguments.schemes:
            run = arguments.out / f"{scheme}-{seed}"
            rows += trained(run, [*SETTINGS, *arguments.overrides, f"train.seed={seed}"], scheme, arguments.data)
            write_table(rows, arguments.out / "results.csv")
    draw(rows, arguments.out / "curves.png")
    print(f"{'scheme':12} seed  samples    loss  heatmaps_2     AP")
    for row in rows:
        if math.isfinite(row["AP"]):
            print("{scheme:12} {seed:4} {samples:8} {loss:7.4f} {heatmaps_2_loss:11.5f} {AP:6.3f}".format(**row))
    if set(SCHEMES) <= set(arguments.schemes):
        for seed in arguments.seeds:
            before, now = ([r for r in rows if (r["scheme"], r["seed"]) == (scheme, seed)] for scheme in SCHEMES)
            passed = np.interp(-before[-1]["loss"], [-r["loss"] for r in now], [r["samples"] for r in now])
            print(f"seed {seed}: reference's loss after {before[-1]['samples']} samples passed after {passed:.0f}")


def trained(run: Path, overrides: list[str], scheme: str, data: Path) -> list[dict]:
    """One row an epoch of one training run; a run that is there already is read, not repeated."""
    config = load_config("h-4", overrides)
    if not (run / "log.csv").is_file():
        keras.utils.set_random_seed(config.train.seed)
        model = build_model(config)
        SCHEMES[scheme](model, np.random.default_rng(config.train.seed))
        start = run.with_name(f"{run.name}-start.weights.h5")
        start.parent.mkdir(parents=True, exist_ok=True)
        model.save_weights(start)
        train(load_config("h-4", [*overrides, f"model.weights={start}"]), data, run)
        start.unlink()
    per_epoch = config.train.batch_size * config.train.steps_per_epoch
    return [
        {"scheme": scheme, "seed": config.train.seed, "samples": int(row["epoch"] + 1) * per_epoch, **row}
        for row in read_log(run / "log.csv")
    ]


def write_table(rows: list[dict], path: Path) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def draw(rows: list[dict], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    lines = {"reference": ("N(0, 0.001), as the original", "tab:red"), "package": ("this package", "tab:blue")}
    for scheme, seed in dict.fromkeys((row["scheme"], row["seed"]) for row in rows):
        points = [(r["samples"], r["loss"]) for r in rows if (r["scheme"], r["seed"]) == (scheme, seed)]
        label, color = lines[scheme]
        axes.plot(*zip(*points, strict=True), color=color, marker=".", label=label)
    axes.set(xlabel="training samples", ylabel="training loss", title="H-4 from nothing, one line a seed")
    axes.grid(alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    first = dict(zip(labels, handles, strict=True))  # one entry a scheme
    axes.legend(first.values(), first.keys())
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)


if __name__ == "__main__":
    main()
