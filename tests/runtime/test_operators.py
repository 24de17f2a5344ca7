import warnings

import pytest

from ehrnet_tf.errors import ModelFileError
from ehrnet_tf.runtime import operators
from ehrnet_tf.runtime.operators import delegate_partitions, float_operators, float_ops, open_plain, tflite_ops


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A float file of two stretches that XNNPACK takes over, with a cumulated sum between them; pixels in."""
    import tensorflow as tf

    def compute(image):
        x = tf.cast(image, tf.float32)
        x = tf.abs(x * 3.0, name="first")
        x = tf.cumsum(x, axis=1, name="between")
        return {"found": tf.sqrt(x + 2.0, name="second"), "best": tf.argmax(x, axis=1, output_type=tf.int32)}

    path = tmp_path_factory.mktemp("models") / "chain.tflite"
    function = tf.function(compute, input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.uint8, "image")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
        path.write_bytes(converter.convert())
    return path


@pytest.fixture(scope="module")
def unknown_operator(chain, tmp_path_factory):
    """The same file with an operator that no interpreter knows."""
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import Builder

    model = schema.ModelT.InitFromPackedBuf(chain.read_bytes(), 0)
    (code,) = (code for code in model.operatorCodes if code.builtinCode == schema.BuiltinOperator.CUMSUM)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "Mystery"
    for operator in model.subgraphs[0].operators:
        if model.operatorCodes[operator.opcodeIndex] is code:
            operator.builtinOptionsType, operator.builtinOptions = 0, None
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path_factory.mktemp("models") / "mystery.tflite"
    path.write_bytes(bytes(builder.Output()))
    return path


def test_operators_by_type(chain):
    assert tflite_ops(chain) == {"CAST": 1, "MUL": 1, "ABS": 1, "CUMSUM": 1, "ADD": 1, "SQRT": 1, "ARG_MAX": 1}


def test_the_most_frequent_come_first(tflite_file):
    for ops in (tflite_ops(tflite_file), float_ops(tflite_file)):
        assert next(iter(ops)) == "CONV_2D"
        assert list(ops.values()) == sorted(ops.values(), reverse=True)


def test_float_operators_have_floats_on_both_sides(chain):
    """Not CAST, which takes integers, nor ARG_MAX, which gives them."""
    found = float_operators(chain)
    assert [kind for kind, _ in found if kind != "CUMSUM"] == ["MUL", "ABS", "ADD", "SQRT"]
    assert {"first", "between"} <= {name for _, name in found}
    assert float_ops(chain) == dict.fromkeys(("MUL", "ABS", "CUMSUM", "ADD", "SQRT"), 1)


def test_a_float16_files_weights_count(tiny_model, tmp_path):
    from ehrnet_tf.converters.tflite import export_tflite

    export_tflite(tiny_model, tmp_path / "half.tflite", "float16")
    ops = tflite_ops(tmp_path / "half.tflite")
    assert ops["DEQUANTIZE"] > 1
    assert float_ops(tmp_path / "half.tflite")["DEQUANTIZE"] == ops["DEQUANTIZE"]


def test_what_xnnpack_leaves_out(chain):
    """The operators that are still run by themselves are those whose outputs the interpreter has memory for."""
    number, outside = delegate_partitions(chain)
    assert number == 2
    assert sorted(outside) == ["ARG_MAX", "CAST", "CUMSUM"]

    interpreter = operators.open_interpreter(chain)
    interpreter.allocate_tensors()
    listed = interpreter._get_ops_details()
    given = {index for op in listed if op["op_name"] == "DELEGATE" for index in op["outputs"]}

    def has_memory(index):
        try:
            interpreter.get_tensor(index)
        except ValueError:
            return False
        return True

    alone = [op["op_name"] for op in listed if op["outputs"][0] not in given and has_memory(op["outputs"][0])]
    assert alone == outside


def test_a_build_without_xnnpack(chain, monkeypatch):
    ops, without = tflite_ops(chain), open_plain(chain)
    monkeypatch.setattr(operators, "open_interpreter", lambda path: without)
    number, outside = delegate_partitions(chain)
    assert number == 0
    assert sorted(outside) == sorted(ops)


def test_an_operator_that_the_interpreter_does_not_know(unknown_operator):
    assert tflite_ops(unknown_operator)["Mystery"] == 1
    with pytest.raises(
        ModelFileError, match=r"mystery\.tflite: the TFLite interpreter cannot run it \(.*Mystery"
    ) as error:
        delegate_partitions(unknown_operator)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [tflite_ops, float_operators, delegate_partitions])
@pytest.mark.parametrize("keep", [0, 400, 0.5])
def test_truncated_file(chain, tmp_path, read, keep):
    content, path = chain.read_bytes(), tmp_path / "cut.tflite"
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(ModelFileError, match=r"cut\.tflite: not a whole TFLite file"):
        read(path)
