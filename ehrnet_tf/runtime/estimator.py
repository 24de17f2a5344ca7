"""Pictures in, people out."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ehrnet_tf.decoding import DecoderSettings, View, decode, decode_live, merge
from ehrnet_tf.errors import DataError, UsageError
from ehrnet_tf.filters import Filters
from ehrnet_tf.images import to_rgb_uint8
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.poses import Poses
from ehrnet_tf.runtime.letterbox import Letterbox, letterbox, reference_size, reference_warp
from ehrnet_tf.runtime.metadata import decoder_settings
from ehrnet_tf.runtime.protocol import Protocol, letterbox_size
from ehrnet_tf.runtime.runner import LIVE, STRIDE, describe_size
from ehrnet_tf.runtime.runners import open_runner

if TYPE_CHECKING:
    from ehrnet_tf.video.stream import Stream

MIN_SCORE = 0.2  # the decoder also reports people of one doubtful joint; nobody wants to see them
_MOST_PIXELS = 64_000_000  # of a network input


class Prepared(NamedTuple):
    """A picture as the network takes it.

    Attributes:
      inputs: (H, W, 3) uint8, one for each of the protocol's scales.
      box: where the picture lies in the input at scale 1.
      size: (height, width) of the input at scale 1, pixels.
    """

    inputs: tuple[np.ndarray, ...]
    box: Letterbox
    size: tuple[int, int]


class PoseEstimator:
    """Finds the people in pictures with any model that a runner runs.

    A call is three steps, which can be used one by one: `prepare`, `run`, `decode`. Several threads may use one
    estimator: the network looks at one picture (or `batch`) at a time, the rest runs side by side.

    Args:
      model_or_path: a Keras model, the path of a model file, or a `Runner`.
      threads: CPU threads where the runtime can be told.
      settings: the decoder's; None: those in the model's metadata. A file with the decoder inside has its own.
      keypoints: the keypoint set, for models that do not say theirs.
      input_size: pixels, one number for a square or (height, width), multiples of 32; only for models of free size;
        None: the nominal size in the model's metadata.
      min_score: people scored lower are left out by a call (a person's score is the mean over all K keypoints, absent
        ones counting 0); 0 keeps them all, as AP is computed.
      protocol: the decoder and the test-time options; default: `Protocol()`, the live decoder.
      filters: what else is left out; default: nothing.
      device: where to run, for runtimes that have a choice: "gpu" and others, see the runners; None: the CPU, or what
        the runtime is made for.

    Attributes:
      runner: the `Runner`.
      keypoints: the `KeypointSet`.
      settings: the `DecoderSettings`.
      protocol: the `Protocol`.
      filters: the `Filters`.
      input_size: (height, width) of the network's nominal input, pixels.

    Raises:
      ModelFileError: the file cannot be run.
      UsageError: the model's keypoints or input size are not known, a size does not fit, or the protocol needs what the
        model cannot give.
    """

    def __init__(
        self,
        model_or_path: Any,
        threads: int | None = None,
        settings: DecoderSettings | None = None,
        keypoints: str | os.PathLike | KeypointSet | None = None,
        input_size: int | tuple[int, int] | None = None,
        min_score: float = MIN_SCORE,
        protocol: Protocol | None = None,
        filters: Filters | None = None,
        device: str | None = None,
    ):
        self._lock, self._running = threading.Lock(), threading.Lock()
        self._workers: ThreadPoolExecutor | None = None
        self.runner = open_runner(model_or_path, threads, keypoints, device)
        self.protocol = protocol or Protocol()
        self.filters = filters or Filters()
        self.keypoints = self.runner.keypoints
        self.input_size = self._choose_size(input_size)
        self.settings = self._choose_settings(settings)
        self.min_score = min_score
        if self.runner.graph == "poses" and self.protocol != Protocol():
            raise UsageError(
                f"{self.runner.name}: finds the people itself, with the live decoder and without flip, scales or "
                "reference sizes; export it with --graph maps for those"
            )
        if self.protocol.sizes == "reference" or self.protocol.scales != (1.0,):
            self.runner = self.runner.any_size()

    def __call__(self, image: np.ndarray) -> Poses:
        """Finds the people in one picture.

        Args:
          image: RGB (h, w, 3) uint8, or whatever else `images.to_rgb_uint8` takes.

        Returns:
          The poses, in picture pixels.
        """
        prepared = self.prepare(image)
        return self.decode(self.run([prepared])[0], prepared).above(self.min_score)

    def batch(self, images: Sequence[np.ndarray]) -> list[Poses]:
        """Finds the people in several pictures, which may have different sizes.

        A network of free batch size (Keras) takes pictures of one input size together; a file takes them one by one.

        Args:
          images: as for a call.

        Returns:
          The poses of each, in the same order.
        """
        prepared = [self.prepare(image) for image in images]
        outputs = self.run(prepared)
        return [self.decode(*pair).above(self.min_score) for pair in zip(outputs, prepared)]

    def submit(self, image: np.ndarray) -> Future:
        """Starts to look for the people in one picture, and gives what will hold the `Poses`.

        Pictures are fitted and decoded in two threads, while the network runs on one at a time. In a coroutine:
        ``poses = await asyncio.wrap_future(estimator.submit(image))``.
        """
        with self._lock:
            if self._workers is None:
                self._workers = ThreadPoolExecutor(2, "poses")
        return self._workers.submit(self, image)

    def stream(self, source: Any, track: bool = True, smooth: bool = True) -> Stream:
        """The pictures of a video, a camera or a stream with the people in them: see `video.Stream`."""
        from ehrnet_tf.video.stream import Stream

        return Stream(self, source, track, smooth)

    def describe(self) -> str:
        """The protocol in one line: sizes, flip, scales, decoder, filters."""
        decoder = ", decoder in the file" if self.runner.graph == "poses" else ""
        filters = self.filters.describe()
        return self.protocol.describe(self.input_size) + decoder + (f", {filters}" if filters else "")

    def prepare(self, image: np.ndarray) -> Prepared:
        """The picture as the network takes it, at every scale.

        Raises:
          DataError: no picture, or one so long and thin that the reference's sizes would be too large.
        """
        image = to_rgb_uint8(image)
        scales = self.protocol.scales
        sizes = {scale: self._size_at(image.shape[:2], scale) for scale in {*scales, 1.0}}
        fitted = {scale: self._fit(image, sizes[scale]) for scale in scales}
        box = fitted[1.0][1] if 1.0 in fitted else self._fit(image, sizes[1.0])[1]
        return Prepared(tuple(fitted[scale][0] for scale in scales), box, sizes[1.0])

    def run(self, pictures: Sequence[Prepared]) -> list[list[View] | dict[str, np.ndarray]]:
        """The network on prepared pictures, those of one size together.

        Returns:
          For each picture what `decode` takes: a `View` for each scale; if the decoder is in the file, its output.
        """
        inputs = [(k, image) for k, picture in enumerate(pictures) for image in picture.inputs]
        if self.protocol.flip:
            inputs += [(k, image[:, ::-1]) for k, image in inputs]
        wanted = LIVE if self.protocol.decoder == "live" and self.runner.graph == "maps" else None
        found: list[dict[str, np.ndarray]] = [{}] * len(inputs)
        for size in dict.fromkeys(image.shape for _, image in inputs):
            same = [i for i, (_, image) in enumerate(inputs) if image.shape == size]
            images = inputs[same[0]][1][None] if len(same) == 1 else np.stack([inputs[i][1] for i in same])
            with self._running:
                outputs = self.runner(images, wanted)
            for row, i in enumerate(same):
                found[i] = {name: values[row] for name, values in outputs.items()}
        if self.runner.graph == "poses":
            return found
        views: list[list[View]] = [[] for _ in pictures]
        half = len(inputs) // 2
        for i, (k, _) in enumerate(inputs[:half] if self.protocol.flip else inputs):
            views[k].append(View(found[i], found[half + i] if self.protocol.flip else None))
        return views

    def decode(self, output: list[View] | Mapping[str, np.ndarray], prepared: Prepared) -> Poses:
        """The people in one picture's maps.

        The letterbox's padding counts as empty: training masks it out of the loss, so that a network may show anything
        there.

        Args:
          output: what `run` returned for the picture.
          prepared: what `prepare` returned for it.

        Returns:
          The poses, in picture pixels. A joint that was not found has score 0; its place is 0, 0, or, by the exact
          decoder, that of the input's corner, as in the reference.
        """
        box, (height, width) = prepared.box, prepared.size
        if isinstance(output, Mapping):
            people, scores = output["keypoints"], output["scores"]
            if not (np.isfinite(people).all() and np.isfinite(scores).all()):
                raise UsageError(f"{self.runner.name}: gives NaN or infinity (has the model diverged?)")
            people, scores = people[scores > 0], scores[scores > 0]
            scale = np.ones(2)
        elif self.protocol.decoder == "live":
            heatmaps, tags = output[0].maps["heatmaps_2"], output[0].maps["tags"]
            scale = np.array([width / heatmaps.shape[1], height / heatmaps.shape[0]])
            region = box.region(heatmaps.shape[:2], scale[0]) if self.protocol.sizes == "letterbox" else None
            people, scores = decode_live(heatmaps, tags, self.settings, self.keypoints.grouping, region)
        else:
            one = self.protocol.scales.index(1.0) if 1.0 in self.protocol.scales else 0
            heatmaps, tags = merge(output, one, prepared.size, self.keypoints.flip_order)
            if self.protocol.sizes == "letterbox":
                box.clear_padding(heatmaps)
            people, scores = decode(heatmaps, tags, self.settings, self.keypoints.grouping)
            scale = np.ones(2)
        keypoints = people[:, :, :3].copy()
        keypoints[:, :, :2] = box.to_image(keypoints[:, :, :2] * scale)
        if self.protocol.decoder == "live":
            keypoints[keypoints[:, :, 2] <= 0] = 0
        return self.filters(Poses(keypoints, scores, self.keypoints, box.image_size))

    def _size_at(self, image_size: tuple[int, int], scale: float) -> tuple[int, int]:
        """(height, width) of the network's input for a picture at a scale."""
        if self.protocol.sizes == "letterbox":
            size = letterbox_size(self.input_size, scale)
            if math.prod(size) > _MOST_PIXELS:
                raise UsageError(f"scale {scale:g}: an input of {describe_size(size)} is too large")
            return size
        smallest = min(self.protocol.scales)
        size = reference_size(image_size, min(self.input_size), scale, smallest)
        if math.prod(size) > _MOST_PIXELS:
            raise DataError(
                f"a picture of {describe_size(image_size)} would become an input of {describe_size(size)}; crop it, or "
                "use the letterbox"
            )
        if scale in self.protocol.scales and any(side % STRIDE for side in size):
            raise UsageError(
                f"scale {scale:g}: the reference's size {describe_size(size)} is no multiple of {STRIDE}; "
                "use scales like 0.5,1,1.5,2"
            )
        return size

    def _fit(self, image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, Letterbox]:
        return letterbox(image, size) if self.protocol.sizes == "letterbox" else reference_warp(image, size)

    def _choose_size(self, wanted: int | tuple[int, int] | None) -> tuple[int, int]:
        fixed = self.runner.input_size
        wanted = (wanted, wanted) if isinstance(wanted, int) else wanted
        if fixed is not None:
            if wanted is not None and tuple(wanted) != fixed:
                raise UsageError(
                    f"{self.runner.name}: its input is fixed at {describe_size(fixed)}, not {describe_size(wanted)}"
                )
            return fixed
        if wanted is None:
            wanted = self.runner.metadata.get("input", {}).get("nominal")
        if wanted is None:
            raise UsageError(f"{self.runner.name}: takes any size and names none; give input_size= (--input-size)")
        height, width = wanted
        if height < STRIDE or width < STRIDE or height % STRIDE or width % STRIDE:
            raise UsageError(f"input size {describe_size((height, width))}: both must be multiples of {STRIDE}")
        return height, width

    def _choose_settings(self, wanted: DecoderSettings | None) -> DecoderSettings:
        if wanted is not None and self.runner.graph == "poses":
            raise UsageError(
                f"{self.runner.name}: has its decoder inside, with settings of its own; leave out settings="
            )
        if wanted is not None:
            return wanted
        return decoder_settings(self.runner.metadata, self.runner.name)
