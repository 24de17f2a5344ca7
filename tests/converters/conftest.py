"""What tests of flatbuffers share."""

import pytest


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
