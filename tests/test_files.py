import json

import pytest

from ehrnet_tf.files import atomic_path, write_json


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
