#!/usr/bin/env python3
"""Two heddle programs on the same models, in turns: does a change to the code cost speed? Rows of one sequence: decoding, decoding at depth, prompts.
Every row is measured PAIRS times by each program, alternating, and the ratio is taken pair by pair, since a GPU's speed drifts by some per cent
within minutes. Prints a table of medians; the exit code is 1 if the median ratio of a row is below 1 - LIMIT. Standard library only.

Models are made of a shape's name by SYNTH_GGUF (`SYNTH_GGUF SHAPE OUT TYPE` writes a GGUF file with random weights) in FOLDER, where plans are kept
too, a cache for each program; a model that is there is not made again.

  bench-pairs.py BEFORE AFTER SYNTH_GGUF FOLDER [--only TEXT] [--pairs N] [--limit 0.02]
"""
import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

# shape, weights, arguments of bench: every prompt and generation of one call is a row
ROWS = [
    ("llama-3.2-1b", "q4_k_m", "-p 512,2048 -n 128"),
    ("llama-3.2-1b", "q4_k_m", "-p 0 -n 128 -d 4096"),
    ("llama-3.2-1b", "q4_k_m", "-p 0 -n 128 -d 16384"),
    ("qwen2.5-1.5b", "q4_k_m", "-p 512,2048 -n 128"),
    ("llama-3.2-1b", "bf16", "-p 512,2048 -n 128"),
    ("llama-3.1-8b", "q4_k_m", "-p 512,2048 -n 128"),
    ("llama-3.1-8b", "q4_k_m", "-p 0 -n 128 -d 4096"),
    ("llama-3.1-8b", "q4_k_m", "-p 0 -n 128 -d 16384"),
    ("llama-3.1-8b", "q4_k_m", "-p 512 -n 0 -d 8192"),
    ("qwen3-30b-a3b", "q4_k_m", "-p 512,2048 -n 128"),
]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("before")
parser.add_argument("after")
parser.add_argument("synth")
parser.add_argument("folder", type=Path)
parser.add_argument("--target", default="cuda:sm_90")
parser.add_argument("--pairs", type=int, default=5)
parser.add_argument("--limit", type=float, default=0.02)
parser.add_argument("--only", default="")
options = parser.parse_args()
options.folder.mkdir(parents=True, exist_ok=True)


def measure(program, name, file, arguments):
    """Tokens per second of every row of one call of `bench`, by the row's name."""
    command = [program, "bench", str(file), "--target", options.target, "--cache-dir", str(options.folder / f"plans-{name}"), "-r", "3", "-o", "json",
               *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return {row["test"]: row["median_ts"] for row in json.loads(done.stdout)}


slower = []
print("| model | weights | row | before | after | after / before | range of pairs |\n|---|---|---|---:|---:|---:|---|")
for shape, weights, arguments in ROWS:
    if options.only not in f"{shape} {weights} {arguments}":
        continue
    file = options.folder / f"{shape}-{weights}.gguf"
    if not file.exists():
        subprocess.run([sys.executable, options.synth, shape, str(file), weights], check=True)
    pairs = []
    for program, name in ((options.before, "before"), (options.after, "after")):
        measure(program, name, file, arguments)  # compiles the plan, brings the file into memory
    for _ in range(options.pairs):
        pairs.append((measure(options.before, "before", file, arguments), measure(options.after, "after", file, arguments)))
    for row in pairs[0][0]:
        ratios = sorted(after[row] / before[row] for before, after in pairs)
        middle = statistics.median(ratios)
        print(f"| {shape} | {weights} | {row} | {statistics.median(b[row] for b, _ in pairs):.1f} | "
              f"{statistics.median(a[row] for _, a in pairs):.1f} | {middle:.3f} | {ratios[0]:.3f} to {ratios[-1]:.3f} |", flush=True)
        if middle < 1 - options.limit:
            slower.append(f"{shape} {weights} {row}")
for row in slower:
    print(f"slower: {row}")
sys.exit(bool(slower))
