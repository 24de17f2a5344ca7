"""Runs a .tflite file for the app's tests: LiteRT has no Java library for computers, but one for Python.

    python litert_server.py MODEL THREADS

First one line of JSON: the names, dtypes and shapes of the signature's inputs and outputs. Then, again and again: the
bytes of the one input are read from standard input, and those of the outputs, in the order of their names, written.
"""

import json
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main(path, threads):
    runner = Interpreter(path, num_threads=int(threads)).get_signature_runner("serving_default")
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    described = {
        kind: {name: {"dtype": np.dtype(d["dtype"]).name, "shape": d["shape"].tolist()} for name, d in details.items()}
        for kind, details in (("inputs", inputs), ("outputs", outputs))
    }
    answer = sys.stdout.buffer
    answer.write(json.dumps(described).encode() + b"\n")
    answer.flush()
    ((name, detail),) = inputs.items()
    size = int(np.prod(detail["shape"])) * np.dtype(detail["dtype"]).itemsize
    while len(content := sys.stdin.buffer.read(size)) == size:
        found = runner(**{name: np.frombuffer(content, detail["dtype"]).reshape(detail["shape"])})
        for output in sorted(found):
            answer.write(found[output].tobytes())
        answer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
