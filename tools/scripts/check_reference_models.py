#!/usr/bin/env python3
"""Compares a built heddle with the models and figures of make_reference_models.py, from both kinds of file: logits after the prompts (within
1e-3 of their range; 2e-3 on a GPU), 20 greedy tokens. Float32 activations and cache. Standard library only; exits 1 if a line is out.

usage: check_reference_models.py HEDDLE FOLDER [--target T] [--only NAME] [--quick]     --quick: one prompt, no greedy tokens
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

if len(sys.argv) < 3:
    sys.exit(__doc__)


def option(name, otherwise):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else otherwise


heddle, folder = sys.argv[1], Path(sys.argv[2])
target, only, quick = option("--target", "cpu"), option("--only", ""), "--quick" in sys.argv
limit = 1e-3 if target == "cpu" else 2e-3
devices = {"interpreter": ["--reference"], "cpu": []} if target == "cpu" else {target: []}
cache = tempfile.mkdtemp(prefix="heddle-reference-")
bad = 0

print(f"{'model':<14} {'file':<12} {'device':<12} {'worst of range':>14}  greedy")
for facts in sorted(folder.glob("*.json")):
    name, wanted = facts.stem, json.loads(facts.read_text())
    if only and name != only:
        continue
    for kind, model in (("gguf", folder / f"{name}.gguf"), ("safetensors", folder / name)):
        for device, options in devices.items():
            worst, same, count, problem = 0.0, 0, 0, ""
            for prompt in wanted["prompts"][: 1 if quick else None]:
                steps = 0 if quick else len(prompt["greedy"])
                done = subprocess.run([heddle, "logits", str(model), "--ids", ",".join(map(str, prompt["ids"])), "--json", "--greedy", str(steps),
                                       "--activations", "f32", "--kv", "f32", "--target", target, "--cache-dir", cache, *options],
                                      capture_output=True, text=True)
                if done.returncode:
                    problem = done.stderr.strip().splitlines()[-1]
                    break
                found = json.loads(done.stdout)
                logits = prompt["logits"]
                span = max(logits) - min(logits)
                worst = max(worst, max(abs(a - b) for a, b in zip(found["logits"], logits, strict=True)) / span)
                same += sum(a == b for a, b in zip(found.get("greedy", []), prompt["greedy"]))
                count += steps
            ok = not problem and worst <= limit and same == count
            bad += not ok
            print(f"{name:<14} {kind:<12} {device:<12} {problem or f'{worst:14.1e}  {same} of {count}'}{'' if ok else '  BAD'}", flush=True)
sys.exit(1 if bad else 0)
