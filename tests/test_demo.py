"""The demo's whole chain, with few pictures and a network of a few layers."""

import pytest

from ehrnet_tf import demo
from ehrnet_tf.errors import UsageError
from ehrnet_tf.runtime import read_metadata
from ehrnet_tf.training import train as training


def test_every_link_runs_and_the_table_is_printed(tmp_path, monkeypatch, capsys, build_tiny):
    monkeypatch.setattr(training, "build_model", lambda config: build_tiny())
    monkeypatch.setattr(demo, "TRAIN_PICTURES", 6)
    monkeypatch.setattr(demo, "VAL_PICTURES", 3)
    out = tmp_path / "demo"
    small = ["model.input_size=64", "train.batch_size=2", "train.epochs=1", "train.steps_per_epoch=2"]
    table = demo.run(out, small)
    assert set(table) == {"Keras float32", "TFLite int8"}
    assert all(0 <= row["AP"] <= 1 and row["ms"] > 0 and row["megabytes"] > 0 for row in table.values())
    printed = capsys.readouterr().out
    for part in ("6/6", "Keras float32", "TFLite int8", "ms a picture", "overview.png", "letterbox to 64x64"):
        assert part in printed
    assert len(list((out / "pictures").glob("0*.png"))) == 3
    assert read_metadata(out / "int8.tflite")["precision"] == "int8"

    with pytest.raises(UsageError, match="exists already"):
        demo.run(out)
