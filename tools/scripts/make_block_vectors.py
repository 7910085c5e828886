#!/usr/bin/env python3
"""Writes the vectors that tests/ir/base compares our block formats with: tests/ir/base/data/<format>.<direction>.bin.

  dequantize: random blocks, and the floats that gguf-py (PyPI `gguf`) reads from them
  quantize:   random floats, and the blocks that gguf-py writes for them; for the formats that it does not write (q4_K, q8_K), with
              `--ggml LIB`, those of the functions quantize_row_<format>_ref in LIB, a libggml-base.so (any recent ggml; PyPI wheels carry one)

Layout, little-endian: u32 blocks, u32 elements per block, u32 bytes per block, then all blocks, then all elements as f32.
The vectors are committed, so this needs to run only when a format is added. Same seed, same bytes; without gguf-py nothing is written.
"""
import argparse
import ctypes
import pathlib
import struct
import sys

try:
    import gguf
    import numpy as np
except ImportError as missing:
    print(f"make_block_vectors: nothing written: {missing} (pip install gguf numpy)")
    sys.exit(0)

FOLDER = pathlib.Path(__file__).resolve().parent.parent.parent / "tests" / "ir" / "base" / "data"

# format: blocks, byte offsets of its f16 scales
DEQUANTIZE = {
    "Q4_0": (12, [0]),
    "Q8_0": (12, [0]),
    "Q4_K": (8, [0, 2]),
    "Q5_K": (8, [0, 2]),
    "Q6_K": (8, [208]),
}
# The same, with a random sequence of their own each: a format more changes no other's vectors.
DEQUANTIZE_APART = {
    "Q4_1": (12, [0, 2]),
    "Q5_0": (12, [0]),
    "Q5_1": (12, [0, 2]),
    "Q2_K": (8, [80, 82]),
    "Q3_K": (8, [108]),
    "IQ4_NL": (12, [0]),
    "IQ4_XS": (8, [0]),
    "MXFP4": (12, []),
}
QUANTIZE = {"Q4_0": 12, "Q8_0": 12}
QUANTIZE_BY_GGML = {"Q4_K": 8, "Q8_K": 8}


def our_name(name):
    return name.lower().removesuffix("_k") + ("_K" if name.endswith("_K") else "")


def write(name, direction, elements, blocks, floats):
    count, size = blocks.shape
    path = FOLDER / f"{our_name(name)}.{direction}.bin"
    path.write_bytes(struct.pack("<3I", count, elements, size) + blocks.tobytes() + floats.astype("<f4").tobytes())
    print(f"{path.name}: {count} blocks, {path.stat().st_size} bytes")


def random_blocks(rng, count, size, scales):
    """Random bytes with finite scales: mostly of the size models have, some negative, subnormal, zero and the largest."""
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for at in scales:
        d = rng.normal(0, 0.01, count).astype(np.float16)
        d[:4] = np.array([0.0, 6e-8, -3.1e-5, 65504.0], dtype=np.float16)
        blocks[:, at : at + 2] = d.view(np.uint8).reshape(count, 2)
    return blocks


def random_floats(rng, count, elements):
    """Normal rows of many magnitudes; among them zeros, one outlier, ties of magnitude and values that round at halves."""
    x = rng.normal(0, 1, (count, elements)) * 10.0 ** rng.integers(-6, 4, (count, 1))
    x[0] = 0
    x[1] = np.arange(elements) - elements / 2
    x[2, 5] = 1000
    x[3] = np.where(np.arange(elements) % 2, 3.0, -3.0)
    x[4] = np.linspace(-127, 127, elements).round() / 2
    x[4, 0] = 127
    return x.astype(np.float32)


def write_dequantized(rng, name, count, scales):
    kind = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random_blocks(rng, count, size, scales)
    write(name, "dequantize", elements, blocks, gguf.quants.dequantize(blocks, kind))


def quantize_by_ggml(library, name, floats, size):
    blocks = np.zeros((len(floats), size), dtype=np.uint8)
    function = getattr(library, f"quantize_row_{our_name(name)}_ref")
    function(floats.ctypes.data_as(ctypes.c_void_p), blocks.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(floats.size))
    return blocks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ggml", metavar="LIB", type=ctypes.CDLL, help="path of a libggml-base.so")
    library = parser.parse_args().ggml
    rng = np.random.default_rng(20240229)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (count, scales) in DEQUANTIZE.items():
        write_dequantized(rng, name, count, scales)
    for name, (count, scales) in DEQUANTIZE_APART.items():
        write_dequantized(np.random.default_rng([20240229, gguf.GGMLQuantizationType[name]]), name, count, scales)
    for name, count in QUANTIZE.items():
        kind = gguf.GGMLQuantizationType[name]
        elements, _ = gguf.GGML_QUANT_SIZES[kind]
        floats = random_floats(rng, count, elements)
        write(name, "quantize", elements, gguf.quants.quantize(floats, kind), floats)
    for name, count in QUANTIZE_BY_GGML.items() if library else ():
        elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
        floats = random_floats(rng, count, elements)
        write(name, "quantize", elements, quantize_by_ggml(library, name, floats, size), floats)


main()
