"""LeNet trained by PyTorch, beside `pareidolia train lenet`: the same layers, loss, batches and update; an object a line as peers.py.

    pip install torch==2.15.0 --index-url https://download.pytorch.org/whl/cpu      (any 2.x; the CPU's wheel is the small one)
    python train_lenet.py MNIST_DIR              MNIST's four IDX files, plain or gzip

    --batch N      images an update; may be repeated [64 512]
    --threads N    cores and threads [2]        --seconds S    how long a line is timed [4]
    --compile      by torch.compile, which needs a C++ compiler

The images lie in memory as bytes and are scaled a batch at a time, as ours are. Weights decay and biases learn twice as fast, as in Caffe's
recipe; the rate is constant. Each sample is of the mean of some tens of updates, so nothing of PyTorch's start counts. `check` is the
loss of the last batch: it learned. Ours, on the same cores:

    pareidolia train lenet --data MNIST_DIR --threads 2 --batch 64 --iterations 2000 --val-every 100000 --checkpoint-every 100000
"""

import argparse
import gzip
import statistics
import time
from pathlib import Path

import peers

SAMPLES = 9


def idx(folder, name):
    """The bytes behind the header of an IDX file."""
    for path in (Path(folder) / name, Path(folder) / f"{name}.gz", Path(folder) / "mnist" / name, Path(folder) / "mnist" / f"{name}.gz"):
        if path.exists():
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            return data[4 + 4 * data[3] :]
    raise SystemExit(f"{folder}: no {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--batch", type=int, action="append")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    peers.pin(args.threads)
    import torch
    from torch import nn

    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    images = torch.frombuffer(bytearray(idx(args.data, "train-images-idx3-ubyte")), dtype=torch.uint8).reshape(-1, 1, 28, 28)
    labels = torch.frombuffer(bytearray(idx(args.data, "train-labels-idx1-ubyte")), dtype=torch.uint8).long()
    for batch in args.batch or [64, 512]:
        net = nn.Sequential(
            nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
        )  # fmt: skip
        named = list(net.named_parameters())
        weights, biases = ([p for name, p in named if name.endswith(kind)] for kind in ("weight", "bias"))
        groups = [dict(params=weights), dict(params=biases, lr=0.02)]
        sgd = torch.optim.SGD(groups, lr=0.01, momentum=0.9, weight_decay=0.0005)
        model = torch.compile(net) if args.compile else net
        order, at = torch.randperm(len(images)), 0

        def update():
            nonlocal at, order
            if at + batch > len(images):
                order, at = torch.randperm(len(images)), 0
            chosen = order[at : at + batch]
            at += batch
            sgd.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(model(images[chosen].float().mul_(1 / 256)), labels[chosen])
            loss.backward()
            sgd.step()
            return loss

        for _ in range(10):
            update()
        began = time.perf_counter()
        for _ in range(10):
            update()
        once = (time.perf_counter() - began) / 10
        repeats = max(1, round(args.seconds / SAMPLES / once))
        seconds = []
        for _ in range(SAMPLES):
            began = time.perf_counter()
            for _ in range(repeats):
                loss = update()
            seconds.append((time.perf_counter() - began) / repeats)
        peer = f"torch-{torch.__version__}" + (", compiled" if args.compile else "")
        peers.say(peer, "train", "lenet", batch, batch, seconds, loss.item())
        assert statistics.median(seconds) > 0


if __name__ == "__main__":
    main()
