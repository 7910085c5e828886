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


def run(*arguments, on=None):
    done = subprocess.run([heddle, *map(str, arguments), "--cache-dir", cache, "--target", on or target], capture_output=True, text=True)
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
        for name, model in (("bf16", tiny / "tiny-llama-bf16.gguf"), ("folder", tiny)):
            exact = [model, "--ids", ids, "--json", "--activations", "f32", *device]
            logits = json.loads(run("logits", *exact))["logits"]
            pairs = prompt["last_logits_top20"] + list(enumerate(prompt["last_logits_first16"]))
            worst = max(abs(logits[i] - value) for i, value in pairs)
            line(f"tiny-llama {name} logits {' '.join(device)}", worst <= 2e-3, f"largest difference {worst:.1e}, limit 2e-3")
            tokens = json.loads(run("run", *exact, "-n", 64, "--temp", 0, "--ignore-eos"))["tokens"]
            line(f"tiny-llama {name} greedy {' '.join(device)}", tokens == prompt["greedy_ids"], f"{len(tokens)} tokens")


def perplexity(model, tokens, activations, *more):
    start = time.time()
    value = json.loads(run("perplexity", model, "--tokens", tokens, "--json", "--activations", activations, *windows, *more))["ppl"]
    return value, time.time() - start


exact = reference["perplexity"]["books"]["ppl"]
books = tiny / "eval-books.tokens.i32"
if windows:
    exact = perplexity(tiny / "tiny-llama-bf16.gguf", books, "f32")[0]
for name, activations, limit in (("bf16", "f32", 1.001), ("Q8_0", "q8", 1.0002 * 1.005), ("Q6_K", "q8", 1.0067 * 1.005), ("Q4_K_M", "q8", 1.0574 * 1.005)):
    value, seconds = perplexity(tiny / f"tiny-llama-{name}.gguf", books, activations)
    line(f"tiny-llama {name} perplexity, {activations} activations", abs(value / exact - 1) <= 0.001 if name == "bf16" else value <= exact * limit,
         f"{value:.4f}, {value / exact:.5f} of the reference, limit {limit:.5f} ({seconds:.0f} s)")
value, seconds = perplexity(tiny, books, "f32")
line("tiny-llama folder perplexity, f32 activations", abs(value / exact - 1) <= 0.001, f"{value:.4f}, {value / exact:.5f} of the reference, limit 1.001 ({seconds:.0f} s)")
# Quantised when it is loaded. Plain q4_K may be 1.5 % worse than Q4_K_M, which mixes in q6_K.
for quantize, limit in (("q8_0", 1.0002 * 1.005), ("q4_0", 1.0973 * 1.005), ("q4_K", 1.0574 * 1.015)):
    value, seconds = perplexity(tiny, books, "q8", "--quantize", quantize)
    line(f"tiny-llama folder --quantize {quantize} perplexity, q8 activations", value <= exact * limit,
         f"{value:.4f}, {value / exact:.5f} of the reference, limit {limit:.5f} ({seconds:.0f} s)")
value, seconds = perplexity(models / "small-qwen2" / "small-qwen2-Q4_K_M.gguf", models / "small-qwen2" / "eval-docs.tokens.i32", "q8")
if not windows:
    line("small-qwen2 Q4_K_M perplexity, q8 activations", value <= 19.010 * 1.034 * 1.005, f"{value:.4f}, limit {19.010 * 1.034 * 1.005:.4f} ({seconds:.0f} s)")


# ---- A GPU beside the CPU target and the interpreter, and prompts read in chunks beside token by token


def logits(model, ids, *options, on=None):
    return json.loads(run("logits", model, "--ids", ",".join(map(str, ids)), "--json", *options, on=on))["logits"]


def apart(found, wanted):
    """Largest difference in parts of the range of what is wanted."""
    return max(abs(a - b) for a, b in zip(found, wanted)) / (max(wanted) - min(wanted))


def ppl(model, tokens, *options, on=None, windows=16):
    return json.loads(run("perplexity", model, "--tokens", tokens, "--json", "--windows", windows, *options, on=on))["ppl"]


fixtures = [(tiny / f"tiny-llama-{name}.gguf", books) for name in ("bf16", "Q8_0", "Q6_K", "Q4_K_M")]
fixtures.append((models / "small-qwen2" / "small-qwen2-Q4_K_M.gguf", models / "small-qwen2" / "eval-docs.tokens.i32"))
if target != "cpu":
    for prompt in reference["prompts"]:
        model = tiny / "tiny-llama-bf16.gguf"
        wide = logits(model, prompt["ids"], "--activations", "f32", "--kv", "f32")
        difference = apart(logits(model, prompt["ids"], "--activations", "f32", "--kv", "f16"), wide)
        line("tiny-llama bf16 f16 cache", difference <= 1e-3, f"logits {difference:.1e} of the range, limit 1e-3")
    for model, tokens in fixtures:
        for activations, limit in (("f32", 0.002), ("q8", 0.005)):
            found, wanted = (ppl(model, tokens, "--activations", activations, on=on) for on in (target, "cpu"))
            line(f"{model.stem} perplexity beside the CPU's, {activations} activations", abs(found / wanted - 1) <= limit,
                 f"{found:.4f}, {wanted:.4f}: {100 * (found / wanted - 1):+.3f} %, limit {100 * limit:.1f} %")
        # Many rows have activations in f16, one has them in 8 bits: the former may be better, not worse.
        wide, narrow = (ppl(model, tokens, "--rows", rows, windows=64) for rows in (64, 1))
        line(f"{model.stem} perplexity in steps of 64 rows beside steps of one", wide / narrow - 1 <= 0.001,
             f"{wide:.4f}, {narrow:.4f}: {100 * (wide / narrow - 1):+.3f} %, limit +0.1 %")
    for model, tokens in (fixtures[3], fixtures[4]):
        ids = list(memoryview(tokens.read_bytes()).cast("i"))[:600]
        exact = logits(model, ids, "--activations", "f32", on="cpu")
        chunks = {rows: logits(model, ids, "--prefill", rows) for rows in (16, 64, 512, 0)}
        for rows, found in chunks.items():
            name = f"in chunks of {rows}" if rows else "token by token"
            difference, to_512 = apart(found, exact), apart(found, chunks[512])
            # The last token's own step has 8-bit activations: one rounding that goes the other way moves logits by some 1e-3 of the range.
            line(f"{model.stem} prompt of 600 {name}", max(difference, to_512) <= 0.01,
                 f"logits {difference:.1e} of the range from exact ones, {to_512:.1e} from chunks of 512, limit 1e-2")
        # The same text where the two best logits are further apart than what rounding moves.
        generated = {}
        for on, options in ((target, ()), (target, ("--kv", "f32", "--activations", "f32")), ("cpu", ("--activations", "f32"))):
            out = run("run", model, "--ids", ",".join(map(str, ids)), "-n", 64, "--temp", 0, "--ignore-eos", "--json", *options, on=on)
            generated[on, options] = json.loads(out)["tokens"]
        wanted = generated.pop(("cpu", ("--activations", "f32")))
        for (on, options), found in generated.items():
            same = next((i for i, (a, b) in enumerate(zip(found, wanted)) if a != b), len(wanted))
            gap = 0.0
            if same < len(wanted):
                best = sorted(logits(model, ids + wanted[:same], "--activations", "f32", on="cpu"))
                gap = (best[-1] - best[-2]) / (best[-1] - best[0])
            limit = 1e-3 if options else 1e-2
            line(f"{model.stem} greedy text behind 600 tokens {' '.join(options)}", gap <= limit,
                 f"{same} of {len(wanted)} ids as the CPU's at f32" + (f", where the two best are {gap:.1e} of the range apart, limit {limit:.0e}" if gap else ""))
sys.exit(bad > 0)
