"""When each word is said, by `perilune listen --words` and by PyPI's faster-whisper on the same file of weights.

usage: python3 tests/judges/word_times.py FILE MODEL [--perilune build/release/perilune] [--threads 1]
MODEL is a folder in CTranslate2's layout (perilune get whisper-tiny.en). Needs faster-whisper (1.2.1). Greedy at temperature 0,
float32, no silence passed over. Words that both hear are compared; prints how far their beginnings and ends are apart, and
those by more than 0.1 s. Ends with 1 where there are such.
"""
import difflib
import sys

import listening

sys.path.pop(0)
from faster_whisper import WhisperModel

MOST = 0.1  # seconds


def main():
    o = listening.parser(__doc__).parse_args()
    model = WhisperModel(o.model, device="cpu", compute_type="float32", cpu_threads=o.threads)
    segments = model.transcribe(o.file, beam_size=1, language="en", temperature=0, word_timestamps=True)[0]
    theirs = [(w.word.strip(), float(w.start), float(w.end)) for s in segments for w in s.words]
    ours = [(w["text"].strip(), w["from"], w["to"]) for s in listening.segments(o, words=True) for w in s.get("words", [])]
    apart, far = [], 0
    matcher = difflib.SequenceMatcher(None, [w[0] for w in theirs], [w[0] for w in ours], autojunk=False)
    for i, j, count in matcher.get_matching_blocks():
        for a, b in zip(theirs[i:i + count], ours[j:j + count]):
            most = max(abs(a[1] - b[1]), abs(a[2] - b[2]))
            apart.append(most)
            if most > MOST + 1e-6:
                far += 1
                print(f"{a[0]!r}: theirs {a[1]:.2f} to {a[2]:.2f}, ours {b[1]:.2f} to {b[2]:.2f}")
    apart.sort()
    print(f"words: {len(theirs)} theirs, {len(ours)} ours, {len(apart)} in both; apart by {apart[len(apart) // 2]:.3f} s (median), "
          f"{apart[-1]:.3f} s at most; more than {MOST} s: {far}")
    sys.exit(far > 0)


if __name__ == "__main__":
    main()
