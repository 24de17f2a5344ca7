"""Pictures in, people out."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ehrnet_tf.decoding import DecoderSettings, decode, project
from ehrnet_tf.errors import ModelFileError, UsageError
from ehrnet_tf.images import to_rgb_uint8
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.poses import Poses
from ehrnet_tf.runtime.letterbox import Letterbox, letterbox
from ehrnet_tf.runtime.runners import STRIDE, describe_size, open_runner

MIN_SCORE = 0.2  # the decoder also reports people of one doubtful joint; nobody wants to see them


class PoseEstimator:
    """Finds the people in pictures with any model that a runner runs.

    A call is three steps, which can be used one by one: `prepare`, `run`, `decode`.

    Args:
      model_or_path: a Keras model, the path of a model file, or a `Runner`.
      threads: CPU threads where the runtime can be told.
      settings: the decoder's; None: those in the model's metadata.
      keypoints: the keypoint set, for models that do not say theirs.
      input_size: pixels, one number for a square or (height, width), multiples of 32; only for models of free size;
        None: the nominal size in the model's metadata.
      min_score: people scored lower are left out by a call (a person's score is the mean over all K keypoints, absent
        ones counting 0); 0 keeps them all, as AP is computed.

    Attributes:
      runner: the `Runner`.
      keypoints: the `KeypointSet`.
      settings: the `DecoderSettings`.
      input_size: (height, width) of the network's input, pixels.

    Raises:
      ModelFileError: the file cannot be run.
      UsageError: the model's keypoints or input size are not known, or a size does not fit.
    """

    def __init__(
        self,
        model_or_path: Any,
        threads: int | None = None,
        settings: DecoderSettings | None = None,
        keypoints: str | os.PathLike | KeypointSet | None = None,
        input_size: int | tuple[int, int] | None = None,
        min_score: float = MIN_SCORE,
    ):
        self.runner = open_runner(model_or_path, threads, keypoints)
        self.keypoints = self.runner.keypoints
        self.input_size = self._choose_size(input_size)
        self.settings = settings or self._own_settings()
        self.min_score = min_score

    def __call__(self, image: np.ndarray) -> Poses:
        """Finds the people in one picture.

        Args:
          image: RGB (h, w, 3) uint8, or whatever else `images.to_rgb_uint8` takes.

        Returns:
          The poses, in picture pixels.
        """
        prepared, box = self.prepare(image)
        maps = self.run(prepared[None])
        return self.decode({name: values[0] for name, values in maps.items()}, box).above(self.min_score)

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, Letterbox]:
        """The picture as the network takes it, (H, W, 3) uint8, and the geometry."""
        return letterbox(to_rgb_uint8(image), self.input_size)

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The network on (B, H, W, 3) uint8 prepared pictures; see `Runner`."""
        return self.runner(images)

    def decode(self, maps: dict[str, np.ndarray], box: Letterbox) -> Poses:
        """The people in one picture's maps, by the exact protocol: decoded at the input's full resolution.

        The padding round the picture counts as empty: training masks it out of the loss, so that a network may show
        anything there.

        Args:
          maps: float "heatmaps_4", "tags" (H/4, W/4, K), "heatmaps_2" (H/2, W/2, K).
          box: the geometry that `prepare` returned.

        Returns:
          The poses, in picture pixels. A joint that was not found has score 0 and, as in the reference, the place of
          the input's corner.
        """
        heatmaps, tags = project(maps["heatmaps_4"], maps["heatmaps_2"], maps["tags"], self.input_size)
        box.clear_padding(heatmaps)
        people, scores = decode(heatmaps, tags, self.settings, self.keypoints.grouping)
        keypoints = people[:, :, :3].copy()
        keypoints[:, :, :2] = box.to_image(keypoints[:, :, :2])
        return Poses(keypoints, scores, self.keypoints, box.image_size)

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
            raise UsageError(f"{self.runner.name}: takes any size and names none; give input_size=")
        height, width = wanted
        if height < STRIDE or width < STRIDE or height % STRIDE or width % STRIDE:
            raise UsageError(f"input size {describe_size((height, width))}: both must be multiples of {STRIDE}")
        return height, width

    def _own_settings(self) -> DecoderSettings:
        values = self.runner.metadata.get("decoder", {})
        try:
            return DecoderSettings(**values)
        except (TypeError, UsageError) as error:
            raise ModelFileError(
                f"{self.runner.name}: its metadata hold decoder settings that cannot be used ({error}); give settings="
            ) from error
