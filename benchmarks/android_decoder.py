"""What the Android app's decoders (posekit, Kotlin) cost on this machine's JVM, beside Python's on the same maps.

Made-up scenes of five people as `benchmarks/decoding.py` draws them, at the map sizes of three models. "exact" projects
the maps to the input's resolution first. Needs a JDK and Maven. A desktop's JVM is not a phone: the figures compare
versions of the decoders. One thread each; time only on a machine that does nothing else.

    python benchmarks/android_decoder.py
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from decoding import KEYPOINTS, scene

from ehrnet_tf.benchmark import machine
from ehrnet_tf.decoding import decode, decode_live, project

POM = Path(__file__).parents[1] / "android_demo" / "pom.xml"
INPUTS = {"H-6 at 128": 128, "H-4": 384, "H-2": 448}  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=500, help="of the live decoder; a fifth of it of the exact one")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)

    maps = {name: scene_of(size, arguments.people) for name, size in INPUTS.items()}
    figures = kotlin(maps, arguments.rounds)
    for name, stages in maps.items():
        heatmaps, tags, size = stages["heatmaps_2"], stages["tags"], stages["size"].tolist()
        figures["Python", name, "live"] = python(lambda h=heatmaps, t=tags: decode_live(h, t), arguments.rounds)
        three = stages["heatmaps_4"], heatmaps, tags
        figures["Python", name, "exact"] = python(
            lambda m=three, s=size: decode(*project(*m, s)), arguments.rounds // 5
        )

    described = machine.describe()
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr.splitlines()[0]
    print(
        f"{described['cpu']}, {described['cores']} cores, {described['system']}; {java}; Python {described['python']}"
    )
    print(f"{'model':10} {'decoder':8} {'in':7} {'people':>6} {'median ms':>10} {'least ms':>9} {'KiB a call':>11}")
    for name in maps:
        for decoder in ("live", "exact"):
            for language in ("Kotlin", "Python"):
                people, median, least, allocated = figures[language, name, decoder]
                memory = f"{allocated:11.1f}" if allocated is not None else ""
                print(f"{name:10} {decoder:8} {language:7} {people:6} {median:10.3f} {least:9.3f} {memory}".rstrip())


def scene_of(size: int, people: int) -> dict[str, np.ndarray]:
    """The maps of a network with an input of ``size`` x ``size`` pixels."""
    heatmaps, tags = scene(people, size // 2, seed=people)
    small = cv2.resize(heatmaps, (size // 4, size // 4), interpolation=cv2.INTER_AREA)
    tags = np.ascontiguousarray(tags[::2, ::2])
    return {"heatmaps_4": small, "heatmaps_2": heatmaps, "tags": tags, "size": np.array([size, size])}


Figures = tuple[int, float, float, float | None]  # people, median ms, least ms, KiB allocated


def kotlin(maps: dict[str, dict[str, np.ndarray]], rounds: int) -> dict[tuple[str, str, str], Figures]:
    """(language, model, decoder) → figures of posekit's DecoderBenchmark, which Maven builds."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = {f"{name}/{part}": values for name, stages in maps.items() for part, values in stages.items()}
        file, class_path = Path(folder, "maps.npz"), Path(folder, "class_path")
        np.savez(file, models=np.array(list(maps)), grouping=np.array(KEYPOINTS.grouping, np.int64), **arrays)
        goals = ("test-compile", "dependency:build-classpath", "-Dmdep.includeScope=test")
        mvn = ("mvn", "-q", "-B", "-f", POM, "-pl", "posekit", *goals, f"-Dmdep.outputFile={class_path}")
        subprocess.run(mvn, check=True)
        target = POM.parent / "posekit" / "target"
        libraries = class_path.read_text(encoding="utf-8").strip()
        path = os.pathsep.join((str(target / "classes"), str(target / "test-classes"), libraries))
        java = ("java", "-XX:+UseSerialGC", "-cp", path, "ehrnet.posekit.DecoderBenchmarkKt", file, str(rounds))
        lines = subprocess.run(java, capture_output=True, text=True, check=True).stdout.splitlines()
    found = {}
    for name, decoder, people, *numbers in (line.split("\t") for line in lines):
        found["Kotlin", name, decoder] = (int(people), *map(float, numbers))
    return found


def python(call: Callable[[], tuple[np.ndarray, np.ndarray]], rounds: int) -> Figures:
    times = []
    for _ in range(rounds + 5):
        begin = time.perf_counter()
        people, _ = call()
        times.append((time.perf_counter() - begin) * 1e3)
    return len(people), statistics.median(times[5:]), min(times[5:]), None


if __name__ == "__main__":
    main()
