"""Timing model files against each other: every file in a process of its own, in turns, with the machine described."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from ehrnet_tf.benchmark import machine
from ehrnet_tf.benchmark.sensors import Monitor, Sensors, total
from ehrnet_tf.benchmark.stages import STAGES, Options, spread
from ehrnet_tf.errors import EhrnetError, UsageError
from ehrnet_tf.files import atomic_path

TURN = 4  # timed rounds that a file has before it is the next one's turn, after one that finds cold caches
# Packages are not looked for in the current folder (an empty first entry) first, which -m would do.
COMMAND = [
    sys.executable,
    "-c",
    "import sys; sys.path[:1] = filter(None, sys.path[:1]); from ehrnet_tf.benchmark.worker import main; main()",
]
_SELDOM = 1.0  # seconds between looks at temperatures and clocks
PACKAGES = {  # of the runtimes; of TFLite's, the first that is installed
    "Keras": ("tensorflow", "keras"),
    "SavedModel": ("tensorflow",),
    "TFLite": ("ai-edge-litert", "tflite-runtime", "tensorflow"),
    "ONNX Runtime": ("onnxruntime",),
    "OpenVINO": ("openvino",),
    "TensorRT": ("tensorrt",),
}


def benchmark(
    models: Sequence[str | os.PathLike],
    options: Options | None = None,
    rounds: int = 50,
    warm_up: int = 10,
    progress: bool = False,
) -> dict[str, Any]:
    """Times model files on the same picture.

    Every file is opened in a process of its own, whose memory is then that of this file and its runtime. They run in
    turns, so that the machine's moods meet all alike. Where the machine has power sensors, each runs all its rounds at
    a stretch instead, lest the sensors' slowness mixes them up.

    Args:
      models: paths.
      options: how; default: `Options()`.
      rounds: timed rounds of each file.
      warm_up: rounds before them.
      progress: show a bar.

    Returns:
      "machine": see `machine.describe`; "conditions": peak "temperatures", "clocks" and what "throttled" the machine
      meanwhile, see `Monitor.summary`; "options", "rounds", "warm_up"; "files": for each file `Subject.facts`,
      "times": {"read", "prepare", "network", "decode", "total", each {"min", "median", "p95"} in ms}, where "total" is
      from the array of pixels to poses, without "read"; "pictures_per_second" (1 / median total), "around" (the share
      of the total that is not the network's), "versions" of the runtime, "people", memory (see `Subject.after`), and
      where there are sensors "sensors" (see `Monitor.summary`) and "joules_per_picture".

    Raises:
      UsageError: nothing to time, ``rounds`` below 1, ``warm_up`` below 0; what opening a file raises.
      EhrnetError: a process fails.
    """
    options = options or Options()
    if not models:
        raise UsageError("nothing to time: give model files")
    if rounds < 1 or warm_up < 0:
        raise UsageError(f"{rounds} rounds after {warm_up}: give at least 1, and a warm-up of at least 0")
    sensors = Sensors()
    measured = total(sensors.read().power) is not None
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Worker(os.fspath(model), options)) for model in models]
        for worker in workers:
            worker.run(warm_up)
        bar = stack.enter_context(tqdm(total=len(models) * rounds, disable=not progress, unit="round"))
        overall = stack.enter_context(Monitor(sensors, interval=_SELDOM))
        for turn in _turns(rounds, rounds if measured else TURN):
            for worker in workers:
                worker.run(1)
                if measured:
                    with Monitor(sensors) as monitor:
                        worker.times += worker.run(turn)
                    worker.power = {"sensors": monitor.summary(), "joules_per_picture": monitor.energy_per(turn)}
                else:
                    worker.times += worker.run(turn)
                bar.update(turn)
        files = [worker.report(options.forward_only) for worker in workers]
    conditions = overall.summary()
    return {
        "machine": machine.describe(),
        "conditions": {key: conditions[key] for key in ("temperatures", "clocks", "throttled")},
        "options": dataclasses.asdict(options),
        "rounds": rounds,
        "warm_up": warm_up,
        "files": files,
    }


def _turns(rounds: int, most: int) -> Iterator[int]:
    for begun in range(0, rounds, most):
        yield min(most, rounds - begun)


class Worker:
    """A process that times one file; a context manager.

    Attributes:
      facts: see `Subject`.
      times: seconds of each stage, a row a round.
      power: what sensors showed.

    Raises:
      EhrnetError: what opening the file raises, with its exit status; the process ends without an answer.
    """

    def __init__(self, model: str, options: Options):
        self._model = model
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by __exit__)
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            universal_newlines=True,
        )
        self.times: list[list[float]] = []
        self.power: dict[str, Any] = {}
        try:
            self.facts = self._ask({"model": model, "options": dataclasses.asdict(options)})
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # of a process that has ended
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            self._process.stdout.close()
            self._errors.close()

    def run(self, rounds: int) -> list[list[float]]:
        """Seconds of each stage, a row a round."""
        return self._ask({"rounds": rounds})["times"] if rounds else []

    def report(self, forward_only: bool) -> dict[str, Any]:
        """The file's part of what `benchmark` returns."""
        columns = dict(zip(STAGES, zip(*self.times)))
        total = [sum(row[1:]) for row in self.times]
        times = {stage: spread(columns[stage]) for stage in (("network",) if forward_only else STAGES)}
        times["total"] = spread(total)
        return {
            **self.facts,
            **self._ask({"done": True}),
            "times": times,
            "pictures_per_second": round(1e3 / times["total"]["median"], 2),
            "around": round(1 - sum(columns["network"]) / sum(total), 4),
            "versions": _versions(self.facts["runtime"]),
            **self.power,
        }

    def _ask(self, what: Mapping[str, Any]) -> dict[str, Any]:
        try:
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise EhrnetError(f"{self._model}: the process that times it ended ({self._last_words()})")
        answer = json.loads(line)
        if "error" in answer:
            error = EhrnetError(answer["error"])
            error.exit_status = answer["status"]
            raise error
        return answer

    def _last_words(self) -> str:
        """How the process ended, and the last that it said but for what libraries tell of themselves."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        code = self._process.returncode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return f"killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
        self._errors.seek(0)
        said = [line for line in self._errors.read().splitlines() if line.strip() and not line.startswith("INFO:")]
        return f"exit status {code}" + (f": {said[-1]}" if said else "")


def _versions(runtime: str) -> dict[str, str]:
    found = machine.versions(*PACKAGES[runtime])
    return dict(list(found.items())[:1]) if runtime == "TFLite" else found


def rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A flat row a file, with the machine's description in each."""
    flat = []
    for file in result["files"]:
        times = {f"{stage}_ms_{kind}": ms for stage, spread in file["times"].items() for kind, ms in spread.items()}
        versions = " ".join(f"{name} {version}" for name, version in file["versions"].items())
        plain = {key: value for key, value in file.items() if key not in ("times", "versions", "sensors")}
        power = ((file.get("sensors") or {}).get("total") or {}).get("mean")
        flat.append({**plain, **times, "watts": power, "versions": versions, **result["machine"]})
    return flat


def write_csv(path: str | os.PathLike, table: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as CSV, all of it or nothing; the columns of all rows, in the order in which they come up."""
    columns = list(dict.fromkeys(key for row in table for key in row))
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def text(result: Mapping[str, Any]) -> str:
    """The figures as a table for people."""
    stages = [stage for stage in (*STAGES, "total") if stage in result["files"][0]["times"]]
    head = ["file", "runtime", *stages, "min", "p95", "pictures/s", "around", "people", "load s", "MiB", "MB"]
    table = [head]
    for file in result["files"]:
        total = file["times"]["total"]
        table.append(
            [
                os.path.basename(file["model"]),
                f"{file['runtime']} {file['precision']}",
                *(f"{file['times'][stage]['median']:.2f}" for stage in stages),
                f"{total['min']:.2f}",
                f"{total['p95']:.2f}",
                f"{file['pictures_per_second']:.1f}",
                f"{file['around']:.0%}",
                str(file["people"]),
                f"{file['load_s']:.2f}",
                "-" if file["peak_memory_mib"] is None else f"{file['peak_memory_mib']:.0f}",
                f"{file['megabytes']:.1f}",
            ]
        )
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths)))
        for row in table
    ]
    lines.append(
        f"Milliseconds, medians of {result['rounds']} rounds; total, min and p95: from the array of pixels to poses, "
        "without reading; MiB: the process at its largest."
    )
    for file in result["files"]:
        if file.get("joules_per_picture") is not None:
            lines.append(
                f"{os.path.basename(file['model'])}: {file['sensors']['total']['mean']:.2f} W, "
                f"{file['joules_per_picture'] * 1e3:.0f} mJ a picture"
            )
    hottest = max(result["conditions"]["temperatures"].values(), default=None)
    if hottest is not None:
        throttled = result["conditions"]["throttled"]
        held = "unknown" if throttled is None else ", ".join(throttled) or "no"
        lines.append(f"hottest zone {hottest:.0f} °C; throttled: {held}")
    lines.append("; ".join(f"{key} {value}" for key, value in result["machine"].items()))
    return "\n".join(lines)
