"""What every variant costs: parameters, multiply-adds, and the network's time as TFLite float32 and int8.

Weights are random, which changes no time. Files are made once and kept in --files; all are then timed in turns, so that
a change in the machine's speed meets them alike. Time only on a machine that does nothing else.

    python benchmarks/variants.py --files runs/variants --csv benchmarks/variants.csv
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import time
from pathlib import Path

import numpy as np

from ehrnet_tf.benchmark.machine import describe as describe_machine
from ehrnet_tf.benchmark.machine import versions
from ehrnet_tf.config import load_config
from ehrnet_tf.files import atomic_path
from ehrnet_tf.runtime.runners import TFLiteRunner

CONFIGS = [f"{family}{phi}" for family in ("h", "e") for phi in ("0", "-1", "-2", "-3", "-4")]
CONFIGS += ["h-2-relu6", "h-2-no-se", "h-2-w8", "h-2-resize"]
PRECISIONS = ("float32", "int8")
WARM_UP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=Path, required=True, help="folder for the exported files")
    parser.add_argument("--csv", type=Path, required=True, help="table to write")
    parser.add_argument("--configs", nargs="+", default=CONFIGS, help="names in configs/ (default: all of them)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()

    rows = [describe(config, arguments.files) for config in arguments.configs]
    runners = {
        (config, precision): TFLiteRunner(tflite_file(arguments.files, config, precision), arguments.threads)
        for config in arguments.configs
        for precision in PRECISIONS
    }
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runners}
    for turn in range(WARM_UP + arguments.rounds):
        for key, runner in runners.items():
            picture = np.zeros((1, *runner.input_size, 3), np.uint8)
            begin = time.perf_counter()
            runner(picture)
            if turn >= WARM_UP:
                times[key].append((time.perf_counter() - begin) * 1e3)
    for row in rows:
        for precision in PRECISIONS:
            measured = times[row["config"], precision]
            row[f"{precision}_ms_min"] = round(min(measured), 1)
            row[f"{precision}_ms_median"] = round(statistics.median(measured), 1)
        row |= machine(arguments.threads)
    with atomic_path(arguments.csv) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    print_table(rows)


def tflite_file(folder: Path, config: str, precision: str) -> Path:
    return folder / f"{config}_{precision}.tflite"


def describe(config: str, folder: Path) -> dict:
    """Counts of the model that a named configuration builds; exports it where its files are missing."""
    import keras

    from ehrnet_tf.converters.tflite import export_tflite
    from ehrnet_tf.models.statistics import count_macs
    from ehrnet_tf.runtime.operators import tflite_ops
    from ehrnet_tf.training.train import build_model

    keras.utils.set_random_seed(0)
    model = build_model(load_config(config))
    size = model.input_shape[1:3]
    pictures = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    row = {
        "config": config,
        "input": size[0],
        "parameters": sum(math.prod(v.shape) for v in model.trainable_variables),
        "macs": sum(count_macs(model).values()),
    }
    for precision in PRECISIONS:
        path = tflite_file(folder, config, precision)
        if not path.is_file():
            print(f"exporting {path.name}", flush=True)
            export_tflite(model, path, precision, pictures)
        row[f"{precision}_mb"] = round(path.stat().st_size / 2**20, 2)
        row[f"{precision}_ops"] = sum(tflite_ops(path).values())
    keras.utils.clear_session(free_memory=True)
    return row


def machine(threads: int) -> dict:
    """What the times were measured on."""
    known = describe_machine()
    runtime = f"ai-edge-litert {versions('ai-edge-litert')['ai-edge-litert']}"
    return {"threads": threads, "cpu": known["cpu"], "cores": known["cores"], "runtime": runtime}


def print_table(rows: list[dict]) -> None:
    """The table of docs/variants.md, in Markdown."""
    print("| config | input | parameters | GMACs | float32 ms | int8 ms | operators float32, int8 | MB float32, int8 |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| `{row['config']}` | {row['input']} | {row['parameters'] / 1e6:.2f} M | {row['macs'] / 1e9:.2f} "
            f"| {row['float32_ms_min']:.0f} ({row['float32_ms_median']:.0f}) | {row['int8_ms_min']:.0f} "
            f"({row['int8_ms_median']:.0f}) | {row['float32_ops']}, {row['int8_ops']} "
            f"| {row['float32_mb']:.1f}, {row['int8_mb']:.1f} |"
        )


if __name__ == "__main__":
    main()
