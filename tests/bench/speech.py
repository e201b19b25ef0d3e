"""Whisper tiny.en on a recording, here and in faster-whisper: the same file of weights, threads and settings, in turns.

usage: python3 tests/bench/speech.py FILE [--threads 1] [--rounds 5] [--compute f32|int8] [--perilune build/release/perilune]
Needs faster-whisper from PyPI and `perilune get whisper-tiny.en`. Both are loaded once and hear the recording once
before the rounds; greedy, without tries at other temperatures. Prints seconds of each round, medians and their ratio.
"""
import argparse
import os
import statistics
import subprocess
import sys
import time

sys.path.pop(0)  # this folder, whose tokenizers.py would stand for the package
from faster_whisper import WhisperModel

SCRIPT = """
local pl = require "perilune"
local path, model, threads, int8 = arg[1], arg[2], tonumber(arg[3]), arg[4] == "int8"
local codes = { ["encoder.layers.*"] = "int8", ["decoder.layers.*"] = "int8", ["decoder.embed_tokens"] = "int8" }
local m = pl.load(model, { threads = threads, compute = int8 and "int8" or "f32", quantize = int8 and codes or nil })
local hear = pl.pipeline("automatic-speech-recognition", m, { temperature = 0, language = "en" })
hear(path)
print "ready"
io.flush()
for _ in io.lines() do
  local started = pl.clock()
  local answer = hear(path)
  print(pl.clock() - started, (answer.text:gsub("%s+", " ")))
  io.flush()
end
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compute", choices=["f32", "int8"], default="f32")
    parser.add_argument("--perilune", default="build/release/perilune")
    o = parser.parse_args()
    folder = os.environ.get("PERILUNE_MODELS") or os.path.expanduser("~/.cache/perilune")
    model = os.path.join(folder, "whisper-tiny.en")
    ours = subprocess.Popen([o.perilune, "-e", SCRIPT, o.file, model, str(o.threads), o.compute], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)
    theirs = WhisperModel(model, device="cpu", compute_type="float32" if o.compute == "f32" else "int8", cpu_threads=o.threads)

    def hear():
        segments, _ = theirs.transcribe(o.file, beam_size=1, temperature=0, language="en")
        return "".join(s.text for s in segments)

    hear()
    assert ours.stdout.readline().strip() == "ready"
    seconds = {"perilune": [], "faster-whisper": []}
    texts = {}
    for _ in range(o.rounds):
        ours.stdin.write("\n")
        ours.stdin.flush()
        took, text = ours.stdout.readline().rstrip("\n").split("\t", 1)
        seconds["perilune"].append(float(took))
        texts["perilune"] = text
        started = time.perf_counter()
        texts["faster-whisper"] = hear()
        seconds["faster-whisper"].append(time.perf_counter() - started)
    ours.stdin.close()
    for name, list_ in seconds.items():
        print(f"{name:16} {statistics.median(list_):8.3f} s  ({' '.join(f'{s:.3f}' for s in list_)})  {texts[name][:60]!r}")
    print(f"faster-whisper / perilune: {statistics.median(seconds['faster-whisper']) / statistics.median(seconds['perilune']):.2f}")


if __name__ == "__main__":
    main()
