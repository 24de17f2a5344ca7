"""What decoding costs: milliseconds against people and map size, for every decoder.

Made-up scenes: Gaussians of sigma 2 with tags that tell people apart, a fifth of the joints missing, noise in heat-maps
and tags. All decoders take turns of three calls, so that a change in the machine's speed meets them alike; the first
call of a turn finds the caches full of something else, as after a network. NumPy and OpenCV run on one core, the graph
on --threads. Time only on a machine that does nothing else.

    python benchmarks/decoding.py --csv benchmarks/decoding.csv --plot docs/images/decoding.png
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from ehrnet_tf.decoding import decode, decode_live
from ehrnet_tf.decoding.reference import decode_plainly
from ehrnet_tf.files import atomic_path
from ehrnet_tf.keypoints import load

KEYPOINTS = load("coco")
PEOPLE = (0, 1, 2, 5, 10, 20, 30)
SIDES = (96, 128, 192, 256)  # of the maps, cells: 1/4 and 1/2 of 384 and 512 pixels
CALLS = 3  # in a row
DECODERS = ("plain", "exact", "live", "graph")
NAMES = {"plain": "the steps as published", "exact": "exact", "live": "live", "graph": "in the graph"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", type=Path, help="table to write")
    parser.add_argument("--plot", type=Path, help="picture to write")
    parser.add_argument("--only", nargs="+", choices=DECODERS, default=DECODERS)
    parser.add_argument("--people", type=int, nargs="+", default=PEOPLE)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument("--threads", type=int, default=2, help="of the graph (%(default)s)")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)

    rows = []
    print(
        f"{'side':>4} {'people':>6}  "
        + " ".join(f"{name:>14}" for name in arguments.only)
        + "   ms, least (first of a turn)"
    )
    for side in arguments.sides:
        graph = Graph(side, arguments.threads) if "graph" in arguments.only else None
        for people in arguments.people:
            calls = decoders(scene(people, side, seed=people), graph)
            times = in_turns({name: calls[name] for name in arguments.only}, arguments.rounds)
            print(f"{side:4} {people:6}  " + " ".join(f"{min(t):7.2f} ({first(t):4.1f})" for t in times.values()))
            for name, measured in times.items():
                row = {"side": side, "people": people, "decoder": name, "ms_min": round(min(measured), 3)}
                threads = arguments.threads if name == "graph" else 1
                rows.append({**row, "ms_first": round(first(measured), 3), "threads": threads, **machine()})
    if arguments.csv:
        with atomic_path(arguments.csv) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    if arguments.plot:
        plot(rows, arguments.plot)


def scene(people: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Maps of made-up people: (side, side, K) heat and (side, side, K) tags, float32."""
    rng = np.random.default_rng(seed)
    count = len(KEYPOINTS)
    heat = np.abs(rng.normal(0, 0.01, (side, side, count))).astype(np.float32)
    tags = rng.normal(0, 0.1, (side, side, count)).astype(np.float32)
    rows, columns = np.mgrid[:side, :side].astype(np.float32) + 0.5
    nearest = np.full((side, side, count), np.inf)
    for person in range(people):
        centre, spread = rng.uniform(0, side, 2), rng.uniform(0.05, 0.17) * side
        for k in np.flatnonzero(rng.random(count) > 0.2):
            x, y = np.clip(centre + rng.normal(0, spread, 2), 0, side)
            square = (columns - x) ** 2 + (rows - y) ** 2
            heat[:, :, k] = np.maximum(heat[:, :, k], rng.uniform(0.3, 1) * np.exp(-square / 8))
            closer = square < nearest[:, :, k]
            nearest[closer, k] = square[closer]
            tags[closer, k] = 2 * person + rng.normal(0, 0.1, closer.sum())
    return heat, tags


def decoders(maps: tuple[np.ndarray, np.ndarray], graph: Graph | None) -> dict[str, Callable[[], object]]:
    """Every decoder on one scene; live and graph read tags at half the resolution, as the network gives them."""
    heat, tags = maps
    coarse = np.ascontiguousarray(tags[::2, ::2])
    calls = {
        "plain": lambda: decode_plainly(heat, tags),
        "exact": lambda: decode(heat, tags),
        "live": lambda: decode_live(heat, coarse),
    }
    if graph is not None:
        calls["graph"] = lambda: graph(heat, coarse)
    return calls


class Graph:
    """The in-graph decoder alone, as a TFLite file."""

    def __init__(self, side: int, threads: int):
        import tensorflow as tf

        from ehrnet_tf.decoding.graph import find_people
        from ehrnet_tf.runtime.runners import open_interpreter

        shapes = {
            "image": (1, 2 * side, 2 * side, 3),
            "heatmaps": (1, side, side, 17),
            "tags": (1, side // 2, side // 2, 17),
        }
        specs = [tf.TensorSpec(s, tf.uint8 if n == "image" else tf.float32, n) for n, s in shapes.items()]
        function = tf.function(lambda image, heatmaps, tags: find_people(image, heatmaps, tags), input_signature=specs)
        with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
            converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
            Path(file.name).write_bytes(converter.convert())
            self._interpreter = open_interpreter(file.name, num_threads=threads)
        self._interpreter.allocate_tensors()
        self._inputs = {
            len(d["shape"]) and tuple(d["shape"]): d["index"] for d in self._interpreter.get_input_details()
        }
        self._interpreter.set_tensor(self._inputs[shapes["image"]], np.full(shapes["image"], 255, np.uint8))

    def __call__(self, heat: np.ndarray, tags: np.ndarray) -> None:
        for maps in (heat[None], tags[None]):
            self._interpreter.set_tensor(self._inputs[maps.shape], maps)
        self._interpreter.invoke()


def in_turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every call, three in each of ``rounds`` turns, the first of a turn first."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            for _ in range(CALLS):
                begin = time.perf_counter()
                call()
                if turn:
                    times[name].append((time.perf_counter() - begin) * 1e3)
    return times


def first(measured: list[float]) -> float:
    """The median over turns of their first calls."""
    return statistics.median(measured[::CALLS])


def machine() -> dict[str, object]:
    """What the times were measured on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return {"cpu": cpu, "cores": os.cpu_count()}


def plot(rows: list[dict], path: Path) -> None:
    """Milliseconds against people, one panel a map size, logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sides = sorted({row["side"] for row in rows})
    figure, panels = plt.subplots(1, len(sides), figsize=(3.4 * len(sides), 3.4), sharey=True, squeeze=False)
    for side, axes in zip(sides, panels[0], strict=True):
        for name, marker in zip(DECODERS, "sov^", strict=True):
            points = [(r["people"], r["ms_min"]) for r in rows if r["side"] == side and r["decoder"] == name]
            if points:
                axes.plot(*zip(*points, strict=True), marker=marker, label=NAMES[name])
        axes.set(title=f"{side} x {side} cells", xlabel="people", yscale="log")
        axes.grid(alpha=0.3, which="both")
    panels[0][0].set_ylabel("ms")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="upper center", ncol=len(DECODERS), frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.93))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


if __name__ == "__main__":
    main()
