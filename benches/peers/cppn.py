"""CPPNs of 20 nodes, of the kind of `pareidolia bench render-20`, drawn by cppn.c; compared with NumPy."""

import ctypes
import subprocess
import tempfile
from pathlib import Path

import numpy as np

NODES, INPUTS, SIDE = 20, 4, 28


def genome(rng):
    """A list of (activation, [(source, weight)]), one a computing node in topological order, the output last and linear; as
    src/experiment/bench/yardstick.rs makes them."""
    nodes, last = [], NODES - 1
    for node in range(INPUTS, NODES):
        links = rng.choice([1, 2, 3, 4], p=[0.3, 0.35, 0.2, 0.15])
        sources = [int(source) for source in rng.choice(node, size=min(links, node), replace=False)]
        if INPUTS < node < last and rng.random() < 0.7 and node - 1 not in sources:
            sources[0] = node - 1
        nodes.append((3 if node == last else int(rng.integers(4)), [(source, weight(rng)) for source in sources]))
    for node in range(INPUTS, last):
        if not any(source == node for _, links in nodes for source, _ in links):
            nodes[int(rng.integers(node + 1, NODES)) - INPUTS][1].append((node, weight(rng)))
    return nodes


def weight(rng):
    return float(np.float32(rng.normal() * 1.5))


def inputs():
    side = np.linspace(-1, 1, SIDE)
    x, y = np.meshgrid(side, side)
    return np.stack([x, y, np.hypot(x, y), np.ones_like(x)]).reshape(INPUTS, -1).astype(np.float32)


def by_numpy(nodes, planes):
    values = list(planes.astype(np.float64))
    for activation, links in nodes:
        z = sum(values[source] * w for source, w in links)
        formulas = [np.sin, lambda z: 2 / (1 + np.exp(-z)) - 1, lambda z: np.exp(-z * z), lambda z: np.clip(z, -3, 3) / 3]
        values.append(formulas[activation](z))
    return values[-1]


class Interpreter:
    """cppn.c, compiled for this machine."""

    def __init__(self, genomes, threads):
        library = Path(tempfile.mkdtemp()) / "cppn.so"
        source = Path(__file__).with_name("cppn.c")
        flags = ["-O3", "-march=native", "-fopenmp", "-shared", "-fPIC"]
        subprocess.run(["cc", *flags, "-o", library, source], check=True)
        self.render = ctypes.CDLL(str(library)).render
        self.render.restype = None
        program, weights, offsets = [], [], []
        for nodes in genomes:
            offsets += [len(program), len(weights)]
            program.append(len(nodes))
            for activation, links in nodes:
                program += [activation, len(links), *(source for source, _ in links)]
                weights += [w for _, w in links]
        self.arrays = np.array(program, np.int32), np.array(weights, np.float32), np.array(offsets, np.int64)
        self.genomes, self.planes, self.threads = genomes, inputs(), threads
        self.images = np.empty((len(genomes), self.planes.shape[1]), np.float32)

    def __call__(self):
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in self.arrays]
        count, pixels = ctypes.c_int64(len(self.genomes)), ctypes.c_int64(self.planes.shape[1])
        planes, images = (array.ctypes.data_as(ctypes.c_void_p) for array in (self.planes, self.images))
        self.render(*pointers, count, planes, pixels, images, ctypes.c_int(self.threads))

    def check(self):
        self()
        for nodes, image in list(zip(self.genomes, self.images))[:32]:
            # Rounding is as much as the slopes of sixteen nodes in a row make of it, so most pixels count.
            off = np.quantile(np.abs(image - by_numpy(nodes, self.planes)), 0.9)
            if not off < 1e-3:
                raise SystemExit(f"cppn.c is off by {off} from the formula")
        return "images of 32 genomes, nine pixels of ten within 1e-3 of NumPy's"
