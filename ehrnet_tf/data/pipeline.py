"""COCO keypoint data as a `tf.data.Dataset` of batches that ``keras.Model.fit`` takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from ehrnet_tf.config import Config
from ehrnet_tf.data import targets, transforms
from ehrnet_tf.data.coco import Records, load_records
from ehrnet_tf.errors import UsageError


def coco_dataset(
    root: str | Path,
    split: str,
    config: Config,
    training: bool = True,
    seed: int | None = None,
    records: Records | None = None,
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
    decode at run time is logged and left out, and another one comes a second time at the end, so that the number of
    batches is always ``len(dataset)``.

    Args:
      root, split: see `ehrnet_tf.data.coco.read_records`.
      config: the sections model, augment, data and train are used.
      training: see above; also chooses ``data.limit`` or ``data.val_limit``.
      seed: of order and augmentation; None: ``train.seed``.
      records: what `load_records` gave for the same arguments, so that the files are not read twice.

    Raises:
      DataError: the data set cannot be used (see `read_records`).
      UsageError: the input size is not a positive multiple of 32, or there are fewer training pictures than make a
        batch.
    """
    size, batch = input_size(config), config.train.batch_size
    if records is None:
        records = load_records(root, split, config, training)
    if training and len(records) < batch:
        raise UsageError(
            f"train.batch_size {batch}: more than the {len(records)} pictures of {records.annotation_file}"
        )
    seed = config.train.seed if seed is None else seed

    dataset = tf.data.Dataset.range(len(records))
    if training:
        dataset = dataset.shuffle(min(config.data.shuffle, len(records)), seed=seed)
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True)
    dataset = tf.data.Dataset.zip(dataset, seeds)
    dataset = dataset.map(
        _reader(records, config, size, training and config.augment.enabled), num_parallel_calls=tf.data.AUTOTUNE
    )
    dataset = replace_failures(dataset, len(records))
    dataset = dataset.padded_batch(batch, drop_remainder=training)
    return dataset.map(_targets(config), num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def replace_failures(dataset: tf.data.Dataset, count: int) -> tf.data.Dataset:
    """``count`` elements: one that fails is logged and left out, and another one comes a second time at the end."""
    dataset = dataset.ignore_errors(log_warning=True)
    dataset = dataset.concatenate(dataset.repeat()).take(count)
    return dataset.apply(tf.data.experimental.assert_cardinality(count))


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


def _reader(records: Records, config: Config, size: int, augment: bool) -> Callable:
    """The function (index, seed (2,)) → picture, keypoints (P, K, 3) in input pixels, masks at 1/4 and 1/2."""
    paths = tf.constant([r.path for r in records])
    masks = tf.constant([r.mask for r in records])
    sizes = tf.constant([(r.height, r.width) for r in records], tf.int32)
    people = tf.constant(np.concatenate([r.keypoints for r in records]))
    ends = tf.constant(np.cumsum([0] + [len(r.keypoints) for r in records]))
    flip_order = records.keypoints.flip_order

    def read(index: tf.Tensor, seed: tf.Tensor):
        # Takes PNG too. The method is OpenCV's; TensorFlow's default differs by a grey level, which a network notices.
        picture = tf.io.decode_jpeg(tf.io.read_file(paths[index]), channels=3, dct_method="INTEGER_ACCURATE")
        shape = tf.shape(picture)
        tf.debugging.assert_equal(shape[:2], sizes[index], message=paths[index])
        keypoints = people[ends[index] : ends[index + 1]]
        if augment:
            matrix, mirrored = transforms.random_matrix(shape[0], shape[1], size, config.augment, seed)
            swapped = transforms.mirror_keypoints(keypoints, flip_order)
            keypoints = tf.where(mirrored, swapped, keypoints)
        else:
            matrix = transforms.letterbox_matrix(shape[0], shape[1], size)
        keypoints = transforms.warp_keypoints(keypoints, matrix, size)
        keypoints = tf.boolean_mask(keypoints, tf.reduce_any(keypoints[..., 2] > 0, axis=1))  # people still in sight
        mask = _mask(masks[index], shape)
        return (
            transforms.warp_picture(picture, matrix, size),
            keypoints,
            transforms.warp_mask(mask, transforms.scale_matrix(matrix, 1 / 4), size // 4),
            transforms.warp_mask(mask, transforms.scale_matrix(matrix, 1 / 2), size // 2),
        )

    return read


def _mask(png: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """(H, W, 1) uint8 of a record's mask; all 255 where it has none."""
    return tf.cond(
        tf.strings.length(png) > 0,
        lambda: tf.io.decode_png(png, channels=1),
        lambda: tf.fill([shape[0], shape[1], 1], tf.constant(255, tf.uint8)),
    )


def _targets(config: Config) -> Callable:
    """The function that turns a batch of what the reader gives into images, targets and weights."""

    def make(images: tf.Tensor, keypoints: tf.Tensor, mask_4: tf.Tensor, mask_2: tf.Tensor):
        side_4, side_2 = mask_4.shape[1], mask_2.shape[1]
        at_4, at_2 = keypoints * [1 / 4, 1 / 4, 1.0], keypoints * [1 / 2, 1 / 2, 1.0]
        ones = tf.ones([tf.shape(images)[0]])
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
