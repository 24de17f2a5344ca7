"""Pictures for a classifier: a folder of class folders, as a `tf.data.Dataset` of batches.

ROOT/cat/*.jpg, ROOT/dog/*.png ...      a share of every class is held out for validation
ROOT/train/cat/..., ROOT/val/cat/...    the data's own split
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from ehrnet_tf.config import ClassifierDataConfig
from ehrnet_tf.data.pictures import PictureError, picture_size
from ehrnet_tf.errors import DataError

_LOG = logging.getLogger("ehrnet_tf.data")
_SUFFIXES = (".jpg", ".jpeg", ".png")
_SPLIT_NAMES = {"train", "val", "valid", "validation", "test"}
_ASPECTS = (3 / 4, 4 / 3)  # of random crops, width over height


@dataclasses.dataclass(frozen=True)
class ClassPictures:
    """The usable pictures of a set of class folders.

    Attributes:
      classes: their names, in the order of the classifier's outputs.
      train, validation: (path, index of the class) of every picture.
      skipped: path of every file left out → the reason, one line.
    """

    classes: tuple[str, ...]
    train: list[tuple[str, int]]
    validation: list[tuple[str, int]]
    skipped: dict[str, str]


def read_class_folders(root: str | Path, config: ClassifierDataConfig, seed: int = 0) -> ClassPictures:
    """Lists and checks the pictures of class folders.

    Args:
      root: see the module.
      config: ``validation`` and ``limit`` are used.
      seed: of the drawing of pictures for validation and within the limit.

    Raises:
      DataError: no such folder, fewer than two classes, a class without usable pictures, or one that only val/ has.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; it must hold one folder of pictures for each class")
    has_split = (root / "train").is_dir() and (root / "val").is_dir()
    home = root / "train" if has_split else root
    classes = tuple(sorted(p.name for p in home.iterdir() if p.is_dir() and not p.name.startswith(".")))
    if not has_split and _SPLIT_NAMES & set(classes):
        raise DataError(
            f"{root}: '{min(_SPLIT_NAMES & set(classes))}' looks like a split, not a class; a split's folders must be "
            "called train and val, otherwise give the folder that holds the classes"
        )
    if len(classes) < 2:
        raise DataError(f"{home}: holds {len(classes)} class folders; a classifier needs two or more")
    skipped: dict[str, str] = {}
    train, validation = _list(home, classes, skipped), []
    rng = np.random.default_rng(seed)
    if has_split:
        foreign = sorted({p.name for p in (root / "val").iterdir() if p.is_dir()} - set(classes))
        if foreign:
            raise DataError(f"{root / 'val' / foreign[0]}: a class that {home} has not; add it there or remove it")
        validation = [item for items in _list(root / "val", classes, skipped) for item in items]
    else:
        for index, items in enumerate(train):
            order = rng.permutation(len(items))
            held_out = max(1, round(len(items) * config.validation))
            validation += [items[i] for i in sorted(order[:held_out])]
            train[index] = [items[i] for i in sorted(order[held_out:])]
    for name, items in zip(classes, train, strict=True):
        if not items:
            raise DataError(f"{home / name}: too few usable JPEG or PNG pictures; add some or remove the folder")
    if not validation:
        raise DataError(f"{root / 'val'}: no usable JPEG or PNG picture; add some, or remove the folder")
    for path, reason in list(skipped.items())[:20]:
        _LOG.warning("skipped %s: %s", path, reason)
    chosen = [item for items in train for item in items]
    if config.limit is not None:
        chosen = [chosen[i] for i in sorted(rng.permutation(len(chosen))[: config.limit])]
    return ClassPictures(classes, chosen, validation, skipped)


def _list(home: Path, classes: tuple[str, ...], skipped: dict[str, str]) -> list[list[tuple[str, int]]]:
    """The usable pictures of each class, in name order."""
    found: list[list[tuple[str, int]]] = [[] for _ in classes]
    for index, name in enumerate(tqdm(classes, f"reading {home}", unit="class", disable=len(classes) < 50)):
        for path in sorted((home / name).rglob("*")):
            if path.suffix.lower() not in _SUFFIXES:
                continue
            try:
                picture_size(path)
                found[index].append((str(path), index))
            except PictureError as error:
                skipped[str(path)] = str(error)
    return found


def class_dataset(
    pictures: list[tuple[str, int]],
    size: int,
    batch: int,
    config: ClassifierDataConfig | None = None,
    seed: int = 0,
) -> tf.data.Dataset:
    """Batches (images (B, size, size, 3) float32 RGB 0..255, classes (B,) int32) of one pass. A picture that fails to
    decode at run time is logged and replaced by another.

    Args:
      pictures: (path, class).
      size: side of the images in pixels.
      batch: pictures a batch; in training, an incomplete last one is dropped.
      config: given: for training, shuffled, randomly cut, mirrored and coloured; None: the middle square of each.
      seed: of order and changes.
    """
    paths, labels = zip(*pictures, strict=True)
    dataset = tf.data.Dataset.from_tensor_slices((list(paths), np.asarray(labels, np.int32)))
    if config is not None:
        dataset = dataset.shuffle(len(pictures), seed=seed)
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True)

    def read(item, seed):
        path, label = item
        picture = tf.io.decode_jpeg(tf.io.read_file(path), channels=3, dct_method="INTEGER_ACCURATE")  # PNG too
        picture = _middle(picture, size) if config is None else _random_crop(picture, size, config, seed)
        return picture, label

    dataset = tf.data.Dataset.zip(dataset, seeds).map(read, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = _replace_failures(dataset, len(pictures))
    return dataset.batch(batch, drop_remainder=config is not None).prefetch(tf.data.AUTOTUNE)


def _middle(picture: tf.Tensor, size: int) -> tf.Tensor:
    shape = tf.shape(picture)
    side = tf.minimum(shape[0], shape[1])
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    return _resize(picture[top : top + side, left : left + side], size)


def _random_crop(picture: tf.Tensor, size: int, config: ClassifierDataConfig, seed: tf.Tensor) -> tf.Tensor:
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(picture),
        tf.zeros([0, 0, 4]),
        seed,
        aspect_ratio_range=_ASPECTS,
        area_range=config.crop_area,
        use_image_if_no_bounding_boxes=True,
    )
    picture = _resize(tf.slice(picture, begin, extent), size)
    draw = tf.random.stateless_uniform([4], seed + 1)
    picture = tf.where(draw[0] < config.flip, picture[:, ::-1], picture)
    brightness, contrast, saturation = tf.unstack(1 + config.color * (2 * draw[1:] - 1))
    picture *= brightness
    mean = tf.reduce_mean(picture)
    picture = mean + (picture - mean) * contrast
    grey = tf.reduce_mean(picture, axis=-1, keepdims=True)
    return tf.clip_by_value(grey + (picture - grey) * saturation, 0, 255)


def _resize(picture: tf.Tensor, size: int) -> tf.Tensor:
    picture = tf.image.resize(picture, (size, size), antialias=True)
    return tf.ensure_shape(tf.clip_by_value(picture, 0, 255), (size, size, 3))


def _replace_failures(dataset: tf.data.Dataset, count: int) -> tf.data.Dataset:
    """``count`` elements: one that fails is logged and left out, and another one comes a second time at the end."""
    dataset = dataset.ignore_errors(log_warning=True)
    dataset = dataset.concatenate(dataset.repeat()).take(count)
    return dataset.apply(tf.data.experimental.assert_cardinality(count))
