"""What `ehrnet predict` costs on a long video: frames a second and memory, while it runs.

    python benchmarks/video.py MODEL [--hours 3] [--fps 5] [--size 640x360] [--csv FILE]

The video is made on the spot (noise that moves), with sound where PyAV is there; people are drawn, ids given, keypoints
smoothed, a JSON line a frame written. Memory is the process's resident set, read ten times a minute.
"""

import argparse
import csv
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from ehrnet_tf.benchmark.machine import describe
from ehrnet_tf.predict import Outputs, Summary, predict
from ehrnet_tf.runtime import PoseEstimator
from ehrnet_tf.video.writer import VideoWriter


def resident():
    """MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise SystemExit("no /proc/self/status: this script needs Linux")


def make_video(path, frames, fps, width, height):
    texture = np.random.default_rng(0).integers(0, 255, (9, 16, 3), np.uint8)
    picture = cv2.resize(texture, (width + 64, height), interpolation=cv2.INTER_CUBIC)
    with VideoWriter(path, fps) as writer:
        for i in range(frames):
            writer.write(np.ascontiguousarray(picture[:, i % 64 : i % 64 + width]), i / fps)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--fps", type=int, default=5)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--csv")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    frames = round(args.hours * 3600 * args.fps)
    estimator = PoseEstimator(args.model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp4"
        make_video(path, frames, args.fps, width, height)
        size = path.stat().st_size / 2**20
        print(f"{args.hours:g} hours, {frames} frames of {args.size}, {size:.0f} MB; {describe()['cpu']}")
        rows, done = [], threading.Event()
        summary = Summary()
        began = time.perf_counter()

        def watch():
            while not done.wait(6):
                rows.append((time.perf_counter() - began, summary.pictures, resident()))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            predict(estimator, [str(path)], Outputs(f"{folder}/out", f"{folder}/poses.jsonl"), summary)
        finally:
            done.set()
            watcher.join()
        seconds = time.perf_counter() - began
    memory = [row[2] for row in rows]
    third = max(1, len(memory) // 3)
    print(f"{summary.pictures / seconds:.0f} frames/s")
    first, last = np.mean(memory[:third]), np.mean(memory[-third:])
    print(f"resident MiB: first third {first:.0f}, last third {last:.0f}, most {max(memory):.0f}")
    if args.csv:
        with open(args.csv, "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["seconds", "frames", "resident MiB"])
            writer.writerows([f"{s:.1f}", n, f"{m:.1f}"] for s, n, m in rows)


if __name__ == "__main__":
    main()
