"""Sentence embeddings of MiniLM here, in sentence-transformers on PyTorch, in onnxruntime and in OpenVINO: the same
sentences, threads and batches, in turns.

usage: python3 tests/bench/embeddings.py [--text FILE] [--sentences 1000] [--threads 1] [--rounds 3] [--batch 32]
                                         [--model FOLDER] [--perilune build/release/perilune]
Needs `perilune get minilm`, and from PyPI sentence-transformers, torch, onnxruntime and onnx; openvino where it is there.
ONNX files are written by torch.onnx from the same weights; int8 is each side's usual way (dynamic quantization of the
products). Every side tokenizes, pads where it has to, pools and normalizes, and sorts by length as it does by default (the
ONNX sides as sentence-transformers does). Prints medians by the clock and of processor time, their ratios, and how far
embeddings are from sentence-transformers' (least cosine).
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.pop(0)  # this folder, whose tokenizers.py would stand for the package
import numpy
import torch
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer

SCRIPT = """
local pl = require "perilune"
local model, file, threads, compute, out = arg[1], arg[2], tonumber(arg[3]), arg[4], arg[5]
local m = pl.load(model, { threads = threads, compute = compute == "f32" and "f32" or "auto",
  quantize = compute == "int8" and "int8" or nil })
local texts = {}
for line in io.lines(file) do texts[#texts + 1] = line end
m:embed({ texts[1], texts[2] }, { normalize = true })
print "ready"
io.flush()
for _ in io.lines() do
  local started, spent = pl.clock(), os.clock()
  local e = m:embed(texts, { normalize = true })
  print(pl.clock() - started, os.clock() - spent)
  io.flush()
  pl.save(out, { embeddings = e })
end
"""


def sentences_of(path, count):
    text = re.sub(r"\s+", " ", open(path, encoding="utf-8").read())
    return [s for s in re.split(r"(?<=[.!?]) ", text) if len(s) > 3][:count]


class Clocks:
    """Seconds by the clock and of processor time."""

    def __init__(self):
        self.wall, self.spent = time.perf_counter(), time.process_time()

    def passed(self):
        return [time.perf_counter() - self.wall, time.process_time() - self.spent]


class Perilune:
    def __init__(self, o, file, compute):
        self.out = os.path.join(os.path.dirname(file), compute + ".safetensors")
        command = [o.perilune, "-e", SCRIPT, o.model, file, str(o.threads), compute, self.out]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline().strip() == "ready"

    def __call__(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return [float(word) for word in self.process.stdout.readline().split()]

    def embeddings(self):
        return load_file(self.out)["embeddings"]


class Sentences:
    """sentence-transformers, in float32 or with products quantized dynamically."""

    def __init__(self, o, texts, quantized):
        self.model = SentenceTransformer(o.model, device="cpu")
        if quantized:
            self.model = torch.ao.quantization.quantize_dynamic(self.model, {torch.nn.Linear}, dtype=torch.qint8)
        self.texts, self.batch = texts, o.batch

    def __call__(self):
        clocks = Clocks()
        self.last = self.model.encode(self.texts, batch_size=self.batch, normalize_embeddings=True)
        return clocks.passed()

    def embeddings(self):
        return self.last


class Onnx:
    """A file of ONNX in a runtime: `run` takes padded ids and masks."""

    def __init__(self, o, texts, run):
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(os.path.join(o.model, "tokenizer.json"))
        self.tokenizer.enable_padding()
        self.tokenizer.enable_truncation(256)
        self.texts, self.batch, self.run = texts, o.batch, run

    def __call__(self):
        clocks = Clocks()
        order = sorted(range(len(self.texts)), key=lambda i: -len(self.texts[i]))
        found = [None] * len(order)
        for at in range(0, len(order), self.batch):
            part = order[at : at + self.batch]
            encoded = self.tokenizer.encode_batch([self.texts[i] for i in part])
            ids = numpy.array([e.ids for e in encoded], dtype=numpy.int64)
            mask = numpy.array([e.attention_mask for e in encoded], dtype=numpy.int64)
            hidden = self.run(ids, mask)
            pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            pooled /= numpy.linalg.norm(pooled, axis=1, keepdims=True)
            for i, row in zip(part, pooled):
                found[i] = row
        self.last = numpy.array(found)
        return clocks.passed()

    def embeddings(self):
        return self.last


def export(o, folder):
    from transformers import BertModel

    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = BertModel.from_pretrained(o.model, add_pooling_layer=False, attn_implementation="eager").eval()

        def forward(self, ids, mask):
            return self.bert(input_ids=ids, attention_mask=mask).last_hidden_state

    path = os.path.join(folder, "model.onnx")
    ids = torch.ones((2, 7), dtype=torch.int64)
    axes = {"ids": {0: "batch", 1: "length"}, "mask": {0: "batch", 1: "length"}, "hidden": {0: "batch", 1: "length"}}
    torch.onnx.export(Hidden(), (ids, ids), path, input_names=["ids", "mask"], output_names=["hidden"], dynamic_axes=axes,
                      dynamo=False, opset_version=17)
    return path


def onnx_sides(o, texts, folder):
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path, small = export(o, folder), os.path.join(folder, "int8.onnx")
    quantize_dynamic(path, small, weight_type=QuantType.QInt8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = o.threads
    sides = {}
    for name, file in (("f32", path), ("int8", small)):
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        run = lambda ids, mask, session=session: session.run(None, {"ids": ids, "mask": mask})[0]
        sides["onnxruntime " + name] = Onnx(o, texts, run)
    try:
        import openvino
    except ImportError:
        return sides
    core = openvino.Core()
    for name, file in (("f32", path), ("int8", small)):
        hints = {"INFERENCE_NUM_THREADS": o.threads, "INFERENCE_PRECISION_HINT": "f32"}
        model = core.compile_model(file, "CPU", hints)
        sides["OpenVINO " + name] = Onnx(o, texts, lambda ids, mask, model=model: model([ids, mask])[0])
    return sides


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", default="../shared/data/corpora/frankenstein.txt")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--model")
    parser.add_argument("--perilune", default="build/release/perilune")
    o = parser.parse_args()
    o.model = o.model or os.path.join(os.environ.get("PERILUNE_MODELS") or os.path.expanduser("~/.cache/perilune"), "minilm")
    torch.set_num_threads(o.threads)
    texts = sentences_of(o.text, o.sentences)
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "sentences.txt")
        with open(file, "w", encoding="utf-8") as to:
            to.write("\n".join(texts) + "\n")
        sides = {"perilune f32": Perilune(o, file, "f32"), "perilune int8": Perilune(o, file, "int8"),
                 "sentence-transformers f32": Sentences(o, texts, False), "sentence-transformers int8": Sentences(o, texts, True)}
        sides.update(onnx_sides(o, texts, folder))
        seconds = {name: [] for name in sides}
        for _ in range(o.rounds):
            for name, side in sides.items():
                seconds[name].append(side())
        reference = sides["sentence-transformers f32"].embeddings()
        print(f"{len(texts)} sentences, {o.threads} threads, {o.rounds} rounds; in brackets: times ours of the same kind")
        print("| | seconds, median | processor time, median | least cosine to sentence-transformers f32 |\n|---|---|---|---|")
        for name, found in seconds.items():
            cells = []
            for which in (0, 1):
                mine, own = (statistics.median(one[which] for one in seconds[key]) for key in (name, "perilune " + name.split()[-1]))
                cells.append(f"{mine:.2f} ({mine / own:.2f})")
            least = (reference * sides[name].embeddings()).sum(1).min()
            print(f"| {name} | {' | '.join(cells)} | {least:.4f} |")


if __name__ == "__main__":
    main()
