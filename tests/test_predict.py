import contextlib
import json
import weakref

import cv2
import numpy as np
import pytest
from video.conftest import BrightestPixel, picture, write_video

from ehrnet_tf.errors import DataError, EhrnetError, UsageError
from ehrnet_tf.pose_files import read_poses
from ehrnet_tf.poses import Poses
from ehrnet_tf.predict import Outputs, Summary, predict
from ehrnet_tf.redraw import redraw
from ehrnet_tf.video import Stream, open_source
from ehrnet_tf.video.sources import Capture


@pytest.fixture
def walk(tmp_path):
    pytest.importorskip("av")
    return write_video(tmp_path / "walk.mp4", count=25, sound="aac")


@pytest.fixture
def estimator():
    return BrightestPixel()


def frames(path):
    with open_source(path) as source:
        return list(source)


def test_a_video_from_end_to_end(tmp_path, walk, estimator):
    outputs = Outputs(str(tmp_path / "out"), str(tmp_path / "a.jsonl"), str(tmp_path / "r.json"))
    summary = Summary()
    predict(estimator, [str(walk)], outputs, summary)
    assert (summary.pictures, summary.people, summary.dropped, summary.problems, summary.notes) == (25, 25, 0, [], [])
    original, drawn = frames(walk), frames(tmp_path / "out" / "walk.mp4")
    assert len(drawn) == 25 and drawn[0].image.shape == (48, 64, 3)
    assert [f.seconds for f in drawn] == pytest.approx([f.seconds for f in original], abs=1e-3)
    assert np.abs(original[9].image.astype(int) - drawn[9].image).max() > 60
    import av

    with av.open(str(tmp_path / "out" / "walk.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]

    entries = list(read_poses(tmp_path / "a.jsonl"))
    assert [entry.frame for entry in entries] == list(range(25))
    assert {int(entry.poses.ids[0]) for entry in entries} == {0}
    assert entries[9].file == str(walk) and entries[9].seconds == pytest.approx(0.36, abs=1e-3)
    assert entries[9].poses.keypoints[0, 2, 0] == pytest.approx(4 + 18 + 2, abs=1.5)
    results = json.loads((tmp_path / "r.json").read_text())
    assert [person["image_id"] for person in results] == list(range(25))


def test_smoothing_can_be_left_out(tmp_path, walk, estimator):
    def jitter(smooth):
        predict(estimator, [str(walk)], Outputs(json=str(tmp_path / "a.csv")), Summary(), smooth=smooth)
        return [entry.poses.keypoints[0, 2, 0] for entry in read_poses(tmp_path / "a.csv")]

    raw, smooth = jitter(False), jitter(True)
    assert np.diff(raw) == pytest.approx(np.full(24, 2.0), abs=0.3)
    assert raw != smooth and np.abs(np.subtract(raw, smooth)).max() < 3


def test_the_first_frames_alone(walk, estimator):
    summary = Summary()
    predict(estimator, [str(walk)], Outputs(), summary, frames=7)
    assert summary.pictures == 7


def test_pictures_and_videos_together(tmp_path, walk, estimator, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), picture(i))
    (folder / "bad.png").write_bytes(b"bad")
    said, lines = [], []
    summary = Summary()
    outputs = Outputs(str(tmp_path / "out"), str(tmp_path / "all.json"))
    predict(estimator, [str(walk), str(folder)], outputs, summary, warn=said.append, say=lines.append)
    assert summary.pictures == 28 and len(lines) == 28
    assert lines[0] == f"{folder / '0.png'}: 1 people"
    assert summary.problems == ["1 of 4 inputs could not be read"] and "bad.png" in said[0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png", "2.png", "walk.mp4"]
    entries = list(read_poses(tmp_path / "all.json"))
    assert [entry.file for entry in entries[:4]] == [*(str(folder / f"{i}.png") for i in range(3)), str(walk)]
    assert entries[0].poses.ids is None and entries[3].poses.ids is not None


def test_a_picture_given_twice_is_drawn_once(tmp_path, estimator):
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), picture(3))
    predict(estimator, [str(photo), str(photo)], Outputs(str(tmp_path / "out")), Summary())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.png"]


def test_videos_in_a_folder_are_not_passed_over_in_silence(tmp_path, walk, estimator):
    cv2.imwrite(str(tmp_path / "photo.png"), picture(3))
    summary = Summary()
    predict(estimator, [str(tmp_path)], Outputs(), summary)
    assert summary.pictures == 1
    assert summary.notes == [f"{tmp_path}: pictures alone were taken; its videos are to be named: walk.mp4"]


def test_each_picture_is_shown_until_a_key_is_pressed(tmp_path, estimator, monkeypatch):
    shown = []

    class Window:
        def show(self, image, wait=False):
            shown.append((int(np.argmax(image[12, :, 0])), wait))
            return len(shown) < 3

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("ehrnet_tf.predict.Screen", Window)
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture(i))
    draw = Outputs(show=True, draw=lambda image, poses: image)
    predict(estimator, [str(tmp_path)], draw, Summary())
    assert shown == [(4, True), (6, True), (8, True)]


def test_a_window_that_is_closed_ends_the_videos_that_follow_too(tmp_path, walk, estimator, monkeypatch):
    opened = []

    class Window(contextlib.ExitStack):
        def show(self, image, wait=False):
            opened.append(wait)
            return False

    monkeypatch.setattr("ehrnet_tf.predict.Screen", Window)
    show, summary = Outputs(show=True), Summary()
    predict(estimator, [str(walk)] * 2, show, summary)
    assert opened == [False] and summary.pictures < 50
    cv2.imwrite(str(tmp_path / "a.png"), picture(3))
    (tmp_path / "b.png").write_bytes(b"bad")
    opened.clear()
    summary = Summary()
    predict(estimator, [str(tmp_path), str(walk)], show, summary, warn=lambda line: None)
    assert opened == [True] and summary.pictures == 1


def test_an_interrupt_finishes_the_files(tmp_path, walk, estimator):
    class Interrupted(BrightestPixel):
        def __call__(self, image):
            if len(self.seen) == 10:
                raise KeyboardInterrupt
            return super().__call__(image)

    summary = Summary()
    with pytest.raises(KeyboardInterrupt):
        predict(Interrupted(), [str(walk)], Outputs(str(tmp_path / "out"), str(tmp_path / "a.json")), summary)
    assert summary.pictures == 10
    assert len(frames(tmp_path / "out" / "walk.mp4")) == 10 and len(list(read_poses(tmp_path / "a.json"))) == 10


def test_a_writer_that_fails_ends_it_and_keeps_what_was_done(tmp_path, walk, estimator):
    def draw(image, poses):
        if len(estimator.seen) > 12:
            raise OSError(28, "No space left on device", "drawing")
        return image

    with pytest.raises(OSError, match="No space"):
        predict(estimator, [str(walk)], Outputs(str(tmp_path / "out"), draw=draw), Summary())
    assert 1 <= len(frames(tmp_path / "out" / "walk.mp4")) <= 12


def test_a_video_that_breaks_off_is_a_problem_and_its_part_is_kept(tmp_path, walk, estimator, monkeypatch):
    read = Capture.__iter__

    def broken(self):
        for frame in read(self):
            if frame.index == 9:
                self.problem = "walk.mp4: ended after 9 of 25 frames"
                return
            yield frame

    monkeypatch.setattr(Capture, "__iter__", broken)
    summary = Summary()
    predict(estimator, [str(walk)], Outputs(str(tmp_path / "out")), summary)
    assert summary.problems == ["walk.mp4: ended after 9 of 25 frames"]
    assert len(frames(tmp_path / "out" / "walk.mp4")) == 9


def test_one_bad_video_of_several_is_left_out(tmp_path, walk, estimator):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"x" * 1000)
    said, summary = [], Summary()
    predict(estimator, [str(bad), str(walk)], Outputs(), summary, warn=said.append)
    assert summary.pictures == 25 and summary.problems == [f"{bad} could not be opened"]
    assert said[0].startswith(f"skipped: {bad}: no video")
    with pytest.raises(DataError, match="no video"):
        predict(estimator, [str(bad)], Outputs(), Summary())
    with pytest.raises(UsageError, match=r"gone\.mp4: no such file"):
        predict(estimator, [str(walk), str(tmp_path / "gone.mp4")], Outputs(), Summary())


def test_drawings_do_not_replace_the_originals(tmp_path, walk, estimator):
    with pytest.raises(UsageError, match="would write over"):
        predict(estimator, [str(walk)], Outputs(str(tmp_path)), Summary())
    assert len(frames(walk)) == 25


def test_everybody_is_covered_those_of_a_low_score_too(tmp_path, walk, estimator):
    class Doubtful(BrightestPixel):
        def __call__(self, image):
            poses = super().__call__(image)
            return Poses(poses.keypoints, np.array([0.1]), poses.keypoint_set, poses.image_size).above(self.min_score)

    def cover(image, poses):
        assert len(poses) == 1
        return np.zeros_like(image)

    summary = Summary()
    predict(Doubtful(), [str(walk)], Outputs(str(tmp_path / "out"), cover=cover), summary)
    assert summary.people == 0
    assert max(frame.image.max() for frame in frames(tmp_path / "out" / "walk.mp4")) < 20


def test_no_screen_is_said(walk, estimator, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(EhrnetError, match="there is no screen"):
        predict(estimator, [str(walk)], Outputs(show=True), Summary())


def test_memory_does_not_grow_with_the_video():
    class Endless:
        left = 400

        def get(self, what):
            return 25.0 if what == cv2.CAP_PROP_FPS else 0.0

        def read(self):
            self.left -= 1
            return self.left >= 0, picture(self.left) if self.left >= 0 else None

        def release(self):
            pass

    made = []

    class Watching(BrightestPixel):
        def __call__(self, image):
            made.append(weakref.ref(image))
            return super().__call__(image)

    most = 0
    with Stream(Watching(), Capture(Endless(), "endless", live=False)) as stream:
        for _ in stream:
            most = max(most, sum(image() is not None for image in made))
    assert len(made) == 400 and most < 10


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])
def test_drawing_later_gives_the_same_pictures(tmp_path, walk, estimator, suffix):
    poses = tmp_path / f"poses{suffix}"
    cv2.imwrite(str(tmp_path / "photo.png"), picture(5))
    outputs = Outputs(str(tmp_path / "now"), str(poses))
    predict(estimator, [str(tmp_path / "photo.png"), str(walk)], outputs, Summary())
    assert redraw(poses, tmp_path / "later") == 26
    now, later = frames(tmp_path / "now" / "walk.mp4"), frames(tmp_path / "later" / "walk.mp4")
    assert len(now) == len(later) == 25
    for a, b in zip(now, later, strict=True):
        assert np.abs(a.image.astype(int) - b.image).mean() < 1
    np.testing.assert_array_equal(
        cv2.imread(str(tmp_path / "now" / "photo.png")), cv2.imread(str(tmp_path / "later" / "photo.png"))
    )


def test_drawing_on_what_has_moved(tmp_path, walk, estimator):
    poses = tmp_path / "poses.jsonl"
    predict(estimator, [str(walk)], Outputs(json=str(poses)), Summary())
    moved = walk.rename(tmp_path / "moved.mp4")
    with pytest.raises(UsageError, match=r"walk\.mp4: no such file"):
        redraw(poses, tmp_path / "out")
    assert redraw(poses, tmp_path / "out", str(moved)) == 25
    other = write_video(tmp_path / "other.mp4", count=5)
    with pytest.raises(DataError, match=r"has 5 frames, and there are poses of frame 5"):
        redraw(poses, tmp_path / "out", str(other))
    small = write_video(tmp_path / "small.mp4", size=(32, 64))
    with pytest.raises(DataError, match="is 64x32, its poses were found in 64x48"):
        redraw(poses, tmp_path / "out", str(small))


def test_a_stream_in_python(walk, estimator):
    with Stream(estimator, walk) as stream:
        for frame, poses in stream:
            assert poses.ids.tolist() == [0] and frame.image.shape == (48, 64, 3)
            if frame.index == 3:
                break
    assert len(estimator.seen) == 4
