"""The file from which an evaluation that was stopped goes on."""

import json

import pytest

from ehrnet_tf.evaluation.progress import Progress, checksum

WHAT = {"model": 1, "settings": {"threshold": 0.1}}
RESULTS = [{"image_id": 7, "keypoints": [1.125, 0.1, 0.3], "score": 0.1 + 0.2}]


def begun(path, what=WHAT):
    progress = Progress(path, what)
    progress.add(7, RESULTS)
    progress.add("a/b.jpg", [])
    progress.close()
    return path


def test_a_new_file_knows_nothing(tmp_path):
    progress = Progress(tmp_path / "deep" / "er" / "p.part", WHAT)
    assert progress.done == {}
    progress.close()
    assert (tmp_path / "deep" / "er" / "p.part").is_file()


def test_what_was_done_comes_back_exactly(tmp_path):
    again = Progress(begun(tmp_path / "p.part"), WHAT)
    assert again.done == {7: RESULTS, "a/b.jpg": []}
    again.close()


def test_results_are_in_the_file_at_once(tmp_path):
    progress = Progress(tmp_path / "p.part", WHAT)
    progress.add(7, RESULTS)
    header, line = (tmp_path / "p.part").read_text().splitlines()
    assert json.loads(line) == {"image_id": 7, "results": RESULTS}
    assert json.loads(header) == {"evaluation": WHAT}
    progress.close()


def test_it_goes_on_behind_what_is_there(tmp_path):
    path = begun(tmp_path / "p.part")
    second = Progress(path, WHAT)
    second.add(8, RESULTS)
    second.close()
    third = Progress(path, WHAT)
    third.close()
    assert list(third.done) == [7, "a/b.jpg", 8]
    assert len(path.read_text().splitlines()) == 4


@pytest.mark.parametrize("kept", [1, 2, 14, 30, -3, -2, -1])
def test_a_line_that_was_cut_off_is_done_again(kept, tmp_path):
    path = begun(tmp_path / "p.part")
    *lines, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines) + last[:kept])  # -1: all but the end of the line
    again = Progress(path, WHAT)
    assert list(again.done) == [7]
    again.add(9, RESULTS)
    again.close()
    third = Progress(path, WHAT)
    third.close()
    assert list(third.done) == [7, 9]


@pytest.mark.parametrize("damage", [b"\x00\xff\xfe\n", b"no json\n", b'{"image_id": 3}\n', b"[]\n", b"3\n"])
def test_nothing_behind_a_damaged_line_is_believed(damage, tmp_path):
    path = begun(tmp_path / "p.part")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + damage + lines[2])
    again = Progress(path, WHAT)
    again.close()
    assert list(again.done) == [7]
    assert path.read_bytes() == lines[0] + lines[1]


@pytest.mark.parametrize("what", [{"model": 2, "settings": {"threshold": 0.1}}, {"model": 1}, {}])
def test_another_evaluation_begins_anew(what, tmp_path):
    path = begun(tmp_path / "p.part")
    other = Progress(path, what)
    assert other.done == {}
    other.add(1, [])
    other.close()
    again = Progress(path, what)
    again.close()
    assert again.done == {1: []}
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize("content", [b"", b"something else\n", b"\xff" * 300, b'{"evaluation": {"model": 1'])
def test_any_other_file_begins_anew(content, tmp_path):
    path = tmp_path / "p.part"
    path.write_bytes(content)
    progress = Progress(path, WHAT)
    assert progress.done == {}
    progress.add(7, RESULTS)
    progress.close()
    again = Progress(path, WHAT)
    again.close()
    assert again.done == {7: RESULTS}


def test_the_order_of_what_does_not_matter(tmp_path):
    again = Progress(begun(tmp_path / "p.part"), dict(reversed(WHAT.items())))
    again.close()
    assert len(again.done) == 2


def test_it_is_removed_when_all_is_done(tmp_path):
    progress = Progress(begun(tmp_path / "p.part"), WHAT)
    progress.close(remove=True)
    assert not list(tmp_path.iterdir())
    progress.close(remove=True)


def test_checksums(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"x" * 3_000_000)
    second.write_bytes(b"x" * 3_000_000)
    assert checksum(first) == checksum(str(second)) is not None
    for position in (0, 1_500_000, 2_999_999):
        second.write_bytes(b"x" * position + b"y" + b"x" * (2_999_999 - position))
        assert checksum(first) != checksum(second)
    assert checksum(tmp_path / "none") is None


def test_checksums_of_folders(tmp_path):
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "data").write_bytes(b"1")
    before = checksum(folder)
    assert before == checksum(folder) is not None
    (folder / "variables" / "data").write_bytes(b"2")
    assert checksum(folder) not in (before, None)
    (folder / "variables" / "data").write_bytes(b"1")
    assert checksum(folder) == before
