"""Choices of a training at equal compute: the same network, size and number of samples, one thing changed at a time.

Every choice is trained by `ehrnet train --config little-data` with its overrides, in a process of its own, `--jobs` of
them side by side with a core each, and judged on the validation pictures by AP, by the AP that true grouping would
give, and by PCK: the share of labelled keypoints, of people at least an eighth of their picture tall, whose channel's
hottest cell within the person's box lies within a tenth of the box's longer side of them. PCK tells short trainings
apart that all have an AP near 0; a random place in a box twice as tall as wide gives 0.06.

    python benchmarks/training_choices.py DATA --synthetic SYNTHETIC --out runs/choices \
        --csv benchmarks/training_choices.csv --plot docs/images/training_choices.png
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import numpy as np

EPOCHS, STEPS = 4, 300
BASE = ["loss.heatmap_focus=2"]  # the configuration has what measured best
CHOICES: dict[str, list[str]] = {
    "base: Muon, cosine, focus 2, mild augmentation": [],
    "optimizer: Adam 2e-3": ["train.optimizer=adam", "train.learning_rate=2e-3"],
    "optimizer: AdamW 2e-3": ["train.optimizer=adamw", "train.learning_rate=2e-3"],
    "optimizer: SGD 0.5": ["train.optimizer=sgd", "train.learning_rate=0.5"],
    "weight decay 0.05": ["train.weight_decay=0.05"],
    "gradients clipped to 0.1": ["train.clip_norm=0.1"],
    "small pictures first: 96, then 160 pixels": ["train.sizes=[[0, 96], [2, 160]]"],
    "schedule: a drop at 3/4": ["train.schedule=step", "train.milestones=[3]"],
    "loss: focus 0, as published": ["loss.heatmap_focus=0"],
    "loss: focus 10": ["loss.heatmap_focus=10"],
    "augmentation: as published": ["augment.rotation=30", "augment.scale=[0.75, 1.5]", "augment.translate=0.2"],
    "augmentation: mirroring only": ["augment.rotation=0", "augment.scale=[1.2, 1.2]", "augment.translate=0"],
    "EMA 0.99": ["train.ema=0.99"],
}
FIRST_SYNTHETIC = "initialisation: half on made-up people"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder in COCO's layout")
    parser.add_argument("--synthetic", type=Path, help="made-up people (`ehrnet make-data`), to start from")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs; finished ones are not repeated")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    cores: Queue = Queue()
    for core in list(os.sched_getaffinity(0))[: arguments.jobs]:
        cores.put(core)
    names = [*CHOICES, *([FIRST_SYNTHETIC] if arguments.synthetic else [])]

    def run(name: str) -> dict:
        core = cores.get()
        try:
            return choice(name, arguments, core)
        finally:
            cores.put(core)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        lines = list(pool.map(run, names))
    print(f"{'choice':46} {'PCK':>6} {'AP, true groups':>16} {'AP':>7} {'minutes':>8}")
    for line in lines:
        print(
            f"{line['choice']:46} {line['PCK']:6.3f} {line['AP_true_groups']:16.4f} {line['AP']:7.4f} "
            f"{line['minutes']:8.1f}"
        )
    if arguments.csv:
        with arguments.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, lines[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)
    if arguments.plot:
        plot({line["choice"]: arguments.out / slug(line["choice"]) for line in lines}, arguments.plot)


def slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")


def choice(name: str, arguments: argparse.Namespace, core: int) -> dict:
    """Trains and judges one choice."""
    out = arguments.out / slug(name)
    if name == FIRST_SYNTHETIC:
        before = out.with_name(out.name + "-before")
        half = [f"train.epochs={EPOCHS // 2}"]
        train(arguments.synthetic, before, half, core)
        train(arguments.data, out, [*half, f"model.weights={before / 'last.keras'}"], core)
    else:
        train(arguments.data, out, CHOICES[name], core)
    judged = out / "judged.csv"
    if not judged.is_file():
        command = [sys.executable, __file__, "--judge", str(out / "last.keras"), str(arguments.data), str(judged)]
        subprocess.run(["taskset", "-c", str(core), *command], check=True)
    figures = {key: float(value) for key, value in next(csv.DictReader(judged.open())).items()}
    with (out / "log.csv").open() as file:
        minutes = sum(float(row["seconds"]) for row in csv.DictReader(file)) / 60
    return {"choice": name, **figures, "minutes": round(minutes, 1)}


def train(data: Path, out: Path, overrides: list[str], core: int) -> None:
    if (out / "best.keras").is_file():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    lengths = [f"train.epochs={EPOCHS}", f"train.steps_per_epoch={STEPS}", "train.checkpoint_minutes=60"]
    command = ["taskset", "-c", str(core), "ehrnet", "train", "--config", "little-data"]
    command += ["--data", str(data), "--out", str(out), *lengths, *BASE, *overrides]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with open(out.with_suffix(".txt"), "w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log, env=environment)


def judge(model: str, data: str, path: str) -> None:
    """Writes AP, AP_true_groups and PCK of a model on val2017 as a CSV file of one line."""
    from ehrnet_tf.data.coco import read_records
    from ehrnet_tf.evaluation import evaluate
    from ehrnet_tf.images import decode_image
    from ehrnet_tf.runtime.estimator import PoseEstimator
    from ehrnet_tf.runtime.runners import KerasRunner

    runner = KerasRunner(with_average(model))
    records = read_records(data, "val2017")
    figures = evaluate(runner, data, "val2017", records=records, bounds=True, progress=False)
    estimator = PoseEstimator(runner)
    hits = labelled = 0
    for record in records:
        prepared = estimator.prepare(decode_image(record.read(), record.path))
        heatmaps = estimator.run([prepared])[0][0].maps["heatmaps_2"]
        for keypoints, box in zip(record.keypoints, record.boxes, strict=True):
            if box[3] >= record.height / 8:
                found, there = person_hits(heatmaps, keypoints, box, prepared.box)
                hits, labelled = hits + found, labelled + there
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["AP", "AP_true_groups", "PCK"])
        writer.writerow([figures["AP"], figures["AP_true_groups"], hits / labelled])


def with_average(path: str):
    """The model of a last.keras, with the moving average of its weights if the run keeps one."""
    import keras

    import ehrnet_tf.training.train  # noqa: F401, what a checkpoint may hold
    from ehrnet_tf.training.optimizers import averaged_weights

    model = keras.saving.load_model(path)
    model.set_weights(averaged_weights(model))
    return model


def person_hits(heatmaps: np.ndarray, keypoints: np.ndarray, box: np.ndarray, geometry) -> tuple[int, int]:
    """How many of a person's keypoints are found in its box, and how many are labelled; heat-maps at 1/2."""
    corners = geometry.to_input(np.array([box[:2], box[:2] + box[2:]])) / 2
    (left, top), (right, bottom) = np.clip(corners.round().astype(int), 0, heatmaps.shape[0])
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    part = heatmaps[top:bottom, left:right]
    rows, columns = np.unravel_index(part.reshape(-1, part.shape[2]).argmax(axis=0), part.shape[:2])
    peaks = np.stack([columns + left, rows + top], axis=1) + 0.5
    distance = np.linalg.norm(peaks - geometry.to_input(keypoints[:, :2]) / 2, axis=1)
    seen = keypoints[:, 2] > 0
    return int((distance[seen] <= 0.1 * (corners[1] - corners[0]).max()).sum()), int(seen.sum())


def plot(runs: dict[str, Path], path: Path) -> None:
    """The losses of the heat-maps at 1/2 over the samples, but for those of another loss or of smaller pictures."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    axes.set_prop_cycle(color=colormaps["tab20"].colors)
    for name, run in runs.items():
        if name.startswith(("loss", "small")):
            continue
        with (run / "log.csv").open() as file:
            rows = [(float(r["epoch"]) + 1, float(r["heatmaps_2_loss"])) for r in csv.DictReader(file)]
        begin = EPOCHS - len(rows)
        axes.plot([(begin + e) * STEPS * 8 for e, _ in rows], [loss for _, loss in rows], marker=".", label=name)
    axes.set_xlabel("samples")
    axes.set_ylabel("training loss of the heat-maps at 1/2")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--judge":
        judge(*sys.argv[2:])
    else:
        main()
