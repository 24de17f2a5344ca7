"""What tests of converters share: a painted network (tests/painted.py), and a look into flatbuffers."""

import pytest

from ehrnet_tf.runtime.metadata import model_metadata, save_keras
from ehrnet_tf.runtime.runners import KerasRunner
from painted import SET, paint


@pytest.fixture(scope="session")
def model(build_tiny):
    return paint(build_tiny(keypoints=len(SET)))


@pytest.fixture(scope="session")
def metadata(model):
    return model_metadata(model, keypoints=SET)


@pytest.fixture(scope="session")
def runner(model, metadata):
    return KerasRunner(model, metadata=metadata)


@pytest.fixture(scope="session")
def keras_file(model, metadata, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.keras"
    save_keras(model, path, metadata)
    return path


@pytest.fixture(scope="session")
def unused():
    def find(content):
        """Names of the operators of a flatbuffer of whose outputs none is used."""
        from ai_edge_litert import schema_py_generated as schema

        model = schema.ModelT.InitFromPackedBuf(content, 0)
        (graph,) = model.subgraphs
        used = {index for operator in graph.operators for index in operator.inputs} | set(graph.outputs)
        return [operator.opcodeIndex for operator in graph.operators if not used & set(operator.outputs)]

    return find
