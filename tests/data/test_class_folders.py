import logging

import cv2
import numpy as np
import pytest

from ehrnet_tf.config import ClassifierDataConfig
from ehrnet_tf.data.class_folders import class_dataset, read_class_folders
from ehrnet_tf.errors import DataError

COLORS = {"blue": (20, 40, 220), "green": (30, 200, 40), "red": (220, 30, 20)}  # RGB


def write(folder, color, count, size=(40, 60)):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        picture = np.full((*size, 3), color[::-1], np.uint8)
        cv2.imwrite(str(folder / f"{i:02d}.{'png' if i % 2 else 'jpg'}"), picture)


@pytest.fixture
def root(tmp_path):
    for name, color in COLORS.items():
        write(tmp_path / "data" / name, color, 10)
    return tmp_path / "data"


def test_a_share_of_every_class_is_held_out(root):
    found = read_class_folders(root, ClassifierDataConfig(validation=0.2), seed=1)
    assert found.classes == ("blue", "green", "red")
    assert [label for _, label in found.validation] == [0, 0, 1, 1, 2, 2]
    assert [label for _, label in found.train] == [0] * 8 + [1] * 8 + [2] * 8
    assert not {p for p, _ in found.train} & {p for p, _ in found.validation}
    assert found == read_class_folders(root, ClassifierDataConfig(validation=0.2), seed=1)
    assert found.validation != read_class_folders(root, ClassifierDataConfig(validation=0.2), seed=2).validation
    assert len(read_class_folders(root, ClassifierDataConfig(limit=5)).train) == 5


def test_own_split_and_bad_pictures(root, tmp_path, caplog):
    split = tmp_path / "split"
    split.mkdir()
    root.rename(split / "train")
    write(split / "val" / "red", COLORS["red"], 3)
    broken = split / "train" / "blue" / "00.jpg"
    broken.write_bytes(b"no picture")
    (split / "train" / "blue" / "notes.txt").write_text("ignored")
    with caplog.at_level(logging.WARNING, "ehrnet_tf.data"):
        found = read_class_folders(split, ClassifierDataConfig())
    assert len(found.train) == 29 and [label for _, label in found.validation] == [2, 2, 2]
    assert list(found.skipped) == [str(broken)]
    assert "00.jpg" in caplog.text
    write(split / "val" / "pink", COLORS["red"], 1)
    with pytest.raises(DataError, match=r"pink: a class that .*train has not"):
        read_class_folders(split, ClassifierDataConfig())


def test_unusable_folders(root, tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        read_class_folders(tmp_path / "nowhere", ClassifierDataConfig())
    (tmp_path / "one" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="holds 1 class folders"):
        read_class_folders(tmp_path / "one", ClassifierDataConfig())
    (tmp_path / "cifar" / "train").mkdir(parents=True)
    (tmp_path / "cifar" / "test").mkdir()
    with pytest.raises(DataError, match="cifar: 'test' looks like a split, not a class"):
        read_class_folders(tmp_path / "cifar", ClassifierDataConfig())
    (root / "empty").mkdir()
    with pytest.raises(DataError, match="empty: too few usable JPEG or PNG"):
        read_class_folders(root, ClassifierDataConfig())


def test_pictures_come_with_their_class(root):
    found = read_class_folders(root, ClassifierDataConfig())
    plain = ClassifierDataConfig(color=0)
    for config, count in ((None, 7), (plain, 6)):  # an incomplete batch is dropped in training only
        batches = list(class_dataset(found.train, 24, 4, config, seed=3))
        assert len(batches) == count
        for images, labels in batches:
            assert images.shape[1:] == (24, 24, 3)
            for image, label in zip(images.numpy(), labels.numpy(), strict=True):
                np.testing.assert_allclose(image.mean((0, 1)), list(COLORS.values())[label], atol=4)


def test_middle_square_in_evaluation(tmp_path):
    picture = np.zeros((30, 90, 3), np.uint8)
    picture[:, 30:60] = 200
    cv2.imwrite(str(tmp_path / "p.png"), picture)
    images, _ = next(iter(class_dataset([(str(tmp_path / "p.png"), 0)], 30, 1)))
    np.testing.assert_array_equal(images[0], 200)


def test_training_pictures_differ_from_pass_to_pass_and_follow_the_seed(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "p.png"), picture)
    items = [(str(tmp_path / "p.png"), 0)]

    def passes(seed):
        dataset = class_dataset(items, 32, 1, ClassifierDataConfig(), seed).repeat(3)
        return [images.numpy() for images, _ in dataset]

    first, again, other = passes(1), passes(1), passes(2)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], other[0])
    assert np.min(first) >= 0 and np.max(first) <= 255


def test_a_picture_that_fails_at_run_time_is_replaced(root):
    found = read_class_folders(root, ClassifierDataConfig())
    with open(found.train[0][0], "r+b") as file:
        file.seek(40)
        file.write(bytes(200))
    labels = np.concatenate([labels for _, labels in class_dataset(found.train, 24, 4)])
    assert list(labels) == [label for _, label in [*found.train[1:], found.train[1]]]
