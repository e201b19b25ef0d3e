#!/usr/bin/env python3
"""Others' readers on GGUF files that `perilune quantize` writes.

  python3 tests/faults/judge_written_gguf.py build/release/perilune MODEL TYPE...

Writes MODEL as every TYPE, reads it with the package `gguf` and compares each tensor's values with
those that perilune reads, bit by bit. Where the package `xllamacpp` (llama.cpp) is there too, the
greedy continuation of a prompt must be the same text as perilune's with compute="f32" for at least
eight tokens of types of eight bits and more, and is printed beside it for the others.
Needs gguf, numpy, safetensors.
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy
from gguf import GGUFReader, dequantize
from safetensors.numpy import load_file

PROMPT, TOKENS, SURE = "Once upon a time", 24, ("f32", "f16", "bf16", "q8_0")

VALUES = """
local pl = require "perilune"
local file, out = pl.open(arg[1]), {}
for _, name in ipairs(file.names) do out[name] = file.tensor(name):to "f32" end
pl.save(arg[2], out)
"""

TEXT = """
local pl = require "perilune"
local m = pl.load(arg[1], { compute = "f32" })
io.write(m:generate(arg[2], { do_sample = false, max_new_tokens = tonumber(arg[3]) }).text)
"""


def run(perilune, *words):
    return subprocess.run([perilune, *map(str, words)], check=True, capture_output=True, text=True).stdout


def values_differ(perilune, folder, path):
    script, saved = folder / "values.lua", folder / "values.safetensors"
    script.write_text(VALUES)
    run(perilune, script, path, saved)
    ours, differ, types = load_file(saved), [], {}
    for tensor in GGUFReader(path).tensors:
        theirs = dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        types[tensor.tensor_type.name] = types.get(tensor.tensor_type.name, 0) + 1
        if not numpy.array_equal(theirs.reshape(-1), ours[tensor.name].reshape(-1)):
            differ.append(tensor.name)
    return differ, types


def llama_text(path):
    try:
        import xllamacpp
    except ImportError:
        return None
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx, parameters.n_parallel, parameters.warmup = 256, 1, False
    server = xllamacpp.Server(parameters)
    answer = server.handle_completions({"prompt": PROMPT, "n_predict": TOKENS, "temperature": 0.0, "top_k": 1})
    return answer["choices"][0]["text"] if "choices" in answer else answer["content"]


def main():
    perilune, model, types = sys.argv[1], sys.argv[2], sys.argv[3:]
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "text.lua").write_text(TEXT)
        for kind in types:
            path = folder / f"{kind}.gguf"
            run(perilune, "quantize", model, path, "--to", kind)
            differ, found = values_differ(perilune, folder, path)
            wrong += len(differ)
            print(kind, found, "differ: " + ", ".join(differ) if differ else "every value is the same")
            theirs = llama_text(path)
            if theirs is None:
                print("  llama.cpp is not there")
                continue
            ours = run(perilune, folder / "text.lua", path, PROMPT, TOKENS)
            same = len([0 for a, b in zip(ours.split(), theirs.split()) if a == b])
            print("  perilune:", ours, "\n  llama.cpp:", theirs)
            if kind in SURE and same < 8:
                wrong += 1
    sys.exit(1 if wrong else 0)


main()
