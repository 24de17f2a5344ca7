"""Speed, size, memory and AP of models in every format and runtime that this machine has: a table, a CSV, a plot.

Converts every model to every format and precision (kept in --out, made only where missing), scores the files on the
validation split if --score is given, and times them in turns by `ehrnet_tf.benchmark`: from pixels to poses, one
picture at a time. Time only on a machine that does nothing else.

    python benchmarks/runtimes.py runs/a/best.keras runs/b/best.keras --data DATA --score --out runs/runtimes \
        --csv benchmarks/runtimes.csv --plot docs/images/runtimes.png
    python benchmarks/runtimes.py runs/h-4.keras runs/h-2.keras --data DATA --people 3 --out runs/runtimes \
        --csv benchmarks/runtimes_full_size.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ehrnet_tf.benchmark.run import benchmark, rows, text, write_csv
from ehrnet_tf.benchmark.stages import Options
from ehrnet_tf.converters.export import FORMATS, export
from ehrnet_tf.errors import EhrnetError
from ehrnet_tf.files import write_json

FILES = [  # format, precision
    ("saved_model", "float32"),
    ("tflite", "float32"),
    ("tflite", "int8"),
    ("onnx", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("openvino", "int8"),
    ("tensorrt", "float16"),
    ("tensorrt", "int8"),
]
DEVICES = ("tensorrt",)  # formats that only some machines can make


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, help=".keras files")
    parser.add_argument("--data", required=True, help="folder in COCO's layout: calibration, comparison, AP")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--score", action="store_true", help="AP of every file on val2017, with the live decoder")
    parser.add_argument("--csv", type=Path, help="table to write")
    parser.add_argument("--plot", type=Path, help="picture to draw: speed against AP (with --score)")
    parser.add_argument("--picture", help="picture or folder to time on (default: a made-up one of 640x480)")
    parser.add_argument("--people", type=int, help="time the decoder on so many made-up people's maps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()

    table = []
    for model in arguments.models:
        files = [model, *convert(model, arguments.out, arguments.data)]
        figures = {str(path): score(path, arguments.data) if arguments.score else {} for path in files}
        options = Options(threads=arguments.threads, picture=arguments.picture, people=arguments.people)
        result = benchmark(files, options, arguments.rounds, progress=True)
        print(text(result), flush=True)
        table += [{**row, **figures[row["model"]]} for row in rows(result)]
        if arguments.csv:
            write_csv(arguments.csv, table)
    print_table(table)
    if arguments.plot and arguments.score:
        draw(table, arguments.plot)


def convert(model: Path, folder: Path, data: str) -> list[Path]:
    """The files made of a model; formats of devices that this machine is not are left out."""
    made = []
    for format, precision in FILES:
        suffix = FORMATS[format].suffixes[0] if FORMATS[format].suffixes else ""
        path = folder / f"{name(model)}_{format}_{precision}{suffix}"
        if not path.exists():
            print(f"converting {path.name}", flush=True)
            calibration = data if precision == "int8" else None
            try:
                report = export(model, path, format, precision, calibration=calibration, pictures=data)
            except EhrnetError as error:
                if format not in DEVICES:
                    raise
                print(f"left out: {error}", flush=True)
                continue
            write_json(path.with_name(path.name + ".json"), report)
        made.append(path)
    return made


def name(model: Path) -> str:
    """What files made of a model are called: its run's name, if it is one's best model."""
    return model.parent.name if model.stem in ("best", "last") else model.stem


def score(path: Path, data: str) -> dict[str, Any]:
    """AP of a file on val2017 with the decoder that is timed."""
    from ehrnet_tf.evaluation import evaluate
    from ehrnet_tf.runtime import Protocol

    figures = evaluate(path, data, progress=False, protocol=Protocol("live"))
    print(f"{path.name}: AP {figures['AP']:.3f}", flush=True)
    return {"AP": round(figures["AP"], 4), "AP50": round(figures["AP50"], 4), "scored_pictures": figures["images"]}


def print_table(table: list[dict[str, Any]]) -> None:
    """The table of docs/formats.md, in Markdown."""
    print("| model | runtime | AP | total ms (min) | network | around | load s | MiB | MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in table:
        ap = f"{row['AP']:.3f}" if "AP" in row else ""
        print(
            f"| {row['variant']}, {row['input']} | {row['runtime']} {row['precision']} | {ap} "
            f"| {row['total_ms_median']:.1f} ({row['total_ms_min']:.1f}) | {row['network_ms_median']:.1f} "
            f"| {row['around']:.0%} | {row['load_s']:.2f} | {row['peak_memory_mib']:.0f} | {row['megabytes']:.1f} |"
        )


def draw(table: list[dict[str, Any]], path: Path) -> None:
    """Pictures a second against AP; a colour a runtime, a marker an input size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

    kinds = list(dict.fromkeys(f"{row['runtime']} {row['precision']}" for row in table))
    inputs = list(dict.fromkeys(f"{row['variant']}, {row['input']}" for row in table))
    colours = dict(zip(kinds, pyplot.get_cmap("tab10").colors, strict=False))
    markers = dict(zip(inputs, "osD^vP*X", strict=False))
    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    for row in table:
        kind, model = f"{row['runtime']} {row['precision']}", f"{row['variant']}, {row['input']}"
        axes.scatter(row["pictures_per_second"], row["AP"], color=colours[kind], marker=markers[model], s=70)
    for kind in kinds:
        axes.scatter([], [], color=colours[kind], label=kind)
    for model in inputs:
        axes.scatter([], [], color="0.4", marker=markers[model], label=model)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.grid(alpha=0.3)
    axes.set_xlabel("pictures a second, from pixels to poses, one at a time")
    axes.set_ylabel(f"AP on {table[0]['scored_pictures']} validation pictures, live decoder")
    axes.set_title(f"{table[0]['cpu']}, {table[0]['threads'] or 2} threads", fontsize="medium")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
