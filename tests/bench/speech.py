"""Whisper tiny.en on a recording, here and in faster-whisper: the same file of weights, threads and settings, in turns.

usage: python3 tests/bench/speech.py FILE [--threads 1] [--rounds 5] [--compute f32|int8] [--perilune build/release/perilune]
Needs faster-whisper from PyPI and `perilune get whisper-tiny.en`. Both are loaded once and hear the recording once
before the rounds; greedy, without tries at other temperatures. Prints seconds of each round, medians and their ratio, by
the clock and of processor time, which other work on the machine changes less.
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
  print((hear(path).text:gsub("%s+", " ")))
  io.flush()
end
"""


def processor_seconds(process):
    """What a process and its threads have used (clock_getcpuclockid)."""
    return time.clock_gettime((~process << 3) | 2)


def timed(process, hear):
    """What hear() gives, its seconds by the clock, and those of a process' processor time."""
    clock, used = time.perf_counter(), processor_seconds(process)
    answer = hear()
    return answer, time.perf_counter() - clock, processor_seconds(process) - used


def report(what, seconds):
    for name, list_ in seconds.items():
        print(f"{what:14} {name:16} {statistics.median(list_):8.3f} s  ({' '.join(f'{s:.3f}' for s in list_)})")
    ours, theirs = (statistics.median(seconds[name]) for name in ("perilune", "faster-whisper"))
    print(f"{what:14} faster-whisper / perilune: {theirs / ours:.2f}, "
          f"of the least {min(seconds['faster-whisper']) / min(seconds['perilune']):.2f}")


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

    def hear_theirs():
        segments, _ = theirs.transcribe(o.file, beam_size=1, temperature=0, language="en")
        return "".join(s.text for s in segments)

    def hear_ours():
        ours.stdin.write("\n")
        ours.stdin.flush()
        return ours.stdout.readline().rstrip("\n")

    hear_theirs()
    assert ours.stdout.readline().strip() == "ready"
    runs = {"perilune": (ours.pid, hear_ours), "faster-whisper": (os.getpid(), hear_theirs)}
    clock, used, texts = ({name: [] for name in runs} for _ in range(3))
    for _ in range(o.rounds):
        for name, run in runs.items():
            text, seconds, processor = timed(*run)
            clock[name].append(seconds)
            used[name].append(processor)
            texts[name].append(text)
    ours.stdin.close()
    for name, list_ in texts.items():
        print(f"{name:16} {list_[-1][:90]!r}")
    report("by the clock", clock)
    report("processor time", used)


if __name__ == "__main__":
    main()
