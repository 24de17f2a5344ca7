import json

import pytest

from ehrnet_tf.files import atomic_folder, atomic_path, check_writable, write_json


def test_success_replaces_failure_keeps(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_suffix_and_mode(tmp_path):
    with atomic_path(tmp_path / "x.keras") as temporary:
        assert temporary.suffix == ".keras"
        temporary.write_bytes(b"1")
    assert (tmp_path / "x.keras").stat().st_mode & 0o044 == 0o044


def test_errors_name_the_file_that_was_asked_for(tmp_path):
    (tmp_path / "file").write_text("x")
    path = tmp_path / "file" / "a.json"
    for attempt in (lambda: write_json(path, 1), lambda: check_writable(path)):
        with pytest.raises(OSError, match=r"Not a directory|File exists") as error:
            attempt()
        assert error.value.filename == str(path)
    with pytest.raises(IsADirectoryError) as error:
        check_writable(tmp_path)
    assert error.value.filename == str(tmp_path)
    check_writable(tmp_path / "new" / "b.json")
    assert not (tmp_path / "new" / "b.json").exists() and list((tmp_path / "new").iterdir()) == []


def test_a_folder_is_there_whole_or_not(tmp_path):
    out = tmp_path / "deep" / "model"
    with pytest.raises(RuntimeError), atomic_folder(out) as folder:
        (folder / "half").write_text("x")
        raise RuntimeError
    assert list(out.parent.iterdir()) == []
    with atomic_folder(out) as folder:
        (folder / "whole").write_text("x")
        assert not out.exists()
    assert [p.name for p in out.iterdir()] == ["whole"] and list(out.parent.iterdir()) == [out]
    with pytest.raises(FileExistsError) as error, atomic_folder(out):
        pass
    assert error.value.filename == str(out)
