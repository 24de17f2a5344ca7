"""The generated data set: reproducible, valid as COCO, and consistent with what is drawn."""

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ehrnet_tf.data import synthetic
from ehrnet_tf.data.synthetic import scene
from ehrnet_tf.data.synthetic.canvas import LABELS, Canvas
from ehrnet_tf.data.synthetic.figures import Figure
from ehrnet_tf.errors import UsageError

LEFT, RIGHT = [1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16]


@pytest.fixture(scope="module")
def pictures():
    return [synthetic.make_picture(3, 0, index, size=160) for index in range(160)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic")
    synthetic.make_dataset(root, train=6, val=12, size=128, seed=5)
    return root


def people(pictures):
    for image, annotations in pictures:
        for annotation in annotations:
            if not annotation["iscrowd"]:
                yield image, annotation, np.reshape(annotation["keypoints"], (17, 3))


def painted(figure, height=200, width=200, scale=150.0, person=1):
    """The labels of a figure drawn alone in the middle of a picture, and its keypoints."""
    canvas = Canvas(np.full((height, width, 3), 90, np.float32), np.array([0.0, 0.0, 1.0]))
    low, high = figure.extent()
    figure.place(np.array([width, height]) / 2 - scale * (low + high) / 2, scale, person)
    figure.draw(canvas)
    return canvas, figure.keypoints(canvas.label)


def test_pictures_follow_from_seed_split_and_index():
    image, annotations = synthetic.make_picture(1, 0, 4, size=96)
    again, same = synthetic.make_picture(1, 0, 4, size=96)
    assert image.tobytes() == again.tobytes()
    assert json.dumps(annotations) == json.dumps(same)
    for other in ((1, 0, 5), (1, 1, 4), (2, 0, 4)):
        different, _ = synthetic.make_picture(*other, size=96)
        assert different.shape != image.shape or (different != image).any()


def test_pictures_have_the_size_asked_for_and_differ_in_shape(pictures):
    shapes = {image.shape for image, _ in pictures}
    assert all(max(shape[:2]) == 160 and min(shape[:2]) >= 0.6 * 160 and shape[2] == 3 for shape in shapes)
    assert any(h > w for h, w, _ in shapes) and any(h < w for h, w, _ in shapes) and any(h == w for h, w, _ in shapes)
    assert all(image.dtype == np.uint8 and image.std() > 8 for image, _ in pictures)


def test_annotations_are_in_range(pictures):
    for image, annotation, keypoints in people(pictures):
        height, width = image.shape[:2]
        x, y, w, h = annotation["bbox"]
        assert min(x, y) >= 0 and min(w, h) > 0 and x + w <= width and y + h <= height
        assert 0 < annotation["area"] <= w * h
        assert annotation["num_keypoints"] == (keypoints[:, 2] > 0).sum()
        shown = keypoints[:, 2] > 0
        assert (keypoints[shown, :2] >= 0).all() and (keypoints[shown, :2] < (width, height)).all()
        assert not keypoints[~shown].any()
        assert all(len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in annotation["segmentation"])
    counts = [sum(not a["iscrowd"] for a in annotations) for _, annotations in pictures]
    assert set(counts) == {1, 2, 3, 4, 5, 6}


def test_visible_keypoints_lie_in_the_box(pictures):
    for _, annotation, keypoints in people(pictures):
        x, y, w, h = annotation["bbox"]
        seen = keypoints[keypoints[:, 2] == 2, :2]
        assert (seen >= (x, y)).all() and (seen <= (x + w, y + h)).all()


def test_every_visibility_occurs_and_most_keypoints_are_visible(pictures):
    share = np.bincount(np.concatenate([k[:, 2] for _, _, k in people(pictures)]).astype(int), minlength=3)
    share = share / share.sum()
    assert share[0] > 0.05 and share[1] > 0.1 and share[2] > 0.45


def test_some_people_have_no_keypoints_and_all_others_many(pictures):
    counts = np.array([annotation["num_keypoints"] for _, annotation, _ in people(pictures)])
    assert 0 < (counts == 0).mean() < 0.08
    assert np.median(counts) >= 14


def test_figures_have_the_sizes_asked_for(pictures):
    tall = [a["bbox"][3] / image.shape[0] for image, a, _ in people(pictures) if a["num_keypoints"] == 17]
    assert np.percentile(tall, 10) > 0.25 and 0.35 < np.median(tall) < 0.8


def test_crowds_occur_with_valid_run_lengths():
    crowds, total = 0, 300
    for index in range(total):
        image, annotations = synthetic.make_picture(9, 0, index, size=64, max_people=2)
        for annotation in (a for a in annotations if a["iscrowd"]):
            crowds += 1
            assert annotation["num_keypoints"] == 0 and annotation["keypoints"] == [0] * 51
            segmentation = annotation["segmentation"]
            height, width = image.shape[:2]
            assert segmentation["size"] == [height, width] and sum(segmentation["counts"]) == height * width
            packed = coco_mask.frPyObjects(segmentation, height, width)
            assert coco_mask.area(packed) == annotation["area"]
            assert list(coco_mask.toBbox(packed)) == annotation["bbox"]
    assert 0.02 < crowds / total < 0.09


@pytest.mark.parametrize("last", [0, 1])
def test_run_lengths_start_with_the_unset_pixels(last):
    label = np.zeros((40, 30), np.int32)
    label[:20, :10] = 100 * LABELS + 1
    if last:
        label[-20:, -10:] = 101 * LABELS + 1
    found = scene._crowd_annotation(label, [100, 101])
    decoded = coco_mask.decode(coco_mask.frPyObjects(found["segmentation"], 40, 30))
    assert (decoded == (label > 0)).all() and found["segmentation"]["counts"][0] == 0


def test_left_and_right_follow_the_view():
    checked = {"front": 0, "back": 0}
    for seed in range(300):
        figure = Figure(np.random.default_rng(seed))
        turn = (figure.turn + 180) % 360 - 180
        if figure.trunk[1, 1] < 0.7:  # lying or bent down
            continue
        _, keypoints = painted(figure)
        if abs(turn) < 30:
            checked["front"] += 1
            assert keypoints[5, 0] > keypoints[6, 0] and keypoints[11, 0] > keypoints[12, 0]
        elif abs(turn) > 150:
            checked["back"] += 1
            assert keypoints[5, 0] < keypoints[6, 0] and keypoints[11, 0] < keypoints[12, 0]
    assert min(checked.values()) > 20


def test_faces_are_labelled_by_where_the_head_looks():
    away = towards = 0
    for seed in range(300):
        figure = Figure(np.random.default_rng(seed))
        _, keypoints = painted(figure)
        if figure.head[2, 2] < -0.8:
            away += 1
            assert not keypoints[:3].any() and (keypoints[3:5, 2] > 0).all()
        elif figure.head[2, 2] > 0.9:
            towards += 1
            assert (keypoints[:5, 2] > 0).all()
    assert away > 20 and towards > 40


def test_side_views_hide_far_joints_more_than_near_ones():
    near, far = [], []
    for seed in range(300):
        figure = Figure(np.random.default_rng(seed))
        if 70 < abs((figure.turn + 180) % 360 - 180) < 110:
            _, keypoints = painted(figure)
            body = keypoints[5:].reshape(6, 2, 3)  # joint, side, value
            left_is_near = figure.trunk[0, 2] > 0
            near.append(body[:, 0 if left_is_near else 1, 2])
            far.append(body[:, 1 if left_is_near else 0, 2])
    near, far = np.array(near), np.array(far)
    assert (near == 2).mean() > 0.85
    assert (far[:, [0, 3]] == 1).mean() > 0.85 and (far == 2).mean() < 0.6


def test_what_stands_in_front_hides():
    back, front = Figure(np.random.default_rng(1)), Figure(np.random.default_rng(2))
    canvas, alone = painted(back, person=1)
    assert (alone[:, 2] == 2).sum() > 7
    front.place(back.origin, 150.0, 2)
    front.draw(canvas)
    behind = back.keypoints(canvas.label)
    assert (behind[:, :2] == alone[:, :2]).all() and (behind[:, 2] <= alone[:, 2]).all()
    assert (behind[:, 2] == 2).sum() < (alone[:, 2] == 2).sum()
    canvas.label[:] = 0
    assert set(back.keypoints(canvas.label)[:, 2]) <= {0, 1}


def test_what_lies_outside_has_no_coordinates():
    figure = Figure(np.random.default_rng(1))
    canvas, _ = painted(figure)
    figure.place(figure.origin + (0, 90), 150.0, 1)
    keypoints = figure.keypoints(canvas.label)
    assert not keypoints[15:].any() and (keypoints[:, 2] > 0).any()


def test_pycocotools_reads_the_files_and_gives_perfect_results_full_marks(dataset):
    truth = COCO(str(dataset / "annotations" / "person_keypoints_val2017.json"))
    assert len(truth.getImgIds()) == 12 and truth.cats[1]["name"] == "person" and len(truth.cats[1]["keypoints"]) == 17
    for image in truth.imgs.values():
        picture = cv2.imread(str(dataset / "val2017" / image["file_name"]))
        assert picture.shape == (image["height"], image["width"], 3)
    labelled = [a for a in truth.anns.values() if a["num_keypoints"]]
    for annotation in truth.anns.values():
        assert truth.annToMask(annotation).sum() > 0
    perfect = [{**{k: a[k] for k in ("image_id", "category_id", "keypoints")}, "score": 1.0} for a in labelled]
    evaluation = COCOeval(truth, truth.loadRes(perfect), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0) and evaluation.stats[5] == pytest.approx(1.0)


def test_the_same_call_writes_the_same_files(dataset, tmp_path):
    synthetic.make_dataset(tmp_path / "a", train=6, val=12, size=128, seed=5)
    names = sorted(p.relative_to(dataset) for p in dataset.rglob("*") if p.is_file())
    assert len(names) == 6 + 12 + 3
    assert names == sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    for name in names:
        assert (dataset / name).read_bytes() == (tmp_path / "a" / name).read_bytes()


def test_own_data_is_replaced(tmp_path):
    synthetic.make_dataset(tmp_path, train=1, val=1, size=64)
    synthetic.make_dataset(tmp_path, train=2, val=1, size=64, seed=1)
    written = json.loads((tmp_path / "annotations" / "person_keypoints_train2017.json").read_text())
    assert len(written["images"]) == 2 and written["info"]["seed"] == 1


@pytest.mark.parametrize("name", ["annotations/person_keypoints_val2017.json", "train2017/000000000001.jpg"])
def test_foreign_data_is_left_alone(tmp_path, name):
    foreign = tmp_path / name
    foreign.parent.mkdir()
    foreign.write_text('{"info": {"description": "COCO 2017 Dataset"}}')
    with pytest.raises(UsageError, match=str(tmp_path)):
        synthetic.make_dataset(tmp_path, train=1, val=1, size=64)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [foreign]


@pytest.mark.parametrize("bad", [{"train": 0}, {"val": 0}, {"size": 63}, {"seed": -1}, {"max_people": 0}])
def test_bad_arguments_are_named(tmp_path, bad):
    with pytest.raises(UsageError, match=next(iter(bad))) as caught:
        synthetic.make_dataset(tmp_path / "new", **bad)
    assert "\n" not in str(caught.value) and not (tmp_path / "new").exists()


def test_upright_people_stand_and_face_the_viewer():
    for index in range(12):
        _, annotations = synthetic.make_picture(4, 0, index, size=128, max_people=1, upright=True)
        points = np.array(annotations[0]["keypoints"]).reshape(17, 3)
        seen = points[:, 2] > 0
        if seen[[5, 6]].all():
            assert points[5, 0] > points[6, 0], "the left shoulder is on the picture's right"
        if seen[[0, 11, 15]].all():
            assert points[0, 1] < points[11, 1] < points[15, 1]


def test_several_workers_draw_the_same(tmp_path):
    for workers in (1, 2):
        synthetic.make_dataset(tmp_path / str(workers), train=3, val=1, size=64, workers=workers)
    for name in ("annotations/person_keypoints_train2017.json", "train2017/000000000003.jpg"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
