"""Where a .tflite file runs: XNNPACK, without it, and delegates."""

import shutil
import subprocess

import numpy as np
import pytest

from ehrnet_tf.errors import UsageError
from ehrnet_tf.runtime.runners import TFLiteRunner, open_runner

# A delegate that takes no operator: TfLiteDelegate is data, Prepare (0: kTfLiteOk), and then what may be 0.
DELEGATE = """
#include <stdlib.h>
static int prepare(void *context, void *delegate) { return 0; }
struct delegate { void *data; int (*prepare)(void *, void *); void *rest[16]; };
struct delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
  struct delegate *made = calloc(1, sizeof *made);
  made->prepare = prepare;
  return made;
}
void tflite_plugin_destroy_delegate(struct delegate *made) { free(made); }
"""


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)


def test_without_xnnpack_the_maps_are_the_same(tflite_file, images):
    plain = TFLiteRunner(tflite_file, device="plain")
    assert plain.device == "plain" and plain.describe().endswith("2 threads on plain")
    expected = open_runner(tflite_file, device="cpu")
    assert expected.device is None
    for name, values in plain(images).items():
        np.testing.assert_allclose(values, expected(images)[name], atol=1e-5)


def test_only_what_is_wanted_is_read(tflite_file, images):
    runner = TFLiteRunner(tflite_file)
    some = runner(images, ["tags"])
    assert list(some) == ["tags"]
    np.testing.assert_array_equal(some["tags"], runner(images)["tags"])


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_a_delegate_of_ones_own(tflite_file, images, tmp_path):
    source, library = tmp_path / "delegate.c", tmp_path / "libnone.so"
    source.write_text(DELEGATE)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    runner = open_runner(tflite_file, device=str(library))
    assert runner.device == str(library)
    np.testing.assert_allclose(runner(images)["tags"], TFLiteRunner(tflite_file)(images)["tags"], atol=1e-5)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", r"device 'gpu': the delegate libtensorflowlite_gpu_delegate\.so cannot be loaded .*LD_LIBRARY_PATH"),
        ("{tmp}/none.so", r"none\.so cannot be loaded"),
        ("npu", "device 'npu': TFLite runs on cpu, plain"),
    ],
)
def test_devices_that_are_not_there(tflite_file, tmp_path, device, message):
    with pytest.raises(UsageError, match=message) as error:
        TFLiteRunner(tflite_file, device=device.format(tmp=tmp_path))
    assert "\n" not in str(error.value)


def test_a_runtime_without_a_choice(keras_file):
    with pytest.raises(UsageError, match=r"device 'gpu': .*tiny\.keras runs in Keras, which has no such choice"):
        open_runner(keras_file, device="gpu")
