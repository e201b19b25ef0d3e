#!/usr/bin/env python3
"""Tokenizers beside the reference library (`tokenizers`), both on one thread, in turns, in one run.

Usage: tests/bench/tokenizers.py [--data ../shared/data] [--bench build/release/bench/bench_tokenizers]
                                 [--rounds 3] [--markdown]
Needs `pip install tokenizers` (any environment). The reference runs as encode_batch_fast, which leaves
positions out, and as encode_batch; ours without and with positions. Prose, code and Japanese; the ids of
both sides must have one checksum. Speeds are the best of the rounds.
"""
import argparse, glob, json, os, subprocess, sys, tempfile, time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"


def chunks(text, size=2048):
    """Whole lines, about `size` characters a text."""
    parts, lines, length = [], [], 0
    for line in text.splitlines(keepends=True):
        lines.append(line)
        length += len(line)
        if length >= size:
            parts.append("".join(lines))
            lines, length = [], 0
    if lines:
        parts.append("".join(lines))
    return parts


def checksum(encodings):
    value = 0
    for encoding in encodings:
        for token in encoding.ids:
            value = (value * 31 + token) & 0xFFFFFFFF
    return value


def reference(tokenizer, texts, with_places):
    call = tokenizer.encode_batch if with_places else tokenizer.encode_batch_fast
    start = time.process_time()
    encodings = [call([text])[0] for text in texts]
    return time.process_time() - start, encodings


def ours(bench, path, file, with_places):
    command = [bench, path, file, "--repeats", "3"] + (["--tokens"] if with_places else [])
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def corpora(data):
    read = lambda path: open(path, encoding="utf-8", errors="replace").read()
    code = "".join(read(path) for path in sorted(glob.glob("engine/**/*.cpp", recursive=True)))
    return {
        "prose": read(f"{data}/corpora/botchan.txt") + read(f"{data}/corpora/frankenstein.txt"),
        "code": code,
        "Japanese": read(f"{data}/corpora/wagahaiwa_nekodearu.txt"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--bench", default="build/release/bench/bench_tokenizers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--markdown", action="store_true", help="a table for docs/performance.md")
    settings = parser.parse_args()
    # This file has the library's name: its own folder must not be searched.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path = [path for path in sys.path if os.path.abspath(path or ".") != here]
    try:
        import tokenizers
    except ImportError:
        print("skipped: no Python package `tokenizers` here")
        return 77
    rule = "| {:18} | {:8} | {:>10} | {:>10} | {:>6} | {:>10} | {:>10} | {:>6} |" if settings.markdown else \
        "{:18} {:8} {:>10} {:>10} {:>6}   {:>10} {:>10} {:>6}"
    print(f"MB/s, one thread; reference: tokenizers {tokenizers.__version__}")
    print(rule.format("tokenizer", "text", "ours", "reference", "ratio", "ours+place", "reference", "ratio"))
    if settings.markdown:
        print("|---|---|" + "---|" * 6)
    worst, equal = 1e9, True
    with tempfile.TemporaryDirectory() as folder:
        texts = {}
        for name, text in corpora(settings.data).items():
            texts[name] = chunks(text.replace("\0", " "))
            with open(f"{folder}/{name}", "wb") as out:
                out.write(b"".join(part.encode() + b"\0" for part in texts[name]))
        for path in sorted(glob.glob(f"{settings.data}/tokenizers/*/tokenizer.json")):
            try:
                tokenizer = tokenizers.Tokenizer.from_file(path)
            except Exception as error:
                print(f"{path.split('/')[-2]}: the reference cannot read it: {error}")
                continue
            tokenizer.no_truncation()
            tokenizer.no_padding()
            for name, parts in texts.items():
                cells, size = [], sum(len(part.encode()) for part in parts)
                for with_places in (False, True):
                    theirs, mine = 1e9, 1e9
                    for _ in range(settings.rounds):
                        seconds, encodings = reference(tokenizer, parts, with_places)
                        theirs = min(theirs, seconds)
                        answer = ours(settings.bench, path, f"{folder}/{name}", with_places)
                        mine = min(mine, answer["seconds"])
                    if answer["checksum"] != checksum(encodings):
                        equal = False
                        print(f"  {path}, {name}: the ids differ")
                    worst = min(worst, theirs / mine)
                    cells += [f"{size / mine / 1e6:.1f}", f"{size / theirs / 1e6:.1f}", f"{theirs / mine:.1f}"]
                print(rule.format(path.split("/")[-2], name, *cells), flush=True)
    print(f"smallest ratio {worst:.2f}; ids " + ("equal everywhere" if equal else "DIFFER"))
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
