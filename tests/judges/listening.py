"""What the judges of hearing share: their options, and what `perilune listen` hears in a file."""
import argparse
import json
import subprocess

SCRIPT = """
local pl = require "perilune"
local m = pl.load(arg[2], { threads = tonumber(arg[3]), compute = "f32" })
local hear = pl.pipeline("automatic-speech-recognition", m, { temperature = arg[4] == "ladder" and { 0, 0.2, 0.4, 0.6, 0.8, 1 } or 0,
  language = "en", skip_silence = false, return_timestamps = arg[5] == "words" and "word" or nil })
io.write(hear(arg[1]):format "json")
"""


def parser(description):
    """FILE, MODEL, --perilune, --threads."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("file")
    made.add_argument("model")
    made.add_argument("--perilune", default="build/release/perilune")
    made.add_argument("--threads", type=int, default=1)
    return made


def segments(o, ladder=False, words=False):
    """The segments that perilune hears, by the options `o` of parser()."""
    command = [o.perilune, "-e", SCRIPT, o.file, o.model, str(o.threads), "ladder" if ladder else "0", "words" if words else "segments"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["segments"]
