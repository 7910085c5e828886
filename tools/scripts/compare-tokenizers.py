#!/usr/bin/env python3
"""Compares heddle's tokenizer with the `tokenizers` library (PyPI) over texts and random Unicode strings: for each string the ids, with and
without the tokens that a template puts around it. Exits 1 at a difference, 77 where the library is not installed.

usage: compare-tokenizers.py HEDDLE FOLDER [TEXT...] [--random N] [--seed S]     FOLDER: with config.json and tokenizer.json
"""
import argparse
import json
import random
import subprocess
import sys
import unicodedata
from pathlib import Path

try:
    from tokenizers import Tokenizer, normalizers
except ImportError:
    print("skipped: the tokenizers library is not installed")
    sys.exit(77)

parser = argparse.ArgumentParser(usage=__doc__)
parser.add_argument("heddle")
parser.add_argument("folder", type=Path)
parser.add_argument("texts", nargs="*", type=Path)
parser.add_argument("--random", type=int, default=10000)
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()
library = Tokenizer.from_file(str(options.folder / "tokenizer.json"))
added = [token.content for token in library.get_added_tokens_decoder().values()]

assigned = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
spaces = [c for c in assigned if c.isspace()]
marks = [c for c in assigned if unicodedata.category(c).startswith("M")]
ascii_ = [chr(c) for c in range(128)]
words = "the of it's don't WE'LL I'd \u017fs '\u017f 3.14 2024 12345 na\u00efve \u1e9e \u0130 \u2167 \u00bd \u0e2a\u0e27\u0e31\u0e2a \ud55c\uad6d\uc5b4 \u4f60\u597d \U0001f469\u200d\U0001f680 e\u0301 \u212b \u2126 \ufb01".split()


def random_text(rng):
    """A run of one kind after the other; every kind that a pattern could treat in its own way."""
    kinds = [
        lambda: rng.choice(assigned),
        lambda: rng.choice(ascii_),
        lambda: rng.choice(spaces) * rng.randint(1, 4),
        lambda: rng.choice(words),
        lambda: rng.choice("aeiou\u00e4\u00f1") + rng.choice(marks),
        lambda: str(rng.randint(0, 10 ** rng.randint(1, 9))),
        lambda: rng.choice("  \n\r\t") * rng.randint(1, 5),
        lambda: rng.choice(added) if added else " ",
        lambda: chr(rng.randint(0x4E00, 0x9FFF)),
    ]
    weights = [4, 4, 2, 3, 1, 1, 2, 1, 1]
    return "".join(rng.choices(kinds, weights)[0]() for _ in range(rng.randint(1, 40)))


rng = random.Random(options.seed)
strings = []
for path in options.texts:
    text = path.read_text()
    strings += [text] + text.splitlines(keepends=True)
counts = f"{len(options.texts)} texts and their {len(strings) - len(options.texts)} lines, {options.random} random strings"
strings += [random_text(rng) for _ in range(options.random)]
# The library's tables of normal forms are of an older Unicode version than Python's and heddle's.
if library.normalizer:
    known = [s for s in strings if normalizers.NFC().normalize_str(s) == unicodedata.normalize("NFC", s)]
    counts += f" but for {len(strings) - len(known)} with newer characters"
    strings = known
lines = "".join(json.dumps(s) + "\n" for s in strings)

differ = 0
for flags, with_template in ((["--special"], False), (["--special", "--bos"], True)):
    done = subprocess.run([options.heddle, "tokenize", options.folder, "--json-lines", "-", *flags], input=lines, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    ours = done.stdout.split("\n")[:-1]
    assert len(ours) == len(strings), (len(ours), len(strings))
    for string, line in zip(strings, ours):
        ids = [int(i) for i in line.split()]
        theirs = library.encode(string, add_special_tokens=with_template).ids
        if ids != theirs:
            differ += 1
            if differ <= 5:
                at = next((i for i, (a, b) in enumerate(zip(ids, theirs)) if a != b), min(len(ids), len(theirs)))
                print(f"differs from id {at} on: {string[:200]!r}\n  heddle     {ids[at:at + 12]}\n  tokenizers {theirs[at:at + 12]}")
print(f"{options.folder.name}: {counts}: {differ} differ")
sys.exit(differ > 0)
