"""What one model file costs, stage by stage. Runs in a process of its own (`benchmark.worker`)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from ehrnet_tf.benchmark import machine
from ehrnet_tf.decoding.maps import View
from ehrnet_tf.errors import UsageError
from ehrnet_tf.evaluation.bounds import true_heatmaps, true_tags
from ehrnet_tf.images import decode_image, find_pictures, read_image
from ehrnet_tf.runtime.estimator import PoseEstimator
from ehrnet_tf.runtime.letterbox import letterbox
from ehrnet_tf.runtime.metadata import STRIDES
from ehrnet_tf.runtime.protocol import Protocol
from ehrnet_tf.runtime.runner import LIVE
from ehrnet_tf.runtime.runners import size_of

STAGES = ("read", "prepare", "network", "decode")
SIZE = (480, 640)  # of the made-up picture, (height, width)


@dataclasses.dataclass(frozen=True)
class Options:
    """How files are timed.

    Attributes:
      threads, device, keypoints, input_size: see `PoseEstimator`.
      picture: a picture or a folder of them, which take turns; None: a made-up one of 640x480.
      people: decode the maps of so many made-up people instead of the network's own; None: the network's.
      exact: the exact decoder instead of the live one.
      forward_only: time the network alone.
    """

    threads: int | None = None
    device: str | None = None
    keypoints: str | None = None
    input_size: int | None = None
    picture: str | None = None
    people: int | None = None
    exact: bool = False
    forward_only: bool = False


class Subject:
    """An opened model file that is timed.

    Args:
      path: the file.
      options: how.

    Attributes:
      facts: what is known of it: "model", "variant", "runtime", "device", "precision", "graph", "input", "threads",
        "megabytes", "load_s" (importing the runtime and opening the file), "first_s" (the first picture: tracing, first
        allocations).
    """

    def __init__(self, path: str, options: Options):
        self._options = options
        self._pictures = load_pictures(options.picture)
        began = time.perf_counter()
        self._estimator = PoseEstimator(
            path,
            options.threads,
            keypoints=options.keypoints,
            input_size=options.input_size,
            protocol=Protocol("exact" if options.exact else "live"),
            device=options.device,
        )
        opened = time.perf_counter()
        self._maps = self._made_up_maps()
        self._turn, self.found = 0, 0
        self.round()
        runner, size = self._estimator.runner, self._estimator.input_size
        self.facts = {
            "model": path,
            "variant": runner.metadata.get("variant"),
            "runtime": runner.kind,
            "device": runner.device or "default",
            "precision": runner.precision,
            "graph": runner.graph,
            "input": f"{size[1]}x{size[0]}",
            "threads": runner.threads,
            "megabytes": round(size_of(path) / 2**20, 2),
            "load_s": round(opened - began, 3),
            "first_s": round(time.perf_counter() - opened, 3),
        }

    def round(self) -> list[float]:
        """Seconds of each of `STAGES` for one picture; 0 for those that are not timed."""
        estimator, clock = self._estimator, time.perf_counter
        data = self._pictures[self._turn % len(self._pictures)]
        self._turn += 1
        moments = [clock()]
        image = decode_image(data)
        moments.append(clock())
        prepared = estimator.prepare(image)
        moments.append(clock())
        (output,) = estimator.run([prepared])
        moments.append(clock())
        if self._options.forward_only:
            return [0.0, 0.0, moments[3] - moments[2], 0.0]
        people = estimator.decode(output if self._maps is None else self._maps, prepared)
        moments.append(clock())
        self.found = len(people.above(estimator.min_score))
        return [after - before for before, after in zip(moments, moments[1:])]

    def after(self) -> dict[str, Any]:
        """What is known after all rounds: "people" in the last picture, memory in MiB."""
        memory = machine.memory()
        return {"people": self.found, "memory_mib": memory.get("resident"), "peak_memory_mib": memory.get("peak")}

    def _made_up_maps(self) -> list[View] | None:
        if self._options.people is None or self._options.forward_only:
            return None
        if self._options.exact or self._estimator.runner.graph == "poses":
            raise UsageError(f"{self._estimator.runner.name}: people can be made up for the live decoder of maps only")
        estimator = self._estimator
        return [View(made_up_maps(self._options.people, len(estimator.keypoints), estimator.input_size), None)]


def load_pictures(path: str | None) -> list[bytes]:
    """Picture files' contents: of a file, of those in a folder, or a made-up JPEG.

    Raises:
      UsageError: no such file, or a folder without pictures.
      DataError: one cannot be decoded.
    """
    if path is not None:
        found = find_pictures([path])
        for picture in found:
            read_image(picture)  # which says what is wrong with it
        return [picture.read_bytes() for picture in found]
    from ehrnet_tf.data.synthetic.scene import make_picture

    image, _ = letterbox(make_picture(0, 1, 0, max(SIZE), 3)[0], SIZE)
    return [cv2.imencode(".jpg", image[:, :, ::-1])[1].tobytes()]


def made_up_maps(people: int, keypoints: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Maps as a good network gives them: people side by side, keypoints scattered over each.

    Args:
      people: how many.
      keypoints: K.
      size: (height, width) of the network's input, pixels.

    Returns:
      "heatmaps_2" (H/2, W/2, K) and "tags" (H/4, W/4, K), float32.

    Raises:
      UsageError: fewer than no people.
    """
    if people < 0:
        raise UsageError(f"people {people}: must be at least 0")
    places = np.random.default_rng(0).uniform(0.15, 0.85, (people, keypoints, 2))
    places[..., 0] = (places[..., 0] + np.arange(people)[:, None]) / max(people, 1)
    made: dict[str, Callable] = {"heatmaps_2": true_heatmaps, "tags": true_tags}
    maps = {}
    for name in LIVE:
        height, width = (side // STRIDES[name] for side in size)
        cells = np.concatenate((places * (width, height), np.ones((people, keypoints, 1))), axis=2)
        maps[name] = made[name](cells, height, width)
    return maps


def spread(values: Sequence[float]) -> dict[str, float]:
    """ "min", "median" and "p95", in milliseconds, of seconds."""
    low, middle, high = np.percentile(np.asarray(values) * 1e3, (0, 50, 95))
    return {"min": round(float(low), 3), "median": round(float(middle), 3), "p95": round(float(high), 3)}
