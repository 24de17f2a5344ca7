"""What it costs a device to begin: seconds and memory of a new Python until a .tflite file is ready to run.

Each line is a new process; the figures are the least and the median of --rounds. Run it in an environment that has the
slim package alone (`pip install ehrnet-tf`) to see what a device sees.

    python benchmarks/imports.py int8.tflite
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

STEPS = {
    "Python alone": "",
    "import ehrnet_tf": "import ehrnet_tf",
    "... and PoseEstimator with the TFLite runner": (
        "import ehrnet_tf; ehrnet_tf.PoseEstimator\n"
        "from ehrnet_tf.runtime import tflite_runner; tflite_runner.interpreter_package()"
    ),
    "... and the file, opened": "import ehrnet_tf; ehrnet_tf.PoseEstimator({model!r})",
    "... and a picture": (
        "import ehrnet_tf, numpy; ehrnet_tf.PoseEstimator({model!r})(numpy.zeros((480, 640, 3), numpy.uint8))"
    ),
}
PROBE = """
import json, time
began = time.perf_counter()
{code}
took = time.perf_counter() - began
from ehrnet_tf.benchmark.machine import memory
print(json.dumps([took, memory()["peak"]]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help=".tflite file")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    print(f"{'':46} {'s, least':>9} {'median':>8} {'MiB':>6}")
    for step, code in STEPS.items():
        script = PROBE.format(code=code.format(model=arguments.model))
        found = [measure(script) for _ in range(arguments.rounds)]
        seconds, memory = zip(*found, strict=True)
        print(f"{step:46} {min(seconds):9.3f} {statistics.median(seconds):8.3f} {max(memory):6.0f}", flush=True)


def measure(script: str) -> tuple[float, float]:
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return tuple(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
