"""A long recording heard by `perilune listen` and by PyPI's faster-whisper on the same file of weights, with equal settings.

usage: python3 tests/judges/long_recording.py FILE MODEL [--perilune build/release/perilune] [--threads 1] [--ladder]
MODEL is a folder in CTranslate2's layout (perilune get whisper-tiny.en). Needs faster-whisper (1.2.1). Greedy at temperature 0;
with --ladder at the usual temperatures, whose draws differ from program to program. Words are compared without case and
punctuation: all of them, and those of segments in which both are sure (mean log-probability above -1, compression below 2.4,
temperature 0). Ends with 1 where sure words differ.
"""
import difflib
import re
import sys

import listening

sys.path.pop(0)
from faster_whisper import WhisperModel


def words_of(segments):
    """Each word with whether its segment is sure."""
    out = []
    for text, sure in segments:
        out += [(w, sure) for w in re.findall(r"[a-z0-9']+", text.lower())]
    return out


def sure(logprob, compression, temperature):
    return logprob > -1 and compression < 2.4 and temperature == 0


def main():
    parser = listening.parser(__doc__)
    parser.add_argument("--ladder", action="store_true")
    o = parser.parse_args()
    theirs_model = WhisperModel(o.model, device="cpu", compute_type="float32", cpu_threads=o.threads)
    more = {} if o.ladder else {"temperature": 0}
    theirs = [(s.text, sure(s.avg_logprob, s.compression_ratio, s.temperature), s.start, s.avg_logprob)
              for s in theirs_model.transcribe(o.file, beam_size=1, language="en", **more)[0]]
    ours = [(s["text"], sure(s["logprob"], s["compression"], s["temperature"]), s["from"], s["logprob"])
            for s in listening.segments(o, ladder=o.ladder)]
    a, b = words_of(t[:2] for t in theirs), words_of(t[:2] for t in ours)
    wrong = wrong_sure = 0
    for kind, i, j, k, l in difflib.SequenceMatcher(None, [w for w, _ in a], [w for w, _ in b], autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        wrong += max(j - i, l - k)
        both = all(s for _, s in a[i:j]) and all(s for _, s in b[k:l])
        wrong_sure += max(j - i, l - k) if both else 0
        print(f"{'sure' if both else 'unsure'}: theirs {' '.join(w for w, _ in a[i:j])!r}, ours {' '.join(w for w, _ in b[k:l])!r}")
    for name, list_ in (("theirs", theirs), ("ours", ours)):
        print(f"{name}: {len(list_)} segments, the first of unsure ones at {next((s[2] for s in list_ if not s[1]), None)}")
    print(f"words: {len(a)} theirs, {len(b)} ours; differing {wrong} ({100 * wrong / max(1, len(a)):.2f} %), of sure ones {wrong_sure}")
    sys.exit(wrong_sure > 0)


if __name__ == "__main__":
    main()
