"""COCO keypoint data as a `tf.data.Dataset` of batches that ``keras.Model.fit`` takes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from ehrnet_tf.config import Config
from ehrnet_tf.data import targets
from ehrnet_tf.data.coco import Records, load_records
from ehrnet_tf.data.samples import Samples
from ehrnet_tf.errors import UsageError

# No tensor decides a branch or a loop here, and AutoGraph takes seconds to find that out.
_as_it_is = tf.autograph.experimental.do_not_convert


def coco_dataset(
    root: str | Path,
    split: str,
    config: Config,
    training: bool = True,
    seed: int | None = None,
    records: Records | None = None,
    first_step: int | None = None,
    share: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Batches of pictures, targets and masks of a COCO keypoint data set. S: input side, K: keypoints, B: batch size.

    Each element is ``(images, targets, weights)``:

    - images (B, S, S, 3) uint8 RGB;
    - targets ``heatmaps_4`` (B, S/4, S/4, K) and ``heatmaps_2`` (B, S/2, S/2, K) float32 in 0..1, ``tags``
      (B, max_people, K·n, 2) int32 (see `targets.tag_joints`; at 1/4), and with ``model.tags_on_both_stages``
      ``tags_2`` (the same at 1/2);
    - weights ``heatmaps_4`` (B, S/4, S/4), ``heatmaps_2`` (B, S/2, S/2) float32, 0 on people without labels and on
      padding, else 1; ``tags`` (and ``tags_2``) (B,) float32 ones.

    One pass is one epoch. In training, pictures are shuffled and augmented anew in every pass, as the seed decides, and
    an incomplete last batch is dropped; otherwise they are letterboxed, in the json's order. A picture that fails to
    decode at run time is logged, and counts nothing in the loss (see `samples.Samples`).

    Args:
      root: folder in COCO's layout, or of shards.
      split: "train2017", "val2017", or another that the folder has.
      config: the sections model, augment, data and train are used.
      training: see above; also chooses ``data.limit`` or ``data.val_limit``.
      seed: of order and augmentation; None: ``train.seed``.
      records: what `load_records` gave for the same arguments, so that the files are not read twice.
      first_step: training batches without end, from this one (counted from 0) on: what a run goes on with.
      share: (index, count): this process' part of every batch, B / count pictures; for training without end.

    Raises:
      DataError: the data set cannot be used (see `read_records`).
      UsageError: the input size is not a positive multiple of 32, there are fewer training pictures than make a batch,
        or a batch cannot be shared equally.
    """
    size, batch = input_size(config), config.train.batch_size
    if records is None:
        records = load_records(root, split, config, training)
    if training and len(records) < batch:
        raise UsageError(
            f"train.batch_size {batch}: more than the {len(records)} pictures of {records.annotation_file}"
        )
    if batch % share[1]:
        raise UsageError(f"train.batch_size {batch}: must be a multiple of the {share[1]} processes")
    seed = config.train.seed if seed is None else seed

    steps = len(records) // batch if training else -(-len(records) // batch)
    length = steps * batch if training else len(records)
    augment = config.augment if training and config.augment.enabled else None
    samples = Samples(records, size, augment, seed if training else None, length)
    if first_step is not None:
        numbers = tf.data.Dataset.range(first_step, np.iinfo(np.int64).max)
    else:
        numbers = _passes(steps) if training else tf.data.Dataset.range(steps)
    end = None if training else length
    read = _reader(samples, batch, share, end, size, len(records.keypoints))
    dataset = numbers.map(read, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.map(_targets(config), num_parallel_calls=tf.data.AUTOTUNE)
    if first_step is None:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    dataset = dataset.prefetch(tf.data.AUTOTUNE)
    dataset.samples = samples  # for who asks why it ended
    return dataset


def _passes(steps: int) -> tf.data.Dataset:
    """The numbers of a pass' steps; every iteration is the next pass."""
    count = itertools.count()
    begin = tf.data.Dataset.from_tensors(0).map(
        _as_it_is(lambda _: tf.numpy_function(lambda: np.int64(next(count)), [], tf.int64) * steps)
    )
    return begin.flat_map(_as_it_is(lambda first: tf.data.Dataset.range(first, first + steps)))


def input_size(config: Config) -> int:
    """The side of the network's input in pixels: ``model.input_size`` or the variant's own.

    Raises:
      UsageError: it is not a positive multiple of 32.
    """
    from ehrnet_tf.models.scaling import scale

    size = config.model.input_size or scale(config.model.variant).input_size
    if size < 32 or size % 32:
        raise UsageError(f"model.input_size {size}: must be a multiple of 32, for example {max(32, size // 32 * 32)}")
    return size


def _reader(samples: Samples, batch: int, share: tuple[int, int], end: int | None, size: int, k: int) -> Callable:
    """The function that makes of a step's number the pictures, keypoints (B, P, K, 3), and masks at 1/4 and 1/2.

    Args:
      samples: where they come from.
      batch: pictures a step.
      share: (index, count): which part of them.
      end: the number of the last sample, plus 1, which a step may reach; None: there is no last one.
      size: of the pictures, pixels.
      k: keypoints.
    """
    mine = batch // share[1]

    def numbers(step: np.ndarray):
        begin = int(step) * batch + share[0] * mine
        return samples.batch(range(begin, begin + mine if end is None else min(begin + mine, end)))

    @_as_it_is
    def read(step: tf.Tensor):
        arrays = tf.numpy_function(numbers, [step], (tf.uint8, tf.float32, tf.uint8, tf.uint8), stateful=False)
        shapes = ((size, size, 3), (None, k, 3), (size // 4, size // 4), (size // 2, size // 2))
        count = mine if end is None else None
        return tuple(tf.ensure_shape(array, (count, *shape)) for array, shape in zip(arrays, shapes, strict=True))

    return read


def _targets(config: Config) -> Callable:
    """The function that turns a batch of what the reader gives into images, targets and weights."""

    @_as_it_is
    def make(images: tf.Tensor, keypoints: tf.Tensor, mask_4: tf.Tensor, mask_2: tf.Tensor):
        side_4, side_2 = mask_4.shape[1], mask_2.shape[1]
        at_4, at_2 = keypoints * [1 / 4, 1 / 4, 1.0], keypoints * [1 / 2, 1 / 2, 1.0]
        ones = tf.ones([tf.shape(images)[0]])
        mask_4, mask_2 = (tf.cast(mask > 0, tf.float32) for mask in (mask_4, mask_2))
        shape = {"sigma": config.data.sigma, "subpixel": config.data.subpixel}
        wanted = {
            "heatmaps_4": targets.gaussian_heatmaps(at_4, side_4, side_4, **shape),
            "heatmaps_2": targets.gaussian_heatmaps(at_2, side_2, side_2, **shape),
            "tags": targets.tag_joints(at_4, side_4, side_4, config.data.max_people, config.data.tag_radius),
        }
        weights = {"heatmaps_4": mask_4, "heatmaps_2": mask_2, "tags": ones}
        if config.model.tags_on_both_stages:
            wanted["tags_2"] = targets.tag_joints(at_2, side_2, side_2, config.data.max_people, config.data.tag_radius)
            weights["tags_2"] = ones
        return images, wanted, weights

    return make
