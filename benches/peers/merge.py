"""Merges the rounds of scripts/bench-with-peers into one result, and prints the table of benches/README.md.

    python merge.py OUT.json FOLDER    FOLDER has ours-N.json (from `pareidolia bench --json`) and peers-N.jsonl

The result is of the form of `pareidolia bench --json`, so that `pareidolia bench compare` reads it, with `peers` besides: a
line's rate is the median over the rounds of their medians, min and max are over all, samples are added up.
"""

import json
import statistics
import sys
from pathlib import Path


def merged(rounds, rate):
    """One line from the same line of every round; `rate` is the field with the median."""
    line = dict(rounds[0])
    for field in {rate, "seconds", "share"} & line.keys():
        if line[field] is not None:
            line[field] = statistics.median(of[field] for of in rounds)
    line["min"] = min(of["min"] for of in rounds)
    line["max"] = max(of["max"] for of in rounds)
    line["samples"] = sum(of["samples"] for of in rounds)
    return line


def by_key(rounds, key):
    """The lines of all rounds that share a key, in the order of the first round."""
    lines = {}
    for of in rounds:
        for line in of:
            lines.setdefault(key(line), []).append(line)
    return list(lines.values())


def merge(ours, peers):
    report = dict(ours[0])
    report["rounds"] = len(ours)
    report["busy"] = {field: max((of["busy"][field] or 0) for of in ours) for field in report["busy"]}
    same_peak = by_key([of["peaks"] for of in ours], lambda line: line["name"])
    report["peaks"] = [merged(lines, "median") for lines in same_peak]
    name = lambda line: (line.get("peer"), line["step"], line["preset"], line.get("network"), line["batch"])
    report["results"] = [merged(lines, "per_second") for lines in by_key([of["results"] for of in ours], name)]
    report["peers"] = [merged(lines, "per_second") for lines in by_key(peers, name)]
    return report


# GFLOP/s: the FMA peak of the two cores that the wanted rates and times were set for. On others they are wanted in proportion to
# the peak measured in the same run. The 850,000 a second of render-20 were set beside the 905,000 that the C program made there.
GOALS_SET_AT = 473


def number(x):
    return f"{x:,.1f}" if x < 1000 else f"{x:,.0f}"


def table(report):
    """Markdown: what issue and README promise beside what was measured."""
    ours = {(line["step"], line["preset"] or line.get("network"), line["batch"]): line for line in report["results"]}
    peaks = {peak["name"]: peak["median"] for peak in report["peaks"]}
    speed = peaks[f"fma-{report['flags']['simd']}"] / GOALS_SET_AT
    rate = lambda goal: f"{number(goal * speed)} a second ({number(goal)})"
    presets = ("mnist-direct", "mnist-cppn")

    def beside(step, preset, batch):
        lines = [p for p in report["peers"] if (p["step"], p["preset"] or p["network"], p["batch"]) == (step, preset, batch)]
        if step == "run":
            return "; ".join(f"{p['peer']} {p['seconds']:.2f} s" for p in lines)
        return "; ".join(f"{p['peer']} {number(p['per_second'])}" for p in lines)

    rows = []

    def row(step, preset, batch, goal, ratio=lambda line: "", peers=""):
        line = ours.get((step, preset, batch))
        if line is not None:
            name = " ".join(str(word) for word in (step, preset, batch) if word)
            spread = f"{number(line['min'])} .. {number(line['max'])}"
            rows.append(f"| {name} | {goal} | {number(line['per_second'])} | {spread} | {ratio(line)} | {peers} |")

    share = lambda line: f"{100 * line['share']:.1f} % of {line['limit']}"
    classify = {
        1: rate(15_000),
        200: "80 % of the FMA peak",
        256: "88 % of the FMA peak",
        4096: "88 % of the FMA peak",
    }
    for batch, goal in classify.items():
        row("classify", "mnist-direct", batch, goal, share, beside("classify", None, batch))
    for batch in (256, 4096):
        peers = beside("render-20", None, batch)
        row("render-20", None, batch, f"{rate(850_000)}, 94 % of the C program", share, peers)
    for preset in presets:
        for batch in (200, 4096):
            whole = ours.get(("classify", preset, batch))
            ratio = lambda line: f"{100 * line['per_second'] / whole['per_second']:.1f} % of classify" if whole else ""
            goal = f"{rate(65_000)}, 80 % of classify"
            row("loop", preset, batch, goal, ratio, beside("loop", preset, batch))
    for preset in presets:
        row("run", preset, 200, f"{0.75 / speed:.2f} s (0.75)", lambda line: f"{line['seconds']:.3f} s", beside("run", preset, 200))
    for preset in presets:
        one = ours.get(("run", preset, 200))
        ratio = lambda line: f"{line['per_second'] / one['per_second']:.2f} of run" if one else ""
        row("run-8", preset, 200, "no less than run", ratio)
    for preset in presets:
        row("start", preset, 200, "0.1 s", lambda line: f"{line['seconds']:.3f} s")
    wanted = {"caffenet": "80 % of the FMA peak", "torchvision-alexnet": "85 % of the FMA peak"}
    for network in dict.fromkeys(name for step, name, _ in ours if step == "network"):
        for batch in (1, 64):
            goal = wanted.get(network, "") if batch == 64 else ""
            row("network", network, batch, goal, share, beside("network", network, batch))
    machine, flags = report["machine"], report["flags"]
    head = (
        f"{machine['processor']}, {flags['threads']} of {machine['threads']} threads, {flags['simd']}, {machine['kernel']}; "
        f"{flags['rustc']}, {flags['compiler']}; commit {report['commit']}; {report['date']}; "
        f"{report['rounds']} {'round' if report['rounds'] == 1 else 'rounds'}; others used {report['busy']['others']:.2f} processors\n"
    )
    columns = ["| line | wanted | genomes or images a second | least .. most | | peers in the same run |", "|---|---|---|---|---|---|"]
    return "\n".join([head, *columns, *rows])


if __name__ == "__main__":
    out, folder = Path(sys.argv[1]), Path(sys.argv[2])
    ours = [json.loads(path.read_text()) for path in sorted(folder.glob("ours-*.json"))]
    peers = [[json.loads(line) for line in path.read_text().splitlines()] for path in sorted(folder.glob("peers-*.jsonl"))]
    report = merge(ours, peers)
    out.write_text(json.dumps(report, indent=2) + "\n")
    print(table(report))
