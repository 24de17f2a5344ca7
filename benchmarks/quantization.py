"""What each precision costs and gives: AP, size and the network's time of a trained run's files, on the same pictures.

Exports every precision, quantises the run by `ehrnet quantize` (calibrated only, with the worst layers left in float,
and fine-tuned), scores every file on the validation split through the same runtime and decoder, and times all networks
in turns. Files are kept in --out and made only where they are missing. Time only on a machine that does nothing else.

    python benchmarks/quantization.py runs/swish runs/relu6 --data DATA --out runs/quantization \
        --csv benchmarks/quantization.csv
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import time
from pathlib import Path

import numpy as np

from ehrnet_tf.files import atomic_path, write_json
from ehrnet_tf.runtime.runners import Runner, open_runner

FLOAT_LAYERS = 4
EXPORTS = {
    "float32": "TFLite float32",
    "float16": "TFLite float16",
    "dynamic": "TFLite dynamic range",
    "int16x8": "TFLite int16 activations, int8 weights",
    "int8": "TFLite int8 PTQ, the converter's ranges",
}
QUANTIZED = {
    "calibrated": ("TFLite int8 PTQ, our ranges", ["quantize.epochs=0", "quantize.report_layers=true"]),
    "kept": (f"the same, {FLOAT_LAYERS} layers in float", ["quantize.epochs=0", f"quantize.keep_float={FLOAT_LAYERS}"]),
    "qat": ("TFLite int8 QAT", []),
}
WARM_UP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of training runs")
    parser.add_argument("--data", type=Path, required=True, help="what they were trained on")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--csv", type=Path, help="table to write")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--set", nargs="*", default=[], metavar="a.b=c", help="for `quantize`, e.g. quantize.epochs=5")
    arguments = parser.parse_args()

    rows = []
    for run in arguments.runs:
        rows += table(run, arguments)
    if arguments.csv:
        with atomic_path(arguments.csv) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def table(run: Path, arguments: argparse.Namespace) -> list[dict]:
    """Makes, scores, times and prints the files of one run."""
    folder = arguments.out / run.name
    files = {"Keras float32": run / "best.keras"}
    reports: dict[str, dict] = {}
    for precision, title in EXPORTS.items():
        path = folder / f"{precision}.tflite"
        if not path.is_file():
            write_json(path.with_suffix(".json"), export(run / "best.keras", path, precision, arguments.data))
        files[title], reports[title] = path, json.loads(path.with_suffix(".json").read_text())
    for name, (title, overrides) in QUANTIZED.items():
        made = folder / name
        if not (made / "int8.tflite").is_file():
            from ehrnet_tf.quantization.finetune import quantize_run

            result = quantize_run(run, arguments.data, made, [*overrides, *(arguments.set if name == "qat" else [])])
            write_json(made / "report.json", result["report"])
        files[title], reports[title] = made / "int8.tflite", json.loads((made / "report.json").read_text())
    files["Keras float32, the fine-tuned weights"] = folder / "qat" / "float.keras"

    runners = {title: open_runner(path, threads=arguments.threads) for title, path in files.items()}
    figures = {title: score(runner, files[title], arguments.data, folder) for title, runner in runners.items()}
    times = in_turns(runners, arguments.rounds)
    print(f"\n{run}\n")
    print("| | AP | ΔAP | size MB | ms | faster | tag error | float operators |\n|---|---|---|---|---|---|---|---|")
    rows = []
    for title, path in files.items():
        report = reports.get(title)
        row = {
            "run": run.name,
            "file": title,
            "AP": round(figures[title]["AP"], 4),
            "change": round(figures[title]["AP"] - figures["Keras float32"]["AP"], 4),
            "AP50": round(figures[title]["AP50"], 4),
            "megabytes": round(path.stat().st_size / 2**20, 2),
            "ms_min": round(min(times[title]), 2),
            "ms_median": round(statistics.median(times[title]), 2),
            "faster": round(min(times["TFLite float32"]) / min(times[title]), 2),
            "tag_error": report and round(report["differences"]["tags"]["mean_where_heat"] or 0, 4),
            "float_operators": report and sum(report["float_ops"].values()),
        }
        rows.append(row)
        tags, floats = ("" if row[key] is None else row[key] for key in ("tag_error", "float_operators"))
        print(
            f"| {title} | {row['AP']:.3f} | {row['change']:+.3f} | {row['megabytes']:.1f} | {row['ms_min']:.1f} "
            f"({row['ms_median']:.1f}) | {row['faster']:.1f} | {tags} | {floats} |",
            flush=True,
        )
    return rows


def export(model: Path, path: Path, precision: str, data: Path) -> dict:
    from ehrnet_tf.converters.pictures import calibration_pictures
    from ehrnet_tf.converters.tflite import export_tflite

    source = open_runner(model)
    pictures = calibration_pictures(data, source.input_size)
    return export_tflite(source.model, path, precision, pictures, metadata=dict(source.metadata))


def score(runner: Runner, path: Path, data: Path, folder: Path) -> dict:
    """AP of a file on val2017; kept beside the others."""
    from ehrnet_tf.evaluation import evaluate

    kept = folder / "scores" / f"{path.parent.name}-{path.stem}.json"
    if not kept.is_file() or kept.stat().st_mtime < path.stat().st_mtime:
        write_json(kept, evaluate(runner, data, progress=False))
    return json.loads(kept.read_text())


def in_turns(runners: dict[str, Runner], rounds: int) -> dict[str, list[float]]:
    """Milliseconds a picture of every network, measured in turns, so that the machine's moods meet all alike."""
    times: dict[str, list[float]] = {title: [] for title in runners}
    for turn in range(WARM_UP + rounds):
        for title, runner in runners.items():
            picture = np.zeros((1, *runner.input_size, 3), np.uint8)
            begin = time.perf_counter()
            runner(picture)
            if turn >= WARM_UP:
                times[title].append((time.perf_counter() - begin) * 1e3)
    return times


if __name__ == "__main__":
    main()
