"""Our layer lists for the peers: a list and its weights as the bytes of an ONNX model, and what our program makes of an image.

Weights are those of `pareidolia weights random LIST --seed 1`, which `pareidolia bench` has too.
"""

import json
import subprocess
import tomllib
import zlib
from pathlib import Path

import numpy as np

from lenet import weights

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "target" / "release" / "pareidolia"


def read(name):
    return tomllib.loads((ROOT / "src" / "network" / "lists" / f"{name}.toml").read_text())


def random_weights(name, folder):
    """The file of a list's random weights."""
    file = Path(folder) / f"{name}.safetensors"
    command = [PROGRAM, "weights", "random", name, "--seed", "1", "--out", file, "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return file


def channels(of):
    return 1 if of["channel_order"] == "grey" else 3


def size(of):
    """Height and width of what the network sees."""
    return of.get("crop", of["image"])


def mean_and_scale(of):
    """Each (channels, 1, 1), in the network's order."""
    mean = np.array(of.get("mean", [0, 0, 0]), np.float32)
    scale = np.broadcast_to(np.array(of.get("scale", 1), np.float32), 3)
    return mean[:, None, None], scale[:, None, None]


def preprocessed(of, image):
    """What the network sees of `image`, (height, width, RGB) bytes: (1, channels, height, width) f32."""
    planes = image.transpose(2, 0, 1).astype(np.float32)
    planes = planes[::-1] if of["channel_order"] == "BGR" else planes
    mean, scale = mean_and_scale(of)
    return np.ascontiguousarray((planes - mean) * scale)[None]


def test_image(of, rng):
    """An image, (height, width, RGB) bytes, of which the network sees numbers about 0 with deviation 1: of random weights the
    logits are then so small that no probability is 0."""
    mean, scale = mean_and_scale(of)
    planes = mean + rng.standard_normal((3, size(of), size(of)), dtype=np.float32) / scale
    planes = planes[::-1] if of["channel_order"] == "BGR" else planes
    return np.clip(np.round(planes), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def png(image):
    """The bytes of a PNG file of `image`, (height, width, RGB) bytes."""

    def chunk(kind, data):
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    height, width, _ = image.shape
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    rows = b"".join(b"\0" + row.tobytes() for row in image)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def ours(weights_file, image, folder):
    """The probabilities that our program gives `image`."""
    file = Path(folder) / "image.png"
    file.write_bytes(png(image))
    command = [PROGRAM, "classify", file, "--weights", weights_file, "--device", "cpu", "--top", "65536", "--json", "--quiet"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    probabilities = np.zeros(len(report[0]["top"]))
    for label in report[0]["top"]:
        probabilities[label["class"]] = label["probability"]
    return probabilities


def onnx_model(of, file):
    """The network of the list `of` with the weights in `file`, from `images` (batch, channels, height, width), preprocessed, to
    `probabilities` (batch, classes)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    tensors = weights(file)
    nodes, flat, previous, value_of = [], set(), "images", {"input": "images"}

    def pool(layer, **more):
        side = layer["kernel"]
        return dict(
            kernel_shape=[side] * 2,
            strides=[layer.get("stride", 1)] * 2,
            pads=[layer.get("padding", 0)] * 4,
            ceil_mode=int(layer["rounding"] == "ceil"),
            **more,
        )

    for layer in of["layers"]:
        name, kind = layer["name"], layer["type"]
        inputs = [value_of[of_layer] for of_layer in layer["inputs"]] if "inputs" in layer else [previous]
        parameters = [f"{name}.weight", f"{name}.bias"]
        output = "probabilities" if layer is of["layers"][-1] else f"value_{name}"
        if kind in ("dense", "softmax") and inputs[0] not in flat:
            nodes.append(helper.make_node("Flatten", inputs, [f"flat_{name}"], axis=1))
            inputs = [f"flat_{name}"]
        match kind:
            case "convolution":
                side = layer["kernel"]
                how = dict(kernel_shape=[side] * 2, strides=[layer.get("stride", 1)] * 2)
                how |= dict(pads=[layer.get("padding", 0)] * 4, group=layer.get("groups", 1))
                node = helper.make_node("Conv", inputs + parameters, [output], **how)
            case "relu":
                node = helper.make_node("Relu", inputs, [output])
            case "max-pool":
                node = helper.make_node("MaxPool", inputs, [output], **pool(layer))
            case "average-pool":
                padding = int(layer.get("count_padding", False))
                node = helper.make_node("AveragePool", inputs, [output], **pool(layer, count_include_pad=padding))
            case "lrn":
                how = dict(size=layer["size"], alpha=layer["alpha"], beta=layer["beta"], bias=float(layer.get("k", 1)))
                node = helper.make_node("LRN", inputs, [output], **how)
            case "dense":
                node = helper.make_node("Gemm", inputs + parameters, [output], transB=1)
            case "concat":
                node = helper.make_node("Concat", inputs, [output], axis=1)
            case "softmax":
                node = helper.make_node("Softmax", inputs, [output], axis=1)
        if kind == "dense" or inputs[0] in flat:
            flat.add(output)
        nodes.append(node)
        value_of[name] = previous = output
    graph = helper.make_graph(
        nodes,
        of["name"],
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", channels(of), size(of), size(of)])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", of["classes"]])],
        [numpy_helper.from_array(array.copy(), name) for name, array in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()
