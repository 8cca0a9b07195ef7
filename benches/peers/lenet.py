"""Our LeNet for the peers: the weights that the program carries, as NumPy arrays, as a plain forward pass, as an ONNX model."""

import json
from pathlib import Path

import numpy as np

WEIGHTS = Path(__file__).parents[2] / "weights" / "lenet-mnist.safetensors"
INPUT_SCALE = np.float32(1 / 256)


def weights(path=WEIGHTS):
    """Name to array. A safetensors file is the length of its header in 8 bytes, the header in JSON, the numbers."""
    data = Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, about in json.loads(data[8:start]).items():
        if name != "__metadata__":
            assert about["dtype"] == "F32", name
            first, last = about["data_offsets"]
            values = np.frombuffer(data[start + first : start + last], "<f4")
            tensors[name] = values.reshape(about["shape"])
    return tensors


def forward(w, images):
    """Probabilities of images (batch, 1, 28, 28), already scaled, in f64: what the peers' are compared with."""

    def conv(x, name):
        windows = np.lib.stride_tricks.sliding_window_view(x, (5, 5), axis=(2, 3))
        return np.einsum("bchwij,ocij->bohw", windows, w[f"{name}.weight"]) + w[f"{name}.bias"][:, None, None]

    def pool(x):
        b, c, h, width = x.shape
        return x.reshape(b, c, h // 2, 2, width // 2, 2).max((3, 5))

    x = pool(conv(images.astype(np.float64), "conv1"))
    x = pool(conv(x, "conv2")).reshape(len(images), -1)
    x = np.maximum(x @ w["fc1.weight"].T + w["fc1.bias"], 0)
    x = x @ w["fc2.weight"].T + w["fc2.bias"]
    x = np.exp(x - x.max(1, keepdims=True))
    return x / x.sum(1, keepdims=True)


def onnx_model(w):
    """The same network as the bytes of an ONNX model, from `images` (batch, 1, 28, 28) to `probabilities` (batch, 10)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    chain = [
        ("Conv", "conv1", {"kernel_shape": [5, 5]}),
        ("MaxPool", None, {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Conv", "conv2", {"kernel_shape": [5, 5]}),
        ("MaxPool", None, {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Flatten", None, {"axis": 1}),
        ("Gemm", "fc1", {"transB": 1}),
        ("Relu", None, {}),
        ("Gemm", "fc2", {"transB": 1}),
        ("Softmax", None, {"axis": 1}),
    ]
    nodes, value = [], "images"
    for i, (operator, layer, attributes) in enumerate(chain):
        parameters = [f"{layer}.weight", f"{layer}.bias"] if layer else []
        output = "probabilities" if i == len(chain) - 1 else f"value{i}"
        nodes.append(helper.make_node(operator, [value, *parameters], [output], **attributes))
        value = output
    graph = helper.make_graph(
        nodes,
        "lenet",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 1, 28, 28])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(array.copy(), name) for name, array in w.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()
