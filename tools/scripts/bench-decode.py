#!/usr/bin/env python3
"""Decode speed over model shapes, types, depths and sequences: makes full-size models with random weights, runs `heddle bench` and prints one
table of medians with their spread. Standard library only.

SYNTH_GGUF: the script `SYNTH_GGUF SHAPE OUT TYPE` that writes a GGUF file of a shape; FOLDER: where models and plans are kept (14 GB in all;
a model that is there already is not made again); --only: rows whose text contains TEXT.
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path

# model, weights, arguments of bench, tokens/s to reach
ROWS = [
    ("llama-3.2-1b", "q4_k_m", [], 2200),
    ("qwen2.5-1.5b", "q4_k_m", [], 1525),
    ("llama-3.1-8b", "q4_k_m", [], 505),
    ("llama-3.2-1b", "bf16", [], 960),
    ("llama-3.2-1b", "q8_0", [], 1500),
    ("qwen3-0.6b", "q4_k_m", [], 2100),
    ("qwen2.5-0.5b", "q8_0", [], 2100),
    ("llama-3.2-1b", "q4_k_m", ["-d", "4096"], 1850),
    ("llama-3.2-1b", "q4_k_m", ["-d", "16384"], 1380),
    ("llama-3.1-8b", "q4_k_m", ["-d", "4096"], 440),
    ("llama-3.1-8b", "q4_k_m", ["-d", "16384"], 345),
    ("llama-3.2-1b", "q4_k_m", ["-s", "8", "-d", "128"], 11500),
    ("llama-3.1-8b", "q4_k_m", ["-s", "8", "-d", "128"], 2700),
]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("heddle")
parser.add_argument("synth")
parser.add_argument("folder", type=Path)
parser.add_argument("--target", default="cuda:auto")
parser.add_argument("--repetitions", default="5")
parser.add_argument("--only", default="")
options = parser.parse_args()
options.folder.mkdir(parents=True, exist_ok=True)

failed = False
print("| model | weights | arguments | tokens/s | spread | wanted | reached |\n|---|---|---|---:|---:|---:|---:|")
for model, weights, arguments, wanted in ROWS:
    if options.only not in f"{model} {weights} {' '.join(arguments)}":
        continue
    file = options.folder / f"{model}-{weights}.gguf"
    if not file.exists():
        subprocess.run([sys.executable, options.synth, model, str(file), weights], check=True)
    command = [options.heddle, "bench", str(file), "--target", options.target, "--cache-dir", str(options.folder / "plans"), "-p", "0", "-n", "128",
               "-r", options.repetitions, "-o", "json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    start = f"| {model} | {weights} | {' '.join(arguments)} |"
    if done.returncode:
        failed = True
        print(f"{start} failed: {done.stderr.strip()} | | {wanted} | |", flush=True)
        continue
    row = json.loads(done.stdout)[0]
    median, samples = row["median_ts"], row["samples_ts"]
    spread = (max(samples) - min(samples)) / median
    print(f"{start} {median:.1f} | {100 * spread:.1f} % | {wanted} | {median / wanted:.2f} |", flush=True)
sys.exit(failed)
