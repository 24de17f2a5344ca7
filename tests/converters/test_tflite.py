import numpy as np
import pytest

from ehrnet_tf.converters import tflite
from ehrnet_tf.converters.tflite import PRECISIONS, check_integer, export_tflite
from ehrnet_tf.errors import EhrnetError, UsageError
from ehrnet_tf.runtime.metadata import read_metadata
from ehrnet_tf.runtime.operators import delegate_partitions, float_ops, tflite_ops
from ehrnet_tf.runtime.runners import KerasRunner, TFLiteRunner


def build(size=(64, 64), upsampling="transposed"):
    """A network of a few layers with the head of an EfficientHRNet; tags as wide as in a trained one, heat-maps not."""
    import keras

    from ehrnet_tf.models.head import head

    keras.utils.set_random_seed(0)
    image = keras.Input((*size, 3), name="image")
    x = keras.layers.Rescaling([4.4 / 255] * 3, [-2.1] * 3)(image)
    x = keras.layers.Conv2D(8, 4, strides=4, activation="swish")(x)
    model = keras.Model(image, head(x, 17, 8, upsampling), name="efficienthrnet_h-4")
    for name, factor in (("tags", 300), ("heatmaps_4", 60), ("heatmaps_2", 60)):
        layer = model.get_layer(f"head_{name}")
        layer.set_weights([factor * w for w in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture(scope="module")
def pictures():
    """Smooth pictures without black or white."""
    coarse = np.random.default_rng(0).integers(40, 200, (6, 8, 8, 3), dtype=np.uint8)
    return list(coarse.repeat(8, axis=1).repeat(8, axis=2))


@pytest.fixture(scope="module")
def exported(model, pictures, tmp_path_factory):
    """precision → path and report."""
    folder = tmp_path_factory.mktemp("exported")
    paths = {precision: folder / f"{precision}.tflite" for precision in PRECISIONS}
    return {p: (path, export_tflite(model, path, p, np.stack(pictures))) for p, path in paths.items()}


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("float32", 1e-4), ("float16", 2e-2), ("dynamic", None), ("int16x8", None), ("int8", None)],
)
def test_maps_follow_the_model(exported, model, pictures, precision, tolerance):
    path, report = exported[precision]
    runner = TFLiteRunner(path)
    images = np.stack(pictures)
    found, expected = runner(images), KerasRunner(model)(images)
    for name, values in found.items():
        difference = np.abs(values - expected[name])
        assert report["differences"][name]["max"] == pytest.approx(difference.max(), abs=1e-6)
        assert difference.mean() <= (tolerance or 0.02 * np.ptp(expected[name]))
    assert runner.precision == precision
    assert report["pictures"] == len(pictures)
    assert report["bytes"] == path.stat().st_size


def test_sizes_shrink(exported):
    sizes = {precision: report["bytes"] for precision, (_, report) in exported.items()}
    assert sizes["float32"] > sizes["float16"] > sizes["dynamic"]
    assert sizes["float16"] > sizes["int16x8"] and sizes["float16"] > sizes["int8"]


def test_int8_computes_in_integers(exported):
    path, report = exported["int8"]
    assert float_ops(path) == report["float_ops"] == {}
    assert report["ops"]["DEQUANTIZE"] == 3
    assert report["ops"]["TRANSPOSE_CONV"] == 1
    assert not {"SHAPE", "STRIDED_SLICE", "PACK"} & set(report["ops"])


def test_wide_activations_lie_closer(exported):
    path, report = exported["int16x8"]
    file = TFLiteRunner(path)
    assert float_ops(path) == {} and file.precision == "int16x8"
    inputs = file._interpreter.get_signature_runner().get_input_details()
    assert list(inputs) == ["image"], "a decoder is fed by this name"
    for name, difference in report["differences"].items():
        assert difference["mean"] < 0.5 * exported["int8"][1]["differences"][name]["mean"]


def test_int8_is_one_graph_under_xnnpack(pictures, tmp_path):
    report = export_tflite(build(upsampling="resize"), tmp_path / "int8.tflite", "int8", pictures)
    assert delegate_partitions(tmp_path / "int8.tflite") == (1, ["QUANTIZE"])
    assert report["ops"]["DEPTH_TO_SPACE"] == 1


def test_a_float_operator_in_an_integer_file_is_named(exported, model, pictures, tmp_path, monkeypatch):
    with pytest.raises(EhrnetError, match=r"out\.tflite: .*CONV_2D.* more would compute in float"):
        check_integer(exported["float32"][0], "out.tflite")
    check_integer(exported["int8"][0], "out.tflite")
    float32 = tflite._convert(model, (64, 64), "float32", [])
    monkeypatch.setattr(tflite, "_convert", lambda *arguments: float32)
    with pytest.raises(EhrnetError, match="would compute in float"):
        export_tflite(model, tmp_path / "out.tflite", "int8", pictures)
    assert list(tmp_path.iterdir()) == []


def test_tag_error_counts_in_thresholds(model, pictures, tmp_path):
    from ehrnet_tf.runtime.metadata import model_metadata

    wide = model_metadata(model)
    wide["decoder"] = {**wide["decoder"], "tag_threshold": 4.0}
    one = export_tflite(model, tmp_path / "1.tflite", "float16", pictures)["differences"]["tags"]
    other = export_tflite(model, tmp_path / "4.tflite", "float16", pictures, metadata=wide)["differences"]["tags"]
    assert 0 < one["mean_where_heat"] <= one["max_where_heat"]
    assert other["max_where_heat"] == pytest.approx(one["max_where_heat"] / 4)
    assert other["max"] == one["max"]


def test_int8_takes_raw_pixels_whatever_the_calibration_range(exported):
    assert TFLiteRunner(exported["int8"][0]).input_quantization == (1.0, 0)


def test_int8_heatmaps_are_not_rounded_in_the_steps_of_tags(exported, model, pictures):
    maps = TFLiteRunner(exported["int8"][0])(np.stack(pictures))
    steps = {name: np.diff(np.unique(values)).min() for name, values in maps.items()}
    assert steps["tags"] > 4 * steps["heatmaps_4"]


def test_ops_of_the_float_file(exported):
    ops = tflite_ops(exported["float32"][0])
    assert ops["TRANSPOSE_CONV"] == ops["CONCATENATION"] == 1
    assert not {"SHAPE", "STRIDED_SLICE", "PACK"} & set(ops)
    assert float_ops(exported["float32"][0])["CONV_2D"] == ops["CONV_2D"]


def test_metadata(exported):
    metadata = read_metadata(exported["int8"][0])
    assert metadata["precision"] == "int8"
    assert metadata["calibration"] == {"pictures": 6}
    assert metadata["input"]["height"] == 64
    assert metadata["keypoints"]["name"] == "coco"


def test_free_size_and_resize_operator(tmp_path):
    free = build((None, None), "resize")
    report = export_tflite(free, tmp_path / "free.tflite", input_size=(32, 64), metadata=None)
    assert TFLiteRunner(tmp_path / "free.tflite").input_size == (32, 64)
    assert report["differences"]["tags"]["max"] < 1e-3
    assert report["differences"]["heatmaps_2"]["max"] < 1e-3
    assert report["ops"]["RESIZE_NEAREST_NEIGHBOR"] == 1 and "TILE" not in report["ops"]
    assert "call" not in vars(free.get_layer("head_resize")), "the model is as it was"
    with pytest.raises(UsageError, match="multiples of 32"):
        export_tflite(free, tmp_path / "bad.tflite", input_size=100)


def test_unusable_arguments(model, tmp_path):
    out = tmp_path / "out.tflite"
    for precision in ("int8", "int16x8"):
        with pytest.raises(UsageError, match="calibration"):
            export_tflite(model, out, precision)
    with pytest.raises(UsageError, match="int8"):
        export_tflite(model, out, "int4")
    with pytest.raises(UsageError, match="uint8"):
        export_tflite(model, out, "int8", [np.zeros((32, 64, 3), np.uint8)])
    with pytest.raises(UsageError, match="fixed at 64x64"):
        export_tflite(model, out, input_size=96)
    assert list(tmp_path.iterdir()) == []
