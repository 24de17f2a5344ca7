"""TFRecord shards: the same pictures, in the same order, with the same targets, from a few large files."""

import json

import numpy as np
import pytest
import tensorflow as tf

from ehrnet_tf import cli
from ehrnet_tf.config import load_config
from ehrnet_tf.data import coco_dataset
from ehrnet_tf.data.coco import load_records, read_records
from ehrnet_tf.data.make_shards import make_shards
from ehrnet_tf.data.shards import index_path
from ehrnet_tf.errors import DataError, UsageError
from ehrnet_tf.evaluation import evaluate
from ehrnet_tf.runtime.runners import KerasRunner

CONFIG = load_config(None, ["model.input_size=64", "train.batch_size=3", "data.train_split=train"])


@pytest.fixture
def root(coco_folder):
    noise = np.random.default_rng(0)
    for n in range(7):
        pixels = noise.integers(0, 256, (48 + n, 64, 3), np.uint8)
        image_id = coco_folder.picture(suffix=".jpg" if n % 2 else ".png", pixels=pixels)
        for p in range(n % 3):
            coco_folder.person(image_id, points=[(10 + 9 * p, 20 + n), (12 + 9 * p, 30)])
    coco_folder.person(1, points=[], bbox=[0, 0, 32, 48])
    return coco_folder.write()


@pytest.fixture
def shards(root, tmp_path, monkeypatch):
    monkeypatch.setattr("ehrnet_tf.data.make_shards._groups", lambda records, size: [records[:3], records[3:]])
    assert make_shards(root, "train", tmp_path / "shards") == {"pictures": 7, "skipped": 0, "shards": 2}
    return tmp_path / "shards"


def test_the_same_batches_in_the_same_order(root, shards):
    for options in ({}, {"training": False}, {"first_step": 3, "share": (1, 3)}):
        folder, packed = (coco_dataset(place, "train", CONFIG, **options).take(4) for place in (root, shards))
        for one, two in zip(folder, packed, strict=True):
            tf.nest.map_structure(np.testing.assert_array_equal, one, two)


def test_the_same_scores(root, shards, build_tiny):
    runner = KerasRunner(build_tiny())
    folder, packed = (evaluate(runner, place, "train", progress=False) for place in (root, shards))
    for figures in (folder, packed):
        del figures["ms"]
    assert folder == packed and packed["images"] == 7


def test_other_readers_of_tfrecords_find_everything_in_them(root, shards):
    files = sorted(map(str, shards.glob("train-*.tfrecord")))
    assert [name[-23:] for name in files] == ["00000-of-00002.tfrecord", "00001-of-00002.tfrecord"]
    features = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/filename": tf.io.FixedLenFeature([], tf.string),
        "image/height": tf.io.FixedLenFeature([], tf.int64),
        "keypoints": tf.io.VarLenFeature(tf.float32),
        "mask": tf.io.FixedLenFeature([], tf.string),
    }
    found = [tf.io.parse_single_example(data, features) for data in tf.data.TFRecordDataset(files)]
    records = read_records(root, "train")
    assert len(found) == len(records) == 7
    for example, record in zip(found, records, strict=True):
        assert example["image/encoded"].numpy() == record.read()
        assert record.path.endswith(example["image/filename"].numpy().decode())
        assert example["image/height"] == record.height
        keypoints = tf.sparse.to_dense(example["keypoints"]).numpy().reshape(-1, 17, 3)
        np.testing.assert_array_equal(keypoints, record.keypoints)
        assert example["mask"].numpy() == record.mask


def test_pictures_are_known_by_the_names_in_the_json(coco_folder, tmp_path):
    coco_folder.person(coco_folder.picture())
    image = coco_folder.data["images"][0]
    image["file_name"] = "./" + image["file_name"]
    make_shards(coco_folder.write(), "train", tmp_path / "s")
    assert len(read_records(tmp_path / "s", "train")) == 1


def test_damaged_pictures_are_left_out(root, tmp_path):
    records = read_records(root, "train")
    with open(records[2].path, "wb"):
        pass
    assert make_shards(root, "train", tmp_path / "s")["skipped"] == 1
    packed = read_records(tmp_path / "s", "train")
    assert len(packed) == 6
    assert list(packed.skipped.values()) == ["is not in the shards"]


def test_a_shard_that_changes_is_noticed(shards):
    records = load_records(shards, "train", CONFIG)
    file = shards / "train-00001-of-00002.tfrecord"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    with pytest.raises(DataError, match=rf"{file}: is cut short; copy it again"):
        records[-1].read()
    with pytest.raises(DataError, match=rf"{file}: is missing or not {len(whole)} bytes long"):
        load_records(shards, "train", CONFIG)
    file.unlink()
    with pytest.raises(DataError, match=r"cannot be read \(No such file"):
        records[-1].read()


def test_a_damaged_entry(shards):
    path = index_path(shards, "train")
    index = json.loads(path.read_text())
    for entry in ([7, 0, 1, 64, 48], [0, 1], ["a", 0, 1, 2, 3], 5):
        path.write_text(json.dumps({**index, "pictures": {**index["pictures"], next(iter(index["pictures"])): entry}}))
        with pytest.raises(DataError, match=r"the entry of .* is damaged; make the shards anew"):
            read_records(shards, "train")


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"shards": [], "pictures": {}})])
def test_a_damaged_index(shards, content):
    index_path(shards, "train").write_text(content)
    with pytest.raises(DataError, match=r"train\.index\.json: is not an index of shards"):
        load_records(shards, "train", CONFIG)


def test_command(root, tmp_path, capsys):
    arguments = ["make-shards", str(root), "--split", "train", "--out", str(tmp_path / "s")]
    assert cli.main(arguments) == 0
    assert "train: 7 pictures in 1 shards, 0 skipped" in capsys.readouterr().out
    assert cli.main(arguments) == 2
    assert "exists already" in capsys.readouterr().err
    assert cli.main([*arguments[:-1], str(root)]) == 2
    assert cli.main(["make-shards", str(tmp_path / "s"), "--split", "train", "--out", str(tmp_path / "again")]) == 2
    assert "give the folder of the pictures" in capsys.readouterr().err
    with pytest.raises(UsageError, match="--megabytes 0"):
        make_shards(root, "train", tmp_path / "t", megabytes=0)
