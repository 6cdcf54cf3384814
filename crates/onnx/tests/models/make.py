#!/usr/bin/env python3
"""Writes the small graphs of the tests, a few hundred bytes each.

Install ../../export/requirements.txt, then `python make.py`; with --check it compares the files with what it would write.
Each state is a pair of numbers; the comments say what a row gives.
"""

import argparse
import pathlib
import sys

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

F16, F32, F64, I64 = TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64
AXES = ("axes", np.array([1]))


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def graph(inputs, outputs, nodes, constants=(), domains=()):
    """Inputs and outputs as (name, type, shape)."""
    values = [numpy_helper.from_array(value, name) for name, value in constants]
    ports = [[helper.make_tensor_value_info(*port) for port in ports] for ports in (inputs, outputs)]
    opsets = [helper.make_opsetid("", 17)] + [helper.make_opsetid(domain, 1) for domain in domains]
    model = helper.make_model(helper.make_graph(nodes, "test", *ports, values), opset_imports=opsets, ir_version=8)
    if not domains:
        checker.check_model(model, full_check=True)
    return model


def times(kind=F32, rows="N"):
    """x t, with one time per row."""
    ports = [("x", kind, [rows, 2]), ("t", kind, [rows])], [("y", kind, [rows, 2])]
    return graph(*ports, [node("Unsqueeze", "t axes", "u"), node("Mul", "x u", "y")], [AXES])


X, Y = ("x", F32, ["N", 2]), ("y", F32, ["N", 2])
T, U = ("t", F32, ["N"]), node("Unsqueeze", "t axes", "u")
TABLE = ("table", np.array([1.0, 10.0, 100.0], np.float32))
OFFSETS = ("offsets", np.array([[1, 2], [3, 4], [5, 6]], np.float32))

MODELS = {
    # x t
    "times": times(),
    "half": times(F16),
    "double": times(F64),
    "four": times(rows=4),
    "column": graph([X, ("t", F32, ["N", 1])], [Y], [node("Mul", "x t", "y")]),
    "scalar": graph([X, ("t", F32, [])], [Y], [node("Mul", "x t", "y")]),
    "image": graph(
        [("x", F32, ["N", 1, "h", "w"]), ("t", F32, ["N", 1, 1, 1])],
        [("y", F32, ["N", 1, "h", "w"])],
        [node("Mul", "x t", "y")],
    ),
    # x times 1, 10 or 100
    "index": graph(
        [X, ("t", I64, ["N"])],
        [Y],
        [node("Gather", "table t", "g"), node("Unsqueeze", "g axes", "u"), node("Mul", "x u", "y")],
        [TABLE, AXES],
    ),
    # x t + (1, 2), (3, 4) or (5, 6)
    "label": graph(
        [X, T, ("label", I64, ["N"])],
        [Y],
        [U, node("Mul", "x u", "m"), node("Gather", "offsets label", "g"), node("Add", "m g", "y")],
        [OFFSETS, AXES],
    ),
    # x t + scale context, and -x
    "context": graph(
        [X, T, ("context", F32, ["N", 2]), ("scale", F32, [])],
        [("other", F32, ["N", 2]), Y],
        [
            U,
            node("Neg", "x", "other"),
            node("Mul", "x u", "m"),
            node("Mul", "context scale", "c"),
            node("Add", "m c", "y"),
        ],
        [AXES],
    ),
    # x plus the mean over the rows
    "mean": graph([X], [Y], [node("ReduceMean", "x", "m", axes=[0]), node("Add", "x m", "y")]),
    # what cannot be a score: three numbers a row, whole numbers, an operator of nobody
    "three": graph([X], [("y", F32, ["N", 3])], [node("MatMul", "x w", "y")], [("w", np.ones((2, 3), np.float32))]),
    "whole": graph([("x", I64, ["N", 2])], [("y", I64, ["N", 2])], [node("Neg", "x", "y")]),
    "unknown": graph([X], [Y], [node("Nothing", "x", "y", domain="nobody")], domains=["nobody"]),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file differs")
    check, folder = parser.parse_args().check, pathlib.Path(__file__).parent
    for name, model in MODELS.items():
        file, content = folder / f"{name}.onnx", model.SerializeToString(deterministic=True)
        if not check:
            file.write_bytes(content)
        elif not file.exists() or file.read_bytes() != content:
            sys.exit(f"{file} is not what make.py writes")
    if {file.stem for file in folder.glob("*.onnx")} != set(MODELS):
        sys.exit("there are graphs that make.py does not write")


if __name__ == "__main__":
    main()
