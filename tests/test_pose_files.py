import csv
import json

import numpy as np
import pytest

from ehrnet_tf.errors import DataError, UsageError
from ehrnet_tf.keypoints import KeypointSet, load
from ehrnet_tf.pose_files import Entry, PoseWriter, read_poses
from ehrnet_tf.poses import Poses

MINE = KeypointSet.from_dict({"name": "mine", "keypoints": ["tip", "end"], "skeleton": [["tip", "end"]]})


def entry(count, frame=0, ids=True, points=None, **named):
    points = points or load("coco")
    rng = np.random.default_rng(frame)
    keypoints = rng.uniform(0, 100, (count, len(points), 3)).round(2).astype(np.float32)
    scores = rng.uniform(0, 1, count).round(3).astype(np.float32)
    numbers = np.arange(count) + 7 * frame if ids and count else None
    return Entry(Poses(keypoints, scores, points, (480, 640), numbers), frame, **named)


def video():
    return [
        entry(2, 0, seconds=0.0, file="a.mp4"),
        entry(0, 1, seconds=0.04, file="a.mp4"),
        entry(3, 2, seconds=0.08, file="a.mp4"),
    ]


def written(path, entries, coco=False):
    with PoseWriter(path, coco) as writer:
        for one in entries:
            writer.write(one)
    return path


def assert_same(found, expected):
    assert (found.frame, found.seconds, found.file) == (expected.frame, expected.seconds, expected.file)
    np.testing.assert_allclose(found.poses.keypoints, expected.poses.keypoints, atol=1e-3)
    np.testing.assert_allclose(found.poses.scores, expected.poses.scores, atol=1e-6)
    assert found.poses.image_size == expected.poses.image_size
    assert found.poses.keypoint_set.names == expected.poses.keypoint_set.names
    ids = [None if poses.ids is None else poses.ids.tolist() for poses in (found.poses, expected.poses)]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".ndjson", ".csv"])
def test_what_is_written_is_read_back(tmp_path, suffix):
    entries = video()
    found = list(read_poses(written(tmp_path / f"poses{suffix}", entries)))
    if suffix == ".csv":
        entries = [one for one in entries if len(one.poses)]
    assert len(found) == len(entries)
    for one, expected in zip(found, entries, strict=True):
        assert_same(one, expected)
    assert found[0].poses.keypoint_set == load("coco")


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])
def test_own_keypoint_sets_come_back_with_their_limbs_where_they_are_given(tmp_path, suffix):
    path = written(tmp_path / f"poses{suffix}", [entry(2, ids=False, points=MINE, file="x.jpg")])
    (found,) = read_poses(path)
    assert found.poses.keypoint_set.names == ("tip", "end") and not found.poses.keypoint_set.skeleton
    (found,) = read_poses(path, MINE)
    assert found.poses.keypoint_set == MINE and found.seconds is None
    with pytest.raises(UsageError, match=r"tip, end.*not those of 'coco'"):
        list(read_poses(path, "coco"))


def test_a_line_a_picture(tmp_path):
    lines = written(tmp_path / "a.jsonl", video()).read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == [0, 1, 2]
    first = json.loads(lines[0])
    assert list(first) == ["frame", "seconds", "file", "image_size", "keypoint_set", "category", "people"]
    assert first["people"][1]["id"] == 1 and len(first["people"][0]["keypoints"]["nose"]) == 3


def test_a_row_a_person(tmp_path):
    with open(written(tmp_path / "a.csv", video())) as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert rows[0]["file"] == "a.mp4" and rows[0]["width"] == "640" and rows[4]["id"] == "16"
    assert float(rows[0]["left_eye_x"]) == pytest.approx(video()[0].poses.keypoints[0, 1, 0], abs=1e-3)


def test_coco_results(tmp_path):
    entries = [entry(1, 0, file="val/000000000139.jpg"), entry(1, 1, file="mine.jpg"), entry(1, 5, seconds=0.2)]
    people = json.loads(written(tmp_path / "r.json", entries, coco=True).read_text())
    assert [person["image_id"] for person in people] == [139, 1, 5]
    assert len(people[0]["keypoints"]) == 51 and people[0]["file_name"] == "000000000139.jpg"
    with pytest.raises(DataError, match="COCO results"):
        list(read_poses(tmp_path / "r.json"))
    with pytest.raises(UsageError, match=r"COCO results are a \.json file"):
        PoseWriter(tmp_path / "r.csv", coco=True)


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])
def test_what_was_written_is_kept_whatever_happens(tmp_path, suffix):
    path = tmp_path / f"poses{suffix}"
    with pytest.raises(KeyboardInterrupt), PoseWriter(path) as writer:
        writer.write(video()[0])
        raise KeyboardInterrupt
    assert len(list(read_poses(path))) == 1


def test_lines_can_be_read_while_they_are_written(tmp_path):
    with PoseWriter(tmp_path / "a.jsonl") as writer:
        writer.write(video()[0])
        assert len(list(read_poses(tmp_path / "a.jsonl"))) == 1


def test_nothing_found_is_a_valid_file(tmp_path):
    assert json.loads(written(tmp_path / "a.json", []).read_text()) == []
    assert list(read_poses(written(tmp_path / "a.jsonl", []))) == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"people": []', "line 1 is no JSON"),
        ("a.jsonl", '{"people": 3}', "line 1: no poses"),
        ("a.jsonl", "[]", "line 1: no poses"),
        ("a.json", "[{", "no JSON"),
        ("a.json", "{}", "holds no list of pictures"),
        ("a.json", '[{"people": [{}], "image_size": [1, 2]}]', "entry 0: no poses"),
        ("a.csv", "", "no table of poses"),
        ("a.csv", "x,y\n1,2\n", "no table of poses"),
        ("a.csv", "frame,seconds,file,width,height,id,score,t_x,t_y,t_score\n0,,,9,9,,0.5,1,2\n", "line 2: a row"),
        ("a.txt", "", "poses are written as"),
    ],
)
def test_damaged_files(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises((DataError, UsageError), match=rf"{name}: {said}"):
        list(read_poses(tmp_path / name))


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match="full"), PoseWriter(tmp_path / "a.jsonl") as writer:
        writer._file.close()
        writer._file = open("/dev/full", "w")  # noqa: SIM115
        writer.path = tmp_path / "full.jsonl"
        writer.write(video()[0])
