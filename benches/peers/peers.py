"""What one would use instead, measured as `pareidolia bench` measures: an object a line, of the same form.

    python peers.py classify              LeNet by onnxruntime
    python peers.py render                CPPNs of 20 nodes by a C program with AVX-512 (cppn.c), where the processor has it
    python peers.py networks              the networks of `pareidolia bench network` by onnxruntime and OpenVINO, the same weights
    python peers.py loop                  whole generations: NumPy + onnxruntime, and pyribs + onnxruntime
    python peers.py run                   200 generations of 200, from the start of the process to its end
    python peers.py one-run numpy|ribs    the process that `run` starts

    --threads N    cores and threads [2]        --seconds S    how long a line is timed [1]
    --network NAME which of the networks; may be repeated [all]

All that evolve have genomes of 784 pixels, the direct encoding, and our weights. `numpy` is what one writes oneself: polynomial
mutation of a tenth of the genes, every child against every class. `ribs` is pyribs with a Gaussian emitter and a grid of ten cells,
a child competing in the class it is taken for. Our images' conversion to f32 is left out of `classify` and `networks` here, which
favours the peers.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SAMPLES = 21
GENERATIONS = BATCH = 200
RUNS = 3  # of a process, in a round


def pin(n):
    """As many cores and threads as asked for; before any library makes a pool of its own."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:n]))
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = str(n)


def say(peer, step, preset, batch, items, seconds, check, network=None):
    rates = [items / s for s in seconds]
    print(
        json.dumps(
            dict(
                peer=peer,
                step=step,
                preset=preset,
                network=network,
                batch=batch,
                per_second=statistics.median(rates),
                min=min(rates),
                max=max(rates),
                samples=len(rates),
                seconds=statistics.median(seconds),
                share=None,
                limit=None,
                work=None,
                checked=check is not None,
                check=check,
            )
        ),
        flush=True,
    )


def sample(call, total):
    """Seconds a call, in each of several samples."""
    call()
    began = time.perf_counter()
    call()
    once = time.perf_counter() - began
    repeats = max(1, round(total / SAMPLES / once))
    seconds = []
    for _ in range(min(SAMPLES, max(5, int(total / (once * repeats))))):
        began = time.perf_counter()
        for _ in range(repeats):
            call()
        seconds.append((time.perf_counter() - began) / repeats)
    return seconds


class Judge:
    """LeNet by onnxruntime: images (batch, 784) f32, already scaled, to probabilities (batch, 10)."""

    def __init__(self, threads):
        import onnxruntime

        import lenet

        self.name = f"onnxruntime {onnxruntime.__version__}"
        self.weights = lenet.weights()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        model = lenet.onnx_model(self.weights)
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, images):
        return self.session.run(None, {"images": images.reshape(-1, 1, 28, 28)})[0]

    def check(self, images):
        import numpy as np

        import lenet

        want = lenet.forward(self.weights, images[:32].reshape(-1, 1, 28, 28))
        worst = np.abs(self(images)[:32] - want).max()
        if not worst < 1e-4:
            sys.exit(f"{self.name} is off by {worst} from the formula")
        return "probabilities within 1e-4 of a forward pass in f64"


def scaled(genes):
    """What LeNet sees of genes in [0, 1]: bytes over 256."""
    import numpy as np

    import lenet

    return np.trunc(genes * np.float32(255)) * lenet.INPUT_SCALE


def classify(arguments):
    import numpy as np

    judge = Judge(arguments.threads)
    for batch in (1, 200, 256, 4096):
        images = scaled(np.random.default_rng(1).random((batch, 784), dtype=np.float32))
        check = judge.check(images)
        say(judge.name, "classify", None, batch, batch, sample(lambda: judge(images), arguments.seconds), check)


def render(arguments):
    import numpy as np

    import cppn

    if "avx512f" not in open("/proc/cpuinfo").read():
        print("render: left out: this processor has no AVX-512", file=sys.stderr)
        return
    rng = np.random.default_rng(1)
    for batch in (256, 4096):
        interpreter = cppn.Interpreter([cppn.genome(rng) for _ in range(batch)], arguments.threads)
        check = interpreter.check()
        say("C, AVX-512", "render-20", None, batch, batch, sample(interpreter, arguments.seconds), check)


def by_onnxruntime(model, threads):
    """Its name and a function of images."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return f"onnxruntime {onnxruntime.__version__}", lambda images: session.run(None, {"images": images})[0]


def by_openvino(model, threads):
    """Its name and a function of images, in f32."""
    import openvino

    core = openvino.Core()
    how = dict(INFERENCE_NUM_THREADS=threads, INFERENCE_PRECISION_HINT="f32", PERFORMANCE_HINT="LATENCY")
    compiled = core.compile_model(core.read_model(model), "CPU", how)
    request = compiled.create_infer_request()
    version = openvino.__version__.split("-")[0]
    return f"OpenVINO {version}", lambda images: request.infer({"images": images})[compiled.output(0)]


NETWORKS = ("caffenet", "torchvision-alexnet", "squeezenet", "bvlc-googlenet")


def networks(arguments):
    import tempfile

    import numpy as np

    import networks as lists

    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.network or NETWORKS:
            of = lists.read(name)
            file = lists.random_weights(name, folder)
            model = lists.onnx_model(of, file)
            side = lists.size(of)
            image = lists.test_image(of, rng)
            want = lists.ours(file, image, folder)
            for make in (by_onnxruntime, by_openvino):
                peer, run = make(model, arguments.threads)
                off = np.abs(run(lists.preprocessed(of, image))[0] / want - 1).max()
                if not off < 1e-2:
                    sys.exit(f"{peer} is off by {off} of ours with {name}")
                for batch in (1, 64):
                    images = rng.standard_normal((batch, lists.channels(of), side, side), dtype=np.float32)
                    seconds = sample(lambda: run(images), arguments.seconds)
                    say(peer, "network", None, batch, batch, seconds, "every probability within 1 % of ours", name)


def numpy_loop(judge, batch):
    """A function that makes a generation."""
    import numpy as np

    rng = np.random.default_rng(1)
    elites = rng.random((10, 784), dtype=np.float32)
    fitness = judge(scaled(elites)).diagonal().copy()

    def generation():
        children = elites[rng.integers(10, size=batch)]
        chosen = np.nonzero(rng.random(children.shape, dtype=np.float32) < 0.1)
        u = rng.random(len(chosen[0]), dtype=np.float32)
        root = np.where(u < 0.5, 2 * u, 2 - 2 * u) ** np.float32(1 / 16)
        moved = children[chosen] + np.where(u < 0.5, root - 1, 1 - root)
        children[chosen] = np.clip(moved, 0, 1)
        probabilities = judge(scaled(children))
        best = probabilities.argmax(0)
        confidence = probabilities[best, range(10)]
        better = confidence > fitness
        fitness[better] = confidence[better]
        elites[better] = children[best[better]]

    return generation


def ribs_loop(judge, batch):
    """A function that makes a generation."""
    import numpy as np
    from ribs.archives import GridArchive
    from ribs.emitters import GaussianEmitter
    from ribs.schedulers import Scheduler

    archive = GridArchive(solution_dim=784, dims=[10], ranges=[(-0.5, 9.5)], seed=1)
    start = np.full(784, 0.5)
    bounds = [(0, 1)] * 784
    emitter = GaussianEmitter(archive, sigma=0.1, x0=start, bounds=bounds, batch_size=batch, seed=1)
    scheduler = Scheduler(archive, [emitter])

    def generation():
        probabilities = judge(scaled(scheduler.ask().astype(np.float32)))
        scheduler.tell(probabilities.max(1), probabilities.argmax(1)[:, None])

    return generation


LOOPS = {"numpy": numpy_loop, "ribs": ribs_loop}


def name_of(loop, judge):
    import importlib.metadata

    return f"{loop} {importlib.metadata.version(loop)} + {judge.name}"


def loop(arguments):
    judge = Judge(arguments.threads)
    for name, make in LOOPS.items():
        for batch in (200, 4096):
            seconds = sample(make(judge, batch), arguments.seconds)
            say(name_of(name, judge), "loop", "mnist-direct", batch, batch, seconds, None)


def one_run(arguments):
    judge = Judge(arguments.threads)
    generation = LOOPS[arguments.loop](judge, BATCH)
    for _ in range(GENERATIONS):
        generation()
    print(name_of(arguments.loop, judge))


def run(arguments):
    for name in LOOPS:
        command = [sys.executable, __file__, "one-run", name, "--threads", str(arguments.threads)]
        seconds = []
        for _ in range(RUNS):
            began = time.perf_counter()
            peer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            seconds.append(time.perf_counter() - began)
        say(peer, "run", "mnist-direct", BATCH, GENERATIONS * BATCH, seconds, None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["classify", "render", "networks", "loop", "run", "one-run"])
    parser.add_argument("loop", nargs="?", choices=sorted(LOOPS))
    parser.add_argument("--network", action="append", choices=NETWORKS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    if (arguments.what == "one-run") != (arguments.loop is not None):
        parser.error("one-run, and no other, takes the name of a loop")
    pin(arguments.threads)
    parts = dict(classify=classify, render=render, networks=networks, loop=loop, run=run) | {"one-run": one_run}
    parts[arguments.what](arguments)
