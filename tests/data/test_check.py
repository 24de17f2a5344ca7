"""`ehrnet check-data`: every fault made on purpose is found, and none in a sound data set."""

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from ehrnet_tf import cli
from ehrnet_tf.data.check import check_data, find_splits, report_text
from ehrnet_tf.data.checks.duplicates import near_pairs
from ehrnet_tf.data.checks.files import thumbnail
from ehrnet_tf.data.checks.headers import channels_and_orientation
from ehrnet_tf.data.synthetic import make_dataset
from ehrnet_tf.errors import DataError, UsageError

# A person who faces the viewer: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left is at larger x.
PERSON = np.array(
    [(32, 8), (34, 6), (30, 6), (36, 7), (28, 7), (39, 14), (25, 14), (41, 20), (23, 20)]
    + [(42, 26), (22, 26), (36, 28), (28, 28), (36, 36), (28, 36), (36, 44), (28, 44)],
    float,
)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic")
    make_dataset(root, train=40, val=10, size=128)
    return root


def found(root, check=None, **options):
    """The findings' names and counts, or the cases of one."""
    findings = {f["check"]: f for f in check_data(root, **options)["findings"]}
    return findings[check]["cases"] if check else {name: finding["count"] for name, finding in findings.items()}


def test_a_sound_data_set_has_no_faults(synthetic):
    report = check_data(synthetic)
    assert report["findings"] == []
    assert report["splits"]["train2017"]["decoded"] == report["splits"]["train2017"]["pictures"] == 40
    assert find_splits(synthetic) == ["train2017", "val2017"]
    assert "nothing found" in report_text(report)


def test_counts(coco_folder):
    first, second = coco_folder.picture(), coco_folder.picture(height=40, width=40)
    coco_folder.picture()
    coco_folder.person(first, PERSON, bbox=[20, 4, 24, 42])
    coco_folder.person(first, PERSON[:3], bbox=[4, 6, 40, 30])["keypoints"][2] = 1
    coco_folder.person(second, [], bbox=[4, 6, 20, 30])
    coco_folder.person(second, [], iscrowd=1)
    split = check_data(coco_folder.write())["splits"]["train"]
    assert {key: split[key] for key in ("pictures", "pictures_with_people", "pictures_without_annotations")} == {
        "pictures": 3,
        "pictures_with_people": 1,
        "pictures_without_annotations": 1,
    }
    assert (split["people"], split["unlabelled"], split["crowds"]) == (2, 1, 1)
    assert split["people_per_picture"] == {"mean": 2.0, "max": 2}
    assert split["sizes"] == {"64x48": 2, "40x40": 1}
    assert split["person_size"][1] == pytest.approx(41)
    assert split["keypoints"]["nose"] == {"labelled": 2, "visible": 1}
    assert split["keypoints"]["left_ankle"] == {"labelled": 1, "visible": 1}


def test_only_the_first_pictures_and_the_named_splits(synthetic):
    report = check_data(synthetic, ["val2017"], limit=3)
    assert list(report["splits"]) == ["val2017"]
    assert report["splits"]["val2017"]["pictures"] == report["splits"]["val2017"]["decoded"] == 3
    with pytest.raises(UsageError, match="limit 0"):
        check_data(synthetic, limit=0)


def jpeg(path, pixels=None, **options):
    pixels = np.random.default_rng(9).integers(0, 256, (48, 64, 3), np.uint8) if pixels is None else pixels
    Image.fromarray(pixels).save(path, "JPEG", **options)


def spoil_missing(path):
    path.unlink()


def spoil_cut(path):
    path.write_bytes(path.read_bytes()[:200])


def spoil_text(path):
    path.write_text("a page that says 404")


def spoil_png(path):
    data = bytearray(
        cv2.imencode(".png", np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))[1].tobytes()
    )
    data[4000:4100] = bytes(100)
    path.write_bytes(data)


def spoil_size(path):
    jpeg(path, np.zeros((48, 32, 3), np.uint8))


def spoil_middle(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path.write_bytes(data)


def spoil_exif(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    jpeg(path, exif=exif.tobytes())


def spoil_grey(path):
    jpeg(path, np.random.default_rng(9).integers(0, 256, (48, 64), np.uint8))


def spoil_cmyk(path):
    Image.fromarray(np.random.default_rng(9).integers(0, 256, (48, 64, 3), np.uint8)).convert("CMYK").save(path, "JPEG")


@pytest.mark.parametrize(
    ("spoil", "check", "level", "detail"),
    [
        (spoil_missing, "missing", "error", "no such file"),
        (spoil_cut, "broken", "error", "is cut short or damaged"),
        (spoil_text, "broken", "error", "is neither a JPEG nor a PNG picture"),
        (spoil_png, "broken", "error", "cannot be decoded"),
        (spoil_size, "size", "error", "is 32x48 pixels, the json says 64x48"),
        (spoil_middle, "damaged", "warning", "Corrupt JPEG data"),
        (spoil_exif, "exif", "error", "orientation 6"),
        (spoil_grey, "colour", "note", "grey"),
        (spoil_cmyk, "colour", "note", "CMYK"),
    ],
)
def test_files(coco_folder, spoil, check, level, detail):
    for _ in range(3):
        coco_folder.person(coco_folder.picture(suffix=".jpg"))
    root = coco_folder.write()
    spoil(root / "train" / "000002.jpg")
    (finding,) = check_data(root)["findings"]
    assert (finding["check"], finding["level"], finding["count"]) == (check, level, 1)
    assert finding["cases"][0]["picture"] == "train/000002.jpg"
    assert finding["cases"][0]["detail"].startswith(detail)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["JPEG", "PNG"])
def test_orientation_is_read_as_pillow_writes_it(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "maker", orientation
    for mode, channels in (("RGB", 3), ("L", 1)):
        Image.new(mode, (20, 10)).save(tmp_path / "x", suffix, exif=exif.tobytes())
        assert channels_and_orientation((tmp_path / "x").read_bytes()) == (channels, orientation)


def change(**values):
    return lambda annotation: annotation.update(values)


def move(index, *point):
    def edit(annotation):
        annotation["keypoints"][3 * index : 3 * index + len(point)] = point

    return edit


PEOPLE = {
    "box_empty": [change(bbox=[4, 6, 0, 30]), change(bbox=None)],
    "box_outside": [change(bbox=[20, 4, 50, 42]), change(bbox=[-4, 4, 50, 42])],
    "box_keypoints": [change(bbox=[20, 4, 24, 30])],
    "area_missing": [change(area=None), change(area=0)],
    "area_large": [change(area=64 * 48 + 1)],
    "keypoint_outside": [move(16, 28, 49)],
    "visibility": [move(0, 32, 8, 3)],
    "num_keypoints": [change(num_keypoints=3)],
    "one_point": [change(keypoints=[30, 20, 2] * 17)],
    "unlabelled_coordinates": [lambda a: (move(0, 32, 8, 0)(a), change(num_keypoints=16)(a))],
}


@pytest.mark.parametrize(("check", "edit"), [(check, edit) for check, edits in PEOPLE.items() for edit in edits])
def test_people(coco_folder, check, edit):
    coco_folder.person(coco_folder.picture(), PERSON, bbox=[20, 4, 24, 42])
    wrong = coco_folder.person(coco_folder.picture(), PERSON, bbox=[20, 4, 24, 42])
    edit(wrong)
    root = coco_folder.write()
    assert found(root) == {check: 1}
    assert found(root, check)[0]["annotation"] == wrong["id"]


def test_a_split_in_which_nobody_is_labelled(coco_folder):
    coco_folder.person(coco_folder.picture(), [], bbox=[20, 4, 24, 32])
    root = coco_folder.write()
    assert found(root) == {"nobody_labelled": 1}
    assert found(root, "nobody_labelled")[0]["detail"] == coco_folder.split


def test_hidden_keypoints_may_lie_further_beyond_their_box(coco_folder):
    annotation = coco_folder.person(coco_folder.picture(), PERSON, bbox=[20, 4, 24, 32])
    assert found(coco_folder.write()) == {"box_keypoints": 1}
    for k in (15, 16):
        move(k, *PERSON[k], 1)(annotation)
    assert found(coco_folder.write()) == {}


def test_more_people_than_training_takes(coco_folder):
    image_id = coco_folder.picture()
    for n in range(3):
        coco_folder.person(image_id, PERSON[:5] + (8 * n, 10 * n), bbox=[20, 4, 40, 40])
    assert found(coco_folder.write(), max_people=3) == {}
    assert found(coco_folder.root, "many_people", max_people=2)[0]["detail"] == "3 people"


def test_a_person_annotated_twice(coco_folder):
    image_id = coco_folder.picture()
    for points in (PERSON, PERSON + 0.3, PERSON[:, ::-1]):
        coco_folder.person(image_id, points, bbox=[0, 0, 48, 48])
    coco_folder.person(coco_folder.picture(), PERSON, bbox=[20, 4, 24, 42])
    (case,) = found(coco_folder.write(), "person_twice")
    assert case["annotation"] == 101
    assert case["detail"].startswith("like annotation 100, OKS 0.9")


def test_lists(coco_folder):
    first, second = coco_folder.picture(), coco_folder.picture()
    for image_id in (first, second):
        coco_folder.person(image_id)
    coco_folder.data["annotations"][1]["id"] = 100
    coco_folder.person(77)
    coco_folder.data["images"].append({**coco_folder.data["images"][0], "id": 50})
    coco_folder.data["images"].append({**coco_folder.data["images"][1], "file_name": "000001.jpg"})
    jpeg(coco_folder.root / "train" / "000001.jpg")
    expected = {"file_twice": 1, "image_id_twice": 1, "annotation_id_twice": 1, "annotation_without_picture": 1}
    assert found(coco_folder.write()) == expected
    assert found(coco_folder.root, "file_twice")[0]["picture"] == "train/000001.png"


def test_a_malformed_keypoint_list_of_a_missing_picture(coco_folder):
    coco_folder.person(coco_folder.picture())
    coco_folder.person(coco_folder.picture())["keypoints"] = [1, 2, 3]
    (coco_folder.root / "train" / "000002.png").unlink()
    assert found(coco_folder.write())["keypoint_list"] == 1


def add_picture(root, split, pixels, suffix, **options):
    """A picture without people, appended to a split; its name."""
    path = root / "annotations" / f"person_keypoints_{split}.json"
    data = json.loads(path.read_text())
    name = f"added{len(data['images'])}{suffix}"
    if isinstance(pixels, np.ndarray):
        Image.fromarray(pixels).save(root / split / name, **options)
    else:
        shutil.copy(pixels, root / split / name)
    height, width = cv2.imread(str(root / split / name)).shape[:2]
    data["images"].append({"id": 9000 + len(data["images"]), "file_name": name, "width": width, "height": height})
    path.write_text(json.dumps(data))
    return f"{split}/{name}"


def test_duplicates_within_and_across_splits(synthetic, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(synthetic, root)
    first = sorted((root / "train2017").iterdir())[0]
    pixels = cv2.imread(str(first))[..., ::-1]
    half = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    same = add_picture(root, "train2017", first, ".jpg")
    leak = add_picture(root, "val2017", first, ".jpg")
    near = add_picture(root, "train2017", np.ascontiguousarray(pixels), ".jpg", quality=40)
    near_leak = add_picture(root, "val2017", half, ".png")
    findings = {f["check"]: f for f in check_data(root)["findings"]}
    levels = {
        check: (finding["level"], [c["picture"] for c in finding["cases"]]) for check, finding in findings.items()
    }
    assert levels["same"] == ("warning", [same])
    assert levels["same_across"] == ("error", [leak])
    assert levels["near"] == ("note", [near])
    assert levels["near_across"][0] == "error" and near_leak in levels["near_across"][1]
    assert list(findings)[:2] == ["same_across", "near_across"]  # errors first


def test_flat_and_different_pictures_are_no_duplicates():
    rng = np.random.default_rng(0)
    sky = np.tile(np.arange(16) // 4 + 100, (16, 1)).astype(np.uint8)
    flat = [*(np.full((16, 16), value, np.uint8) for value in (0, 0, 250)), sky, sky + 20]
    noise = list(rng.integers(0, 256, (30, 16, 16), np.uint8))
    assert near_pairs(np.array(flat + noise)) == []
    assert near_pairs(np.array([*flat, *noise, noise[3], noise[7] // 2])) == [(8, 35), (12, 36)]
    assert thumbnail(np.zeros((48, 64), np.uint8)).shape == (16, 16)


def test_what_cannot_be_trained_on(coco_folder, tmp_path):
    with pytest.raises(DataError, match=r"holds no annotations/person_keypoints_SPLIT\.json"):
        check_data(tmp_path)
    coco_folder.person(coco_folder.picture())
    root = coco_folder.write()
    with pytest.raises(DataError, match="the splits here are: train"):
        check_data(root, ["val"])
    (root / "train" / "000001.png").unlink()
    with pytest.raises(DataError, match="no usable picture"):
        check_data(root)


def test_command(coco_folder, tmp_path, capfd):
    for n in range(5):
        coco_folder.person(coco_folder.picture(suffix=".jpg"), bbox=[4, 6, 0, 0] if n else [4, 6, 20, 30])
    root = coco_folder.write()
    before = sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*"))
    spoiled = root / "train" / "000003.jpg"
    spoil_middle(spoiled)
    assert cli.main(["check-data", str(root), "--split", "train", "--json", str(tmp_path / "r.json")]) == 0
    out, err = capfd.readouterr()
    assert "\nwarnings\n      4  boxes missing or without extent: correct the box\n" in out
    assert "           train/000002.jpg, annotation 101: box 4, 6, 0, 0\n" in out
    assert "           and 1 more\n" in out and "(100%)" in out
    assert "Corrupt JPEG data" in out and "Corrupt JPEG data" not in err
    report = json.loads((tmp_path / "r.json").read_text())
    assert [len(f["cases"]) for f in report["findings"]] == [4, 1]
    after = sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*"))
    assert [entry for entry in after if entry[0] != spoiled] == [entry for entry in before if entry[0] != spoiled]


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--split", "val2017"], 1, "the splits here are: train"),
        (["--keypoints", "nobody"], 2, "keypoints 'nobody': neither"),
        (["--limit", "0"], 2, "limit 0: must be at least 1"),
        (["--sheet", "sheet.gif"], 2, "sheet.gif: a sheet is a picture; end its name in .jpg or .png"),
        (["--config", "data.sigmas=1"], 2, "did you mean 'data.sigma'?"),
    ],
)
def test_command_errors_are_one_line(coco_folder, options, status, message, capsys):
    coco_folder.person(coco_folder.picture())
    assert cli.main(["check-data", str(coco_folder.write()), *options]) == status
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ehrnet: ")]
    assert message in line


def test_without_tensorflow(synthetic):
    code = "import sys; sys.modules.update(tensorflow=None, keras=None); from ehrnet_tf import cli; "
    code += f"sys.exit(cli.main(['check-data', {str(synthetic)!r}]))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "nothing found" in run.stdout
