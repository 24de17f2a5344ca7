"""Reading COCO keypoint files: contents, mask regions, and every way in which a data set can be wrong."""

import logging
import subprocess
import sys

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from ehrnet_tf.config import Config, DataConfig
from ehrnet_tf.data.coco import load_records, read_records
from ehrnet_tf.errors import DataError
from ehrnet_tf.keypoints import load


def decode(png):
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)


def test_importing_needs_no_tensorflow():
    code = "import sys, ehrnet_tf.data, ehrnet_tf.data.coco; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_tensorflow_the_error_names_the_extra():
    code = "import sys; sys.modules['tensorflow'] = None; from ehrnet_tf.data import coco_dataset"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MissingExtraError: tensorflow is not installed: pip install 'ehrnet-tf[train]'" in run.stderr


def test_the_log_names_a_few_of_many_skipped(coco_folder, caplog):
    coco_folder.person(coco_folder.picture())
    for n in range(25):
        coco_folder.person(900 + n)
    assert len(read_records(coco_folder.write(), "train").skipped) == 25
    assert "skipped 25" in caplog.text and "id 919" in caplog.text and "id 920" not in caplog.text
    assert "and 5 more" in caplog.text


def test_record_contents(coco_folder):
    first = coco_folder.picture(suffix=".jpg")
    coco_folder.picture()
    coco_folder.person(first, points=[(10.5, 12), (30, 47.9)])
    records = read_records(coco_folder.write(), "train")
    assert len(records) == 2 and not records.skipped
    record = records[0]
    assert (record.image_id, record.width, record.height) == (first, 64, 48)
    assert record.keypoints.shape == (1, 17, 3) and record.keypoints.dtype == np.float32
    np.testing.assert_allclose(record.keypoints[0, :3], [[10.5, 12, 2], [30, 47.9, 2], [0, 0, 0]])
    np.testing.assert_array_equal(record.boxes, [[4, 6, 20, 30]])
    np.testing.assert_array_equal(record.areas, [400])
    assert record.mask == b""
    assert records[1].keypoints.shape == (0, 17, 3)


def test_training_takes_annotated_pictures_only_and_the_limit(coco_folder):
    for n in range(6):
        image_id = coco_folder.picture()
        if n % 2:
            coco_folder.person(image_id)
    root = coco_folder.write()
    config = Config(data=DataConfig(limit=2, val_limit=5))
    assert [r.image_id for r in load_records(root, "train", config)] == [2, 4]
    assert [r.image_id for r in load_records(root, "train", config, training=False)] == [1, 2, 3, 4, 5]
    assert len(load_records(root, "train", Config())) == 3


RECTANGLE = np.zeros((48, 64), np.uint8)
RECTANGLE[10:20, 30:50] = 1
RLE = coco_mask.encode(np.asfortranarray(RECTANGLE))
COUNTS = [30 * 48 + 10] + [10, 38] * 19 + [10]
SEGMENTATIONS = {
    "polygon": [[30, 10, 50, 10, 50, 20, 30, 20]],
    "compressed": {"size": [48, 64], "counts": RLE["counts"].decode()},
    "uncompressed": {"size": [48, 64], "counts": COUNTS + [48 * 64 - sum(COUNTS)]},
}


@pytest.mark.parametrize("kind", SEGMENTATIONS)
@pytest.mark.parametrize("crowd", [0, 1])
def test_unlabelled_people_become_mask_regions(coco_folder, kind, crowd):
    image_id = coco_folder.picture()
    coco_folder.person(image_id, points=[], iscrowd=crowd, segmentation=SEGMENTATIONS[kind])
    (record,) = read_records(coco_folder.write(), "train", annotated_only=True)
    assert record.keypoints.shape == (0, 17, 3)
    np.testing.assert_array_equal(decode(record.mask), np.where(RECTANGLE, 0, 255))


@pytest.mark.parametrize(
    "segmentation",
    [
        [],
        None,
        "nonsense",
        [[1, 2, 3, 4]],
        [["a"] * 6],
        [[float("nan")] * 6],
        {"size": [48, 64]},
        {"size": [8, 8], "counts": RLE["counts"].decode()},
        {"size": [48, 64], "counts": [5, 5]},
        {"size": [48, 64], "counts": "\x7f\x7f~~"},
        {"size": [48, 64], "counts": "é"},
    ],
)
def test_no_or_malformed_segmentation_masks_the_box(coco_folder, segmentation):
    coco_folder.person(coco_folder.picture(), points=[], segmentation=segmentation, bbox=[-3, 40.5, 7.5, 20])
    (record,) = read_records(coco_folder.write(), "train")
    expected = np.full((48, 64), 255)
    expected[40:, :5] = 0
    np.testing.assert_array_equal(decode(record.mask), expected)


@pytest.mark.parametrize("box", [None, [1, 2], ["a", 1, 2, 3], [float("inf")] * 4])
def test_without_segmentation_and_box_nothing_is_masked(coco_folder, box):
    coco_folder.person(coco_folder.picture(), points=[], bbox=box)
    (record,) = read_records(coco_folder.write(), "train")
    assert (decode(record.mask) == 255).all()


def test_other_categories_are_ignored(coco_folder):
    image_id = coco_folder.picture()
    coco_folder.person(image_id)
    coco_folder.person(image_id, category_id=2, keypoints=[1])
    (record,) = read_records(coco_folder.write(), "train")
    assert len(record.keypoints) == 1 and not record.mask


def test_keypoints_outside_the_picture_are_unlabelled_and_counted(coco_folder, caplog):
    image_id = coco_folder.picture()
    coco_folder.person(image_id, points=[(63.9, 0), (64, 3), (-1, 3), (3, 48), (float("nan"), 3)])
    with caplog.at_level(logging.WARNING, "ehrnet_tf.data"):
        (record,) = read_records(coco_folder.write(), "train")
    np.testing.assert_array_equal(record.keypoints[0, :, 2], [2] + [0] * 16)
    assert "4 keypoints outside" in caplog.text


def test_bad_pictures_are_skipped_counted_and_named(coco_folder, caplog):
    for suffix in (".png", ".jpg", ".png", ".jpg", ".png", ".jpg", ".jpg", ".png"):
        coco_folder.person(coco_folder.picture(suffix=suffix))
    files = [coco_folder.root / "train" / image["file_name"] for image in coco_folder.data["images"]]
    files[2].write_bytes(files[2].read_bytes()[:-500])
    files[3].write_bytes(files[3].read_bytes()[:-500])
    files[4].write_text("<html>404</html>")
    files[5].unlink()
    files[6].write_bytes(b"\xff\xd8\xff")
    files[7].write_bytes(b"")
    coco_folder.data["images"][0]["width"] = 60
    coco_folder.person(999)
    with caplog.at_level(logging.WARNING, "ehrnet_tf.data"):
        records = read_records(coco_folder.write(), "train")
    assert [r.image_id for r in records] == [2]
    assert records.skipped == {
        str(files[0]): "is 64x48 pixels, the json says 60x48",
        str(files[2]): "is cut short or damaged",
        str(files[3]): "is cut short or damaged",
        str(files[4]): "is neither a JPEG nor a PNG picture",
        str(files[5]): "no such file",
        str(files[6]): "is cut short or damaged",
        str(files[7]): "is an empty file",
        "annotation 108": "person_keypoints_train.json lists no picture with id 999",
    }
    assert "1 pictures; skipped 8" in caplog.text and str(files[4]) in caplog.text


def fails(root, *needles, split="train"):
    with pytest.raises(DataError) as caught:
        read_records(root, split)
    message = str(caught.value)
    assert "\n" not in message
    for needle in needles:
        assert needle in message
    return message


def test_missing_folders_and_files(coco_folder, tmp_path):
    fails(tmp_path / "nowhere", "nowhere", "no such folder")
    fails(coco_folder.root, "person_keypoints_train.json", "no splits at all")
    coco_folder.person(coco_folder.picture())
    root = coco_folder.write()
    fails(root, "person_keypoints_val.json", "splits here are: train", split="val")
    (root / "train").rename(root / "elsewhere")
    fails(root, str(root / "train"), "no such folder")


@pytest.mark.parametrize("text", ['{"images": [', "", "[" * 100_000, "\xff"])
def test_broken_json(coco_folder, text):
    coco_folder.json_path.write_text(text, encoding="latin-1")
    fails(coco_folder.root, str(coco_folder.json_path), "not readable as JSON")


@pytest.mark.parametrize("text", ["[]", "3", "null", '{"images": []}', '{"images": {}, "annotations": []}'])
def test_json_that_is_not_coco(coco_folder, text):
    coco_folder.json_path.write_text(text)
    fails(coco_folder.root, str(coco_folder.json_path), "has no list '")


def test_empty_split(coco_folder):
    fails(coco_folder.write(), "lists no pictures")


def test_categories(coco_folder):
    coco_folder.person(coco_folder.picture())
    category = coco_folder.data["categories"][0]
    category["keypoints"] = ["nose"]
    fails(coco_folder.write(), "names 1 keypoints", "'coco' 17", "model.keypoints")
    category["name"] = "hand"
    fails(coco_folder.write(), "no category 'person'", "only hand")
    del category["keypoints"]
    fails(coco_folder.write(), "no category lists keypoints")


def test_the_same_keypoints_in_another_order(coco_folder):
    coco_folder.person(coco_folder.picture())
    names = coco_folder.data["categories"][0]["keypoints"]
    names[1], names[2] = names[2], names[1]
    fails(
        coco_folder.write(), "has 'right_eye' where the set 'coco' has 'left_eye'", "another order", "model.keypoints"
    )
    names[1:3] = ["eye_l", "eye_r"]  # other words are no fault
    assert len(read_records(coco_folder.write(), "train")) == 1


def test_area_of_an_annotation_without_one(coco_folder):
    annotation = coco_folder.person(coco_folder.picture(), keypoints=[10, 10, 2] * 14)
    coco_folder.data["categories"][0]["keypoints"] = list(load("crowdpose").names)
    del annotation["area"]
    (record,) = read_records(coco_folder.write(), "train", "crowdpose")
    np.testing.assert_allclose(record.areas, [0.53 * 20 * 30])


@pytest.mark.parametrize("keypoints", [None, "x", [1, 2, 3], ["a"] * 51, [[1]] * 50, {}])
def test_malformed_keypoints_name_the_annotation(coco_folder, keypoints):
    coco_folder.person(coco_folder.picture(), keypoints=keypoints)
    fails(coco_folder.write(), str(coco_folder.json_path), "annotation 100:", "51 numbers")


@pytest.mark.parametrize(
    "change",
    [{"width": 0}, {"height": "48"}, {"file_name": None}, {"width": None}],
)
def test_malformed_images_name_the_picture(coco_folder, change):
    coco_folder.person(coco_folder.picture())
    coco_folder.data["images"][0].update(change)
    fails(coco_folder.write(), str(coco_folder.json_path), "picture 1 needs")


def test_entries_that_are_no_mappings(coco_folder):
    coco_folder.person(coco_folder.picture())
    coco_folder.data["annotations"].append(7)
    fails(coco_folder.write(), "annotations holds 7")
    coco_folder.data["images"].append([])
    fails(coco_folder.write(), "images holds []")


def test_no_usable_picture(coco_folder):
    coco_folder.person(coco_folder.picture())
    (coco_folder.root / "train" / "000001.png").write_bytes(b"GIF89a")
    fails(coco_folder.write(), "no usable picture", "000001.png", "neither a JPEG nor a PNG")


def test_no_annotated_picture(coco_folder):
    coco_folder.picture()
    with pytest.raises(DataError, match="no usable picture"):
        read_records(coco_folder.write(), "train", annotated_only=True)
