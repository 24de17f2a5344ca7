"""Two flatbuffers made one."""

import numpy as np
import pytest

from ehrnet_tf.converters.tflite_join import join


def convert(function, dtype=np.float32, **shapes):
    """A flatbuffer of a function of inputs of these names and shapes."""
    import tensorflow as tf

    specs = [tf.TensorSpec(shape, dtype, name) for name, shape in shapes.items()]
    function = tf.function(function, input_signature=specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
    return converter.convert()


@pytest.fixture(scope="module")
def halves():
    import tensorflow as tf

    first = convert(lambda image: {"double": 2 * image, "wave": tf.sin(image)}, image=(2, 3))
    second = convert(lambda image, double: {"sum": double + image, "top": tf.exp(double)}, image=(2, 3), double=(2, 3))
    return first, second


def run_flatbuffer(content, **inputs):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    operators = {details["op_name"] for details in interpreter._get_ops_details()}
    return interpreter.get_signature_runner()(**inputs), operators


def test_what_the_first_gives_feeds_the_second(halves, unused):
    joined = join(*halves)
    image = np.arange(6, dtype=np.float32).reshape(2, 3)
    outputs, operators = run_flatbuffer(joined, image=image)
    assert sorted(outputs) == ["sum", "top"]
    np.testing.assert_allclose(outputs["sum"], 3 * image)
    np.testing.assert_allclose(outputs["top"], np.exp(2 * image), rtol=1e-5)
    assert "SIN" not in operators and "EXP" in operators
    assert "SIN" in run_flatbuffer(halves[0], image=image)[1]
    assert unused(joined) == []


def test_an_output_goes_before_the_input_of_the_same_name():
    first = convert(lambda image: {"image": 2 * image}, image=(2, 3))
    second = convert(lambda image: {"sum": image + 1}, image=(2, 3))
    outputs, _ = run_flatbuffer(join(first, second), image=np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(outputs["sum"], np.full((2, 3), 3))


def test_what_does_not_fit_is_not_joined(halves):
    first, _ = halves
    with pytest.raises(ValueError, match="nothing called 'half' to feed; there are double, image, wave"):
        join(first, convert(lambda half: {"sum": half + 1}, half=(2, 3)))
    for shape, dtype in (((3, 2), np.float32), ((2, 3), np.int32), ((6,), np.float32)):
        with pytest.raises(ValueError, match=r"'double' is \[.*\] of type 0, not \["):
            join(first, convert(lambda double: {"sum": double + 1}, dtype, double=shape))
