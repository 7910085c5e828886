#!/usr/bin/env python3
"""Compares a built heddle with the shared reference models in full: exact text, logits, greedy tokens, perplexities over whole texts.
The tests do the same on excerpts. Standard library only; exits 1 if a line is out of its limit.

usage: acceptance.py HEDDLE MODELS [--target T] [--quick]     MODELS: the folder with stories260K, tiny-llama, small-qwen2
"""
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if len(sys.argv) < 3:
    sys.exit(__doc__)
heddle, models = sys.argv[1], Path(sys.argv[2])
target = sys.argv[sys.argv.index("--target") + 1] if "--target" in sys.argv else "cpu"
windows = ["--windows", "8"] if "--quick" in sys.argv else []
cache = tempfile.mkdtemp(prefix="heddle-acceptance-")
bad = 0


def run(*arguments):
    done = subprocess.run([heddle, *map(str, arguments), "--cache-dir", cache, "--target", target], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def line(what, ok, figure):
    global bad
    bad += not ok
    print(f"{'ok ' if ok else 'BAD'}  {what}: {figure}", flush=True)


stories = models / "stories260K"
devices = [[]] if target != "cpu" else [[], ["--reference"]]
for device in devices:
    text = run("run", stories / "stories260K-f32.gguf", "-p", "Once upon a time", "--temp", 0, "-n", 252, "--activations", "f32", *device)
    line(f"stories260K text {' '.join(device)}", text == (stories / "greedy-256.txt").read_text(), f"{len(text)} characters")

tiny = models / "tiny-llama"
reference = json.loads((tiny / "reference.json").read_text())
for device in devices:
    for prompt in reference["prompts"]:
        ids = ",".join(map(str, prompt["ids"]))
        exact = [tiny / "tiny-llama-bf16.gguf", "--ids", ids, "--json", "--activations", "f32", *device]
        logits = json.loads(run("logits", *exact))["logits"]
        pairs = prompt["last_logits_top20"] + list(enumerate(prompt["last_logits_first16"]))
        worst = max(abs(logits[i] - value) for i, value in pairs)
        line(f"tiny-llama bf16 logits {' '.join(device)}", worst <= 2e-3, f"largest difference {worst:.1e}, limit 2e-3")
        tokens = json.loads(run("run", *exact, "-n", 64, "--temp", 0, "--ignore-eos"))["tokens"]
        line(f"tiny-llama bf16 greedy {' '.join(device)}", tokens == prompt["greedy_ids"], f"{len(tokens)} tokens")


def perplexity(model, tokens, activations):
    start = time.time()
    value = json.loads(run("perplexity", model, "--tokens", tokens, "--json", "--activations", activations, *windows))["ppl"]
    return value, time.time() - start


exact = reference["perplexity"]["books"]["ppl"]
books = tiny / "eval-books.tokens.i32"
if windows:
    exact = perplexity(tiny / "tiny-llama-bf16.gguf", books, "f32")[0]
for name, activations, limit in (("bf16", "f32", 1.001), ("Q8_0", "q8", 1.0002 * 1.005), ("Q6_K", "q8", 1.0067 * 1.005), ("Q4_K_M", "q8", 1.0574 * 1.005)):
    value, seconds = perplexity(tiny / f"tiny-llama-{name}.gguf", books, activations)
    line(f"tiny-llama {name} perplexity, {activations} activations", abs(value / exact - 1) <= 0.001 if name == "bf16" else value <= exact * limit,
         f"{value:.4f}, {value / exact:.5f} of the reference, limit {limit:.5f} ({seconds:.0f} s)")
value, seconds = perplexity(models / "small-qwen2" / "small-qwen2-Q4_K_M.gguf", models / "small-qwen2" / "eval-docs.tokens.i32", "q8")
if not windows:
    line("small-qwen2 Q4_K_M perplexity, q8 activations", value <= 19.010 * 1.034 * 1.005, f"{value:.4f}, limit {19.010 * 1.034 * 1.005:.4f} ({seconds:.0f} s)")
sys.exit(bad > 0)
