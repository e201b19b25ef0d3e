"""What faster-whisper (1.2.1) makes of words and segments whose times are drawn: tests/lua/word_places_expected.json.

usage: python3 tests/judges/word_places.py > tests/lua/word_places_expected.json
Each case: words { text, from, to, ids } and segments { from, to, ids } of one window, then the segments with their words.
"""
import json
import random
import sys

sys.path.pop(0)
from faster_whisper.transcribe import WhisperModel

random.seed(4)
LENGTHS = [0.1, 0.2, 0.2, 0.3, 0, 1.5, 2.5]
OPENING, CLOSING = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"


class Tokens:
    eot = 1000


class Model:
    frames_per_second = 100

    def __init__(self, alignment):
        self.alignment = alignment

    def find_alignment(self, *_):
        return [self.alignment]


def texts():
    before = [" ("] if random.random() < 0.2 else []
    after = [random.choice([".", ",", "!"])] if random.random() < 0.5 else []
    return before + [f" w{random.randint(0, 9)}"] + after


def case():
    alignment, segments, at = [], [], random.choice([0, 2, 9])
    for _ in range(2):
        begin, ids = at, 0
        for text in [t for _ in range(random.randint(2, 5)) for t in texts()]:
            end, count = round(at + random.choice(LENGTHS), 2), random.randint(1, 2)
            alignment.append({"word": text, "tokens": [1] * count, "start": at, "end": end, "probability": 1})
            at, ids = end, ids + count
        segments.append({"seek": 0, "start": round(begin + random.choice([0, 0.3, 0.9]), 2),
                         "end": round(at - random.choice([0, 0.2, 1.0]), 2), "tokens": [1] * ids})
    given = {"words": [[w["word"], w["start"], w["end"], len(w["tokens"])] for w in alignment],
             "segments": [[s["start"], s["end"], len(s["tokens"])] for s in segments]}
    spoken = WhisperModel.add_word_timestamps(Model(alignment), [segments], Tokens, None, 0, OPENING, CLOSING, 0.0)
    placed = [[s["start"], s["end"], [[w["word"], w["start"], w["end"]] for w in s["words"]]] for s in segments]
    return {**given, "placed": placed, "spoken": spoken}


print("[" + ",\n".join(json.dumps(case()) for _ in range(8)) + "]")
