#!/usr/bin/env python3
"""heddle's CPU target beside llama.cpp on the same machine in the same run: the engines take turns, and figures are compared pair by pair.

usage: bench-cpu.py HEDDLE MODEL.gguf... [--pairs 5] [--threads N] [--tests pp128,pp512,tg64,tg64@2048] [--llama PYTHON] [--bench BENCH_CPU]

HEDDLE     the built program; its bench_cpu (read bandwidth) is looked for in the same build folder
PYTHON     an interpreter that has llama-cpp-python built for this machine; without one only heddle is measured:
             python3 -m venv V && CMAKE_ARGS=-DGGML_NATIVE=ON V/bin/pip install --no-binary llama-cpp-python llama-cpp-python
MODEL      files with a real shape; random weights will do

Prints for each test both medians, the median and the range of the pairs' ratios and, for generation, the share of the read bandwidth that
the model's bytes (and at a depth the cache's, as 16-bit floats) amount to: of what a plain loop of loads reads, and of what a loop reads
that asks for memory ahead as heddle's kernels do, which is more. Standard library only.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LLAMA = r'''
import json, sys, time, random
import llama_cpp
model, threads, tests = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
longest = max(n + depth for _, n, depth in tests)
llm = llama_cpp.Llama(model, n_ctx=longest + 8, n_batch=512, n_ubatch=512, n_threads=threads, n_threads_batch=threads, verbose=False)
random.seed(1)
vocabulary = llm.n_vocab()
context = llm._ctx.ctx if hasattr(llm._ctx, "ctx") else llm.ctx

def feed(tokens):
    for i in range(0, len(tokens), 512):
        part = tokens[i:i + 512]
        array = (llama_cpp.llama_token * len(part))(*part)
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(part))): sys.exit("llama_decode failed")
    llama_cpp.llama_get_logits(context)

def clear():
    if hasattr(llama_cpp, "llama_get_memory"): llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    else: llama_cpp.llama_kv_cache_clear(context)

def tokens(n): return [random.randrange(vocabulary) for _ in range(n)]
rates = {}
for kind, n, depth in tests:
    for attempt in range(2):  # the first is a warm-up
        clear()
        if depth: feed(tokens(depth))
        work = tokens(n)
        start = time.perf_counter()
        if kind == "pp": feed(work)
        else:
            for token in work: feed([token])
        rate = n / (time.perf_counter() - start)
    rates[f"{kind}{n}@{depth}"] = rate
print("RATES " + json.dumps(rates))
'''


def parse_test(text):
    name, _, depth = text.partition("@")
    if name[:2] not in ("pp", "tg") or not name[2:].isdigit() or (depth and not depth.isdigit()):
        sys.exit(f"test '{text}': wanted pp128, tg64, tg64@2048 and the like")
    return name[:2], int(name[2:]), int(depth or 0)


def heddle_rates(program, model, threads, tests, cache):
    rates = {}
    for kind, n, depth in tests:
        done = subprocess.run([program, "bench", model, "-p", str(n if kind == "pp" else 0), "-n", str(n if kind == "tg" else 0), "-d", str(depth),
                               "-r", "1", "-t", str(threads), "--target", "cpu", "--kv", "f16", "-o", "json", "--cache-dir", cache],
                              capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"heddle: {done.stderr.strip()}")
        rates[f"{kind}{n}@{depth}"] = json.loads(done.stdout)[0]["median_ts"]
    return rates


def llama_rates(python, model, threads, tests):
    done = subprocess.run([python, "-c", LLAMA, model, str(threads), json.dumps(tests)], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RATES ")]
    if done.returncode or not lines:
        sys.exit(f"llama.cpp: exit status {done.returncode} {done.stderr.strip()[-2000:]}")
    return json.loads(lines[0][6:])


def read_bandwidth(bench, threads):
    """GB/s of all threads together: of a plain loop, and of one that asks for memory ahead; None where there is no bench_cpu."""
    if not os.access(bench, os.X_OK):
        return None
    done = subprocess.run([bench, f"--benchmark_filter=^read(_plain)?/threads:{threads}/", "--benchmark_format=json", "--benchmark_min_time=1"],
                          capture_output=True, text=True)
    try:
        rates = {row["name"].partition("/")[0]: row["GB"] for row in json.loads(done.stdout)["benchmarks"]}
        return rates["read_plain"], rates["read"]
    except (ValueError, KeyError):
        return None


def cache_bytes(program, model, depth, cache):
    """Bytes of keys and values at `depth`, from the plan."""
    if not depth:
        return 0
    done = subprocess.run([program, "inspect", model, "--target", "cpu", "--kv", "f16", "--memory", "--cache-dir", cache], capture_output=True, text=True)
    for line in done.stdout.splitlines():
        words = line.split()  # cache 134217728 bytes for 4096 positions
        if words[:1] == ["cache"] and words[-1] == "positions":
            return int(words[1]) / int(words[4]) * depth
    sys.exit(f"heddle inspect --memory says nothing of a cache: {done.stderr.strip()}")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("heddle")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tests", default="pp128,pp512,tg64,tg64@2048")
    parser.add_argument("--llama", default=None)
    parser.add_argument("--bench", default=None)
    options = parser.parse_args()
    tests = [parse_test(test) for test in options.tests.split(",")]
    bench = options.bench or str(Path(options.heddle).resolve().parent.parent / "tests" / "runtime" / "cpu" / "bench_cpu")
    llama = options.llama
    if llama and subprocess.run([llama, "-c", "import llama_cpp"], capture_output=True).returncode:
        print(f"{llama} has no llama_cpp: heddle alone")
        llama = None
    elif not llama:
        print("no --llama: heddle alone")
    cache = tempfile.mkdtemp(prefix="heddle-bench-")

    for model in options.models:
        weights = os.path.getsize(model)
        ours, theirs, reads = [], [], []
        for pair in range(options.pairs):
            reads.append(read_bandwidth(bench, options.threads))
            ours.append(heddle_rates(options.heddle, model, options.threads, tests, cache))
            if llama:
                theirs.append(llama_rates(llama, model, options.threads, tests))
            print(f"# pair {pair + 1} of {options.pairs}", file=sys.stderr)
        plain, ahead = map(statistics.median, zip(*reads)) if None not in reads else (None, None)
        print(f"\n{Path(model).name}, {weights / 1e9:.3f} GB, {options.threads} threads; read bandwidth "
              + (f"{plain:.1f} GB/s plain, {ahead:.1f} ahead (each pair: {' '.join(f'{p:.1f}, {a:.1f};' for p, a in reads)})" if plain
                 else "not measured"))
        print("| test | heddle t/s | llama.cpp t/s | ratio (pairs) | share of plain reading, heddle / llama.cpp | of reading ahead |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for kind, n, depth in tests:
            key = f"{kind}{n}@{depth}"
            mine = statistics.median(rates[key] for rates in ours)
            other = statistics.median(rates[key] for rates in theirs) if theirs else None
            ratios = [a[key] / b[key] for a, b in zip(ours, theirs)]
            shares = ["", ""]
            if kind == "tg" and plain:
                moved = weights + cache_bytes(options.heddle, model, depth + n // 2 if depth else 0, cache)
                shares = [f"{moved * mine / 1e9 / read:.3f}" + (f" / {moved * other / 1e9 / read:.3f}" if other else "") for read in (plain, ahead)]
            print(f"| {kind}{n}{f' at {depth}' if depth else ''} | {mine:.1f} | {f'{other:.1f}' if other else ''} | "
                  + (f"{statistics.median(ratios):.3f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "") + f" | {shares[0]} | {shares[1]} |")


main()
