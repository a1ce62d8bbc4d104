"""What the page's graphs are made of."""

import numpy as np
import onnx
import onnxruntime

from cirp.explorer import page


def test_weights_that_half_holds_exactly_are_stored_in_half_and_compute_the_same():
    rng = np.random.default_rng(0)
    exact = rng.standard_normal((16, 32)).astype(np.float16).astype(np.float32)
    inexact = rng.standard_normal((32, 16)).astype(np.float32)
    few = np.float32([[0.5]])
    weights = {"a": exact, "b": inexact, "c": few}
    info = onnx.helper.make_tensor_value_info
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "a"], ["h"]),
        onnx.helper.make_node("MatMul", ["h", "b"], ["g"]),
        onnx.helper.make_node("Mul", ["g", "c"], ["y"]),
    ]
    graph = onnx.helper.make_graph(
        nodes, "two layers",
        [info("x", onnx.TensorProto.FLOAT, [1, 16])], [info("y", onnx.TensorProto.FLOAT, [1, 16])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    plain = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    plain.ir_version = 9
    small = page.halved(onnx.ModelProto.FromString(plain.SerializeToString()))
    onnx.checker.check_model(small)
    x = rng.standard_normal((1, 16)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(one.SerializeToString()).run(None, {"x": x})[0]
        for one in (plain, small)
    )
    assert (before == after).all()
    kinds = {one.name: one.data_type for one in small.graph.initializer}
    half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    assert kinds == {"a.half": half, "b": full, "c": full}
