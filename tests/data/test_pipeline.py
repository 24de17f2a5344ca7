"""The whole way from a COCO folder to what model.fit takes."""

import dataclasses
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from ehrnet_tf.config import AugmentConfig, Config, DataConfig, ModelConfig, TrainConfig
from ehrnet_tf.data import coco_dataset
from ehrnet_tf.data.coco import load_records
from ehrnet_tf.data.pictures import picture_size
from ehrnet_tf.data.pipeline import input_size
from ehrnet_tf.data.samples import decode
from ehrnet_tf.errors import UsageError
from ehrnet_tf.images import read_image
from ehrnet_tf.runtime.letterbox import letterbox

CONFIG = Config(
    model=ModelConfig(input_size=64), data=DataConfig(max_people=5), train=TrainConfig(batch_size=2, seed=1)
)
STILL = AugmentConfig(rotation=0, scale=(1, 1), translate=0, flip=0)


def replace(config=CONFIG, **sections):
    """``config`` with some values of some sections changed: replace(model={"input_size": 96})."""
    return dataclasses.replace(
        config, **{name: dataclasses.replace(getattr(config, name), **values) for name, values in sections.items()}
    )


@pytest.fixture
def root(coco_folder):
    for n in range(5):
        image_id = coco_folder.picture(suffix=".jpg" if n % 2 else ".png")
        for p in range(n):
            coco_folder.person(image_id, points=[(10 + 9 * p, 20 + n), (12 + 9 * p, 30)])
    coco_folder.person(1, points=[], bbox=[0, 0, 32, 48])
    return coco_folder.write()


def all_images(dataset):
    return np.concatenate([images.numpy() for images, _, _ in dataset])


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_structure(root, training, both):
    dataset = coco_dataset(root, "train", replace(model={"tags_on_both_stages": both}), training)
    images, targets, weights = dataset.element_spec
    batch = 2 if training else None
    assert images.shape == (batch, 64, 64, 3) and images.dtype == tf.uint8
    expected = {"heatmaps_4": (batch, 16, 16, 17), "heatmaps_2": (batch, 32, 32, 17), "tags": (batch, 5, 17, 2)}
    masks = {"heatmaps_4": (batch, 16, 16), "heatmaps_2": (batch, 32, 32), "tags": (batch,)}
    if both:
        expected["tags_2"], masks["tags_2"] = expected["tags"], masks["tags"]
    assert {k: tuple(v.shape) for k, v in targets.items()} == expected
    assert {k: tuple(v.shape) for k, v in weights.items()} == masks
    assert {k: v.dtype for k, v in targets.items()} == {
        k: tf.int32 if k.startswith("tags") else tf.float32 for k in expected
    }
    assert all(v.dtype == tf.float32 for v in weights.values())
    assert len(dataset) == (2 if training else 3)
    assert [len(images) for images, _, _ in dataset] == ([2, 2] if training else [2, 2, 1])


def test_the_variants_own_size():
    assert input_size(Config(model=ModelConfig(variant="H-2"))) == 448


@pytest.mark.parametrize("size", [100, 16, -32])
def test_input_size_must_be_a_multiple_of_32(root, size):
    with pytest.raises(UsageError, match="multiple of 32"):
        coco_dataset(root, "train", replace(model={"input_size": size}))


def test_evaluation_is_letterboxed_and_in_order(root):
    """64x48 pictures in 64x64 stand unscaled, 8 rows down; their targets lie there, padding and regions are masked."""
    records = load_records(root, "train", CONFIG, training=False)
    elements = list(coco_dataset(root, "train", CONFIG, training=False).unbatch())
    assert len(elements) == 5
    for record, (image, targets, weights) in zip(records, elements, strict=True):
        np.testing.assert_array_equal(image[8:56], read_image(record.path))
        assert not image[:8].numpy().any() and not image[56:].numpy().any()
        mask_4, mask_2 = np.zeros((16, 16)), np.zeros((32, 32))
        mask_4[2:14, 8 if record.mask else 0 :] = 1
        mask_2[4:28, 16 if record.mask else 0 :] = 1
        np.testing.assert_array_equal(weights["heatmaps_4"], mask_4)
        np.testing.assert_array_equal(weights["heatmaps_2"], mask_2)
        assert weights["tags"] == 1
        people = len(record.keypoints)
        joints = targets["tags"].numpy()
        np.testing.assert_array_equal(joints[:, :2, 1], [[1, 1]] * people + [[0, 0]] * (5 - people))
        for p, points in enumerate(record.keypoints):
            for k in (0, 1):
                x, y = points[k, 0], points[k, 1] + 8
                assert joints[p, k, 0] == (int(y / 4) * 16 + int(x / 4)) * 17 + k
                assert targets["heatmaps_4"][int(y / 4), int(x / 4), k] == 1
                assert targets["heatmaps_2"][int(y / 2), int(x / 2), k] == 1
        assert not targets["heatmaps_2"][..., 2:].numpy().any()


@pytest.mark.parametrize(("size", "most"), [(128, 0), (64, 1)])
def test_training_and_evaluation_see_the_same_pixels(coco_folder, size, most):
    """JPEG's decoding included: a network that learnt its pictures by heart notices a grey level. Area averaging, which
    sets in below half size, may round differently."""
    rng = np.random.default_rng(0)
    pixels = cv2.resize(rng.integers(0, 256, (50, 60, 3), np.uint8), (203, 151), interpolation=cv2.INTER_CUBIC)
    coco_folder.person(coco_folder.picture(suffix=".jpg", pixels=pixels), points=[(50, 60), (70, 80)])
    root = coco_folder.write()
    path = next(Path(root).rglob("*.jpg"))
    config = replace(augment={"enabled": False}, train={"batch_size": 1}, model={"input_size": size})
    image = all_images(coco_dataset(root, "train", config))[0].astype(int)
    difference = np.abs(image - letterbox(read_image(path), (size, size))[0])
    assert difference.max() <= most and difference.mean() < 0.1


def test_training_without_augmentation_is_the_middle_of_the_picture(root):
    config = dataclasses.replace(CONFIG, augment=STILL)
    records = load_records(root, "train", config)
    middles = {tf.image.resize(read_image(r.path)[:, 8:56], (64, 64)).numpy().tobytes() for r in records}
    assert len(middles) == 5
    warped = all_images(coco_dataset(root, "train", config))
    originals = np.stack([np.frombuffer(m, np.float32).reshape(64, 64, 3) for m in middles])
    for image in warped:
        difference = np.abs(originals - image)[:, 2:-2, 2:-2].max((1, 2, 3))  # the border mixes with the outside
        assert difference.min() < 0.6


def test_seed_decides_order_and_augmentation_and_every_epoch_differs(root):
    one, two = (coco_dataset(root, "train", CONFIG, seed=7) for _ in range(2))
    epochs_one, epochs_two = ([all_images(dataset) for _ in range(2)] for dataset in (one, two))
    np.testing.assert_array_equal(epochs_one[0], epochs_two[0])
    np.testing.assert_array_equal(epochs_one[1], epochs_two[1])
    assert (epochs_one[0] != epochs_one[1]).mean() > 0.5
    assert (epochs_one[0] != all_images(coco_dataset(root, "train", CONFIG, seed=8))).mean() > 0.5
    default = all_images(coco_dataset(root, "train", CONFIG))
    np.testing.assert_array_equal(default, all_images(coco_dataset(root, "train", CONFIG, seed=CONFIG.train.seed)))


def broken(records):
    """One picture whose scan is gone, one replaced by a smaller one, one vanished: the look at the start finds none."""
    jpeg = Path(records[1].path)
    content = jpeg.read_bytes()
    jpeg.write_bytes(content[: content.index(b"\xff\xda")] + b"\xff\xd9")
    assert picture_size(jpeg) == (64, 48)
    cv2.imwrite(records[3].path, np.zeros((20, 20, 3), np.uint8))
    Path(records[4].path).unlink()
    return [records[n].path for n in (1, 3, 4)]


@pytest.mark.parametrize("training", [False, True])
def test_a_picture_that_fails_counts_nothing_and_is_named_once(root, training, caplog):
    """No other sample moves up: a run that is repeated or resumed sees the same pictures at the same steps."""
    records = load_records(root, "train", CONFIG, training=False)
    dataset = coco_dataset(root, "train", replace(train={"batch_size": 1}), training, records=records)
    before = list(dataset)
    paths = broken(records)
    dataset = coco_dataset(root, "train", replace(train={"batch_size": 1}), training, records=records)
    after = list(dataset)
    lost = 0
    for (image, _, _), (other, targets, weights) in zip(before, after, strict=True):
        if (image.numpy() == other.numpy()).all():
            continue
        lost += 1
        assert not other.numpy().any() and not targets["tags"].numpy().any()
        assert not weights["heatmaps_4"].numpy().any() and not weights["heatmaps_2"].numpy().any()
    assert lost == 3
    list(dataset)
    messages = [r.getMessage() for r in caplog.records if r.name == "ehrnet_tf.data"]
    for path, what in zip(paths, ("cannot be decoded", "is no longer 64x48 pixels", "No such file"), strict=True):
        assert [what in m for m in messages if path in m] == [True]


def test_when_no_picture_can_be_read_any_more_the_dataset_ends(root):
    records = load_records(root, "train", CONFIG)
    for record in records:
        Path(record.path).unlink()
    dataset = coco_dataset(root, "train", CONFIG, records=records, first_step=0)
    with pytest.raises(tf.errors.OpError):
        list(dataset)
    assert "10 pictures in a row could not be read" in str(dataset.samples.error)


def test_large_pictures_are_decoded_smaller_and_look_the_same(coco_folder):
    """A JPEG that shrinks to an eighth is decoded at a quarter; its pixels and keypoints stay in place."""
    noise = np.random.default_rng(0).integers(0, 256, (13, 17, 3), np.uint8)
    pixels = cv2.resize(noise, (803, 601), interpolation=cv2.INTER_CUBIC)
    image_id = coco_folder.picture(suffix=".jpg", pixels=pixels)
    coco_folder.person(image_id, points=[(700, 500)])
    (record,) = load_records(coco_folder.write(), "train", CONFIG)

    def check(scale, shape, factor):
        picture, found = decode(record, scale)
        assert picture.shape == shape and found == factor

    check(1.0, (601, 803, 3), 1)
    check(0.26, (601, 803, 3), 1)
    check(0.25, (301, 402, 3), 2)
    check(0.12, (151, 201, 3), 4)
    check(0.01, (76, 101, 3), 8)
    ((image, targets, _),) = coco_dataset(
        coco_folder.root, "train", replace(augment={"enabled": False}, train={"batch_size": 1})
    )
    difference = np.abs(image[0].numpy().astype(int) - letterbox(read_image(record.path), (64, 64))[0])
    assert difference.mean() < 1.5
    y, x = np.unravel_index(targets["heatmaps_2"][0, ..., 0].numpy().argmax(), (32, 32))
    assert (x, y) == (int(700 * 64 / 803 / 2), int((500 * 64 / 803 + (64 - 601 * 64 / 803) / 2) / 2))


def test_a_run_goes_on_at_any_step_and_processes_share_its_batches(root):
    """Batches without end, the third on: equal to the third on of two passes; two shares together are the batch."""
    dataset = coco_dataset(root, "train", CONFIG)
    passes = [batch for _ in range(2) for batch in dataset]
    stream = list(coco_dataset(root, "train", CONFIG, first_step=0).take(4))
    later = list(coco_dataset(root, "train", CONFIG, first_step=2).take(2))
    shares = [list(coco_dataset(root, "train", CONFIG, first_step=2, share=(i, 2)).take(2)) for i in (0, 1)]
    for number in range(4):
        equal(passes[number], stream[number])
    for number in range(2):
        equal(stream[2 + number], later[number])
        joined = tf.nest.map_structure(lambda a, b: tf.concat([a, b], 0), shares[0][number], shares[1][number])
        equal(later[number], joined)


def equal(one, two):
    tf.nest.map_structure(np.testing.assert_array_equal, one, two)


def test_a_batch_must_be_shared_equally(root):
    with pytest.raises(UsageError, match=r"train\.batch_size 2: must be a multiple of the 3 processes"):
        coco_dataset(root, "train", CONFIG, first_step=0, share=(0, 3))


def test_a_batch_must_not_be_larger_than_the_data(root):
    config = replace(train={"batch_size": 6})
    with pytest.raises(UsageError, match=r"train\.batch_size 6: more than the 5 pictures of .*train\.json"):
        coco_dataset(root, "train", config)
    assert len(coco_dataset(root, "train", config, training=False)) == 1


def test_pictures_without_people_and_grey_pictures(coco_folder):
    image_id = coco_folder.picture()
    path = coco_folder.root / "train" / coco_folder.data["images"][0]["file_name"]
    tf.io.write_file(str(path), tf.io.encode_png(tf.fill([48, 64, 1], tf.constant(9, tf.uint8))))
    coco_folder.person(image_id, points=[])
    config = replace(train={"batch_size": 1})
    ((images, targets, _),) = coco_dataset(coco_folder.write(), "train", config)
    assert images.numpy().max() == 9
    assert not targets["heatmaps_2"].numpy().any() and not targets["tags"].numpy().any()


@pytest.mark.filterwarnings("error::UserWarning")
def test_keras_trains_on_it(root):
    inputs = keras.Input((64, 64, 3))
    features = keras.layers.Conv2D(4, 3, strides=2, padding="same")(keras.layers.Rescaling(1 / 255)(inputs))
    quarter = keras.layers.Conv2D(17, 3, strides=2, padding="same", name="heatmaps_4")(features)
    outputs = {
        "heatmaps_4": quarter,
        "heatmaps_2": keras.layers.Conv2D(17, 1, name="heatmaps_2")(features),
        "tags": keras.layers.Conv2D(17, 1, name="tags")(quarter),
    }
    model = keras.Model(inputs, outputs)

    def read_tags(joints, tags):
        flat = keras.ops.reshape(tags, (keras.ops.shape(tags)[0], -1))
        picked = keras.ops.take_along_axis(flat, keras.ops.reshape(joints[..., 0], (-1, 5 * 17)), axis=1)
        return keras.ops.mean(picked, axis=1)

    model.compile("adam", {"heatmaps_4": "mse", "heatmaps_2": "mse", "tags": read_tags})
    history = model.fit(coco_dataset(root, "train", CONFIG), epochs=2, shuffle=False, verbose=0)
    assert np.isfinite(history.history["loss"]).all() and len(history.history["loss"]) == 2
