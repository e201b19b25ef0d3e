"""Makes random tokenizer.json files of every kind and asks the published library what they make of texts.

    python3 tests/faults/ask_tokenizers.py FOLDER [SEED [COUNT]]       # FOLDER/NNN/tokenizer.json, FOLDER/answers.jsonl
    build/release/perilune tests/faults/tokenizers.lua FOLDER          # ours against them

Asked with tokenizers 0.23.3. Where a normalizer composes characters, ours gives the place of all of them."""
import json
import os
import pathlib
import random
import sys

import tokenizers

LETTERS = list("abcxyzABÉéßñ .,!?'-_\n\t0123▁Ġ#<>/") + ["e\u0301", "\u0301", "\u0323", "a\u0308", "가", "\u1100\u1161", "\u11a8", "日本", "カ", "ｶﾞ", "ﬁ", "²",
           "Ω", "İ", "σς", "😀", "👩\u200d💻", "\u00a0", "\u200b", "\u3000", "\u00ad", "Å", "Å", "Ǆ", "한", "ไทย", "א", "ع", "…", "\u2028", "ŉ", "\ufeff", "\x00", "\x7f"]
WORDS = ["the", "cat", "café", "cafe\u0301", "naïve", "Ångström", "hello", "don't", "we've", "日本語", "한국어", "Привет", "x1", "42", "3.14", "a-b", "ab", "abc", "the cat", "<s>", "[MASK]", "<x>", "  "]


def text(r):
    out = ""
    for _ in range(r.randint(0, 10)):
        out += r.choice(WORDS) if r.random() < 0.5 else "".join(r.choice(LETTERS) for _ in range(r.randint(1, 4)))
        out += r.choice(["", " ", " ", "  ", ". "])
    return out


def pattern(r):
    return r.choice([{"String": r.choice([" ", "a", "ab", ".", "é", "▁", ""])},
                     {"Regex": r.choice([r"\s+", r"\d", r"[a-c]+", r"\p{L}+|\p{N}", r"(?i:'s|'t)| ?\p{L}+", r".", r"\b", r"(?<=a)b", r"$", r"^a"])}])


def normalizer(r, depth=0):
    kind = r.choice(["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip", "Replace", "Prepend", "Bert", "Nmt", "ByteLevel", "Sequence", "Sequence", "none"])
    if kind in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt"):
        return {"type": kind}
    if kind == "ByteLevel" and depth:
        return {"type": kind}
    if kind == "Strip":
        return {"type": "Strip", "strip_left": r.random() < 0.5, "strip_right": r.random() < 0.5}
    if kind == "Replace":
        return {"type": "Replace", "pattern": pattern(r), "content": r.choice(["", " ", "▁", "x", "ab", "é"])}
    if kind == "Prepend":
        return {"type": "Prepend", "prepend": r.choice(["▁", " ", "ab"])}
    if kind == "Bert":
        return {"type": "BertNormalizer", "clean_text": r.random() < 0.7, "handle_chinese_chars": r.random() < 0.7,
                "strip_accents": r.choice([None, True, False]), "lowercase": r.random() < 0.5}
    if kind == "Sequence" and depth < 2:
        return {"type": "Sequence", "normalizers": [n for n in (normalizer(r, depth + 1) for _ in range(r.randint(0, 3))) if n]}
    return None


def pre_tokenizer(r, depth=0):
    kind = r.choice(["Whitespace", "WhitespaceSplit", "BertPreTokenizer", "ByteLevel", "Metaspace", "Split", "Digits", "Punctuation", "CharDelimiterSplit",
                     "Sequence", "Sequence", "FixedLength", "UnicodeScripts", "none"])
    if kind in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer", "UnicodeScripts"):
        return {"type": kind}
    if kind == "ByteLevel":
        return {"type": kind, "add_prefix_space": r.random() < 0.5, "trim_offsets": r.random() < 0.5, "use_regex": r.random() < 0.7}
    if kind == "Metaspace":
        return {"type": kind, "replacement": r.choice(["▁", "▁", "_"]), "prepend_scheme": r.choice(["always", "first", "never"]), "split": r.random() < 0.7}
    behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
    if kind == "Split":
        return {"type": kind, "pattern": pattern(r), "behavior": r.choice(behaviors), "invert": r.random() < 0.3}
    if kind == "Digits":
        return {"type": kind, "individual_digits": r.random() < 0.5}
    if kind == "Punctuation":
        return {"type": kind, "behavior": r.choice(behaviors)}
    if kind == "CharDelimiterSplit":
        return {"type": kind, "delimiter": r.choice([" ", "a", "é", "."])}
    if kind == "FixedLength":
        return {"type": kind, "length": r.randint(1, 5)}
    if kind == "Sequence" and depth < 2:
        return {"type": kind, "pretokenizers": [n for n in (pre_tokenizer(r, depth + 1) for _ in range(r.randint(0, 3))) if n]}
    return None


def decoder(r, depth=0):
    kind = r.choice(["ByteLevel", "WordPiece", "Metaspace", "BPEDecoder", "ByteFallback", "Fuse", "Strip", "Replace", "CTC", "Sequence", "Sequence", "none"])
    if kind == "WordPiece":
        return {"type": kind, "prefix": r.choice(["##", "#", ""]), "cleanup": r.random() < 0.5}
    if kind == "Metaspace":
        return {"type": kind, "replacement": "▁", "prepend_scheme": r.choice(["always", "first", "never"]), "split": r.random() < 0.7}
    if kind == "BPEDecoder":
        return {"type": kind, "suffix": r.choice(["</w>", "a"])}
    if kind == "Strip":
        return {"type": kind, "content": r.choice([" ", "▁", "a"]), "start": r.randint(0, 2), "stop": r.randint(0, 2)}
    if kind == "Replace":
        return {"type": kind, "pattern": pattern(r), "content": r.choice(["", " ", "x"])}
    if kind == "CTC":
        return {"type": kind, "pad_token": "a", "word_delimiter_token": "|", "cleanup": r.random() < 0.5}
    if kind == "ByteLevel":
        return {"type": kind, "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    if kind in ("ByteFallback", "Fuse"):
        return {"type": kind}
    if kind == "Sequence" and depth < 2:
        return {"type": kind, "decoders": [n for n in (decoder(r, depth + 1) for _ in range(r.randint(0, 4))) if n]}
    return None


def pieces(r, count):
    out = []
    for _ in range(count):
        p = r.choice(WORDS) if r.random() < 0.4 else "".join(r.choice(LETTERS) for _ in range(r.randint(1, 3)))
        if r.random() < 0.2:
            p = r.choice(["▁", "Ġ", "##"]) + p
        if p not in out:
            out.append(p)
    return out


def model(r):
    kind = r.choice(["BPE", "BPE", "Unigram", "Unigram", "WordPiece", "WordLevel"])
    entries = ["<unk>"] + [p for p in pieces(r, r.randint(5, 60)) if p != "<unk>"]
    entries += [c for c in "abcdefghijklmnoprstuvwxyz" if c not in entries and r.random() < 0.8]
    if kind == "Unigram":
        fallback = r.random() < 0.5
        if fallback:
            entries += ["<0x%02X>" % b for b in range(256) if r.random() < 0.999]
        return {"type": kind, "unk_id": 0 if r.random() < 0.9 else None, "vocab": [[p, -round(r.random() * 12, r.randint(0, 6))] for p in entries], "byte_fallback": fallback}
    if kind == "WordPiece":
        entries += ["##" + c for c in "abcdefghiklmnorstuvé" if "##" + c not in entries]
    ids = list(range(len(entries)))
    if r.random() < 0.15:
        ids = sorted(r.sample(range(2 * len(entries)), len(entries)))
    vocab = dict(zip(entries, ids))
    if kind == "WordLevel":
        return {"type": kind, "vocab": vocab, "unk_token": "<unk>"}
    if kind == "WordPiece":
        return {"type": kind, "unk_token": "<unk>", "continuing_subword_prefix": r.choice(["##", "##", ""]), "max_input_chars_per_word": r.choice([100, 5]), "vocab": vocab}
    prefix, suffix = (r.choice([(None, None), (None, None), ("##", None), (None, "</w>")]))
    fallback = r.random() < 0.3
    if fallback:
        for b in range(256):
            vocab.setdefault("<0x%02X>" % b, max(vocab.values()) + 1)
    merges = []
    symbols = [e for e in entries if len(e) <= 3]
    for _ in range(r.randint(0, 40)):
        a, b = r.choice(symbols), r.choice(symbols)
        joined = a + (b[len(prefix):] if prefix and b.startswith(prefix) else b)
        if "<unk>" in (a, b) or " " in a + b or [a, b] in merges:
            continue
        vocab.setdefault(joined, max(vocab.values()) + 1)
        merges.append([a, b])
        if len(joined) <= 6:
            symbols.append(joined)
    return {"type": kind, "dropout": None, "unk_token": r.choice(["<unk>", "<unk>", None]), "continuing_subword_prefix": prefix, "end_of_word_suffix": suffix,
            "fuse_unk": r.random() < 0.5, "byte_fallback": fallback, "ignore_merges": r.random() < 0.3, "vocab": vocab, "merges": merges}


def added(r, m):
    vocab = m["vocab"] if isinstance(m["vocab"], dict) else {p: i for i, (p, _) in enumerate(m["vocab"])}
    out, at = [], max(vocab.values()) + 1
    for content in r.sample(["<s>", "[MASK]", "<x>", "cat", "é", "the cat", "日本", "<y>", " a", "##b"], r.randint(0, 5)):
        at += r.choice([1, 1, 1, 3])
        out.append({"id": vocab.get(content, at), "content": content, "single_word": r.random() < 0.3, "lstrip": r.random() < 0.3, "rstrip": r.random() < 0.3,
                    "normalized": r.random() < 0.5, "special": r.random() < 0.5})
    return out


def post_processor(r, m):
    vocab = m["vocab"] if isinstance(m["vocab"], dict) else {p: i for i, (p, _) in enumerate(m["vocab"])}
    token = r.choice(list(vocab))
    kind = r.choice(["Template", "Bert", "Roberta", "ByteLevel", "Sequence", "none", "none"])
    if kind == "Bert":
        return {"type": "BertProcessing", "sep": [token, vocab[token]], "cls": ["<unk>", 0]}
    if kind == "Roberta":
        return {"type": "RobertaProcessing", "sep": [token, vocab[token]], "cls": ["<unk>", 0], "trim_offsets": r.random() < 0.5, "add_prefix_space": r.random() < 0.5}
    byte_level = {"type": "ByteLevel", "add_prefix_space": r.random() < 0.5, "trim_offsets": r.random() < 0.5, "use_regex": True}
    if kind == "ByteLevel":
        return byte_level
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "Q", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": r.choice([0, 2])}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "Q", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "Q", "type_id": 1}}],
                "special_tokens": {"Q": {"id": "Q", "ids": [vocab[token], 0], "tokens": [token, "<unk>"]}}}
    if kind == "Template":
        return template
    return {"type": "Sequence", "processors": [byte_level, template]} if kind == "Sequence" else None


def answer(row, text_of, r):
    how = row["truncation"]
    try:
        t = tokenizers.Tokenizer.from_str(text_of)
    except BaseException as error:
        row["error"] = str(error)[:200]
        return
    for _ in range(8):
        given, pair = text(r), text(r) if r.random() < 0.3 else None
        case = {"text": given, "pair": pair}
        try:
            t.no_truncation()
            e = t.encode(given, pair) if pair is not None else t.encode(given)
            case.update(ids=e.ids, types=e.type_ids, offsets=e.offsets, sequence=[-1 if s is None else s for s in e.sequence_ids],
                        words=[-1 if w is None else w for w in e.word_ids])
            case["decoded"] = t.decode(e.ids, skip_special_tokens=True)
            case["decoded_all"] = t.decode(e.ids, skip_special_tokens=False)
            if how:
                t.enable_truncation(how["max_length"], stride=how["stride"], strategy="longest_first", direction=how["direction"].lower())
                c = t.encode(given, pair) if pair is not None else t.encode(given)
                case["cut"] = [c.ids] + [o.ids for o in c.overflowing]
        except BaseException as error:
            case = {"text": given, "pair": pair, "error": str(error)[:200]}
        row["cases"].append(case)


def main():
    folder = pathlib.Path(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "answers.jsonl").write_text("")
    for i in range(int(sys.argv[3]) if len(sys.argv) > 3 else 200):
        r = random.Random(seed * 100000 + i)
        m = model(r)
        data = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added(r, m), "normalizer": normalizer(r), "pre_tokenizer": pre_tokenizer(r),
                "post_processor": post_processor(r, m), "decoder": decoder(r), "model": m}
        if r.random() < 0.2:
            data["truncation"] = {"direction": r.choice(["Left", "Right"]), "max_length": r.randint(4, 12), "strategy": "LongestFirst", "stride": r.randint(0, 1)}
        text_of = json.dumps(data, ensure_ascii=False)
        (folder / str(i)).mkdir(exist_ok=True)
        (folder / str(i) / "tokenizer.json").write_text(text_of, encoding="utf-8")
        child = os.fork()  # the library may abort
        if child == 0:
            row = {"folder": str(i), "truncation": data["truncation"], "cases": []}
            answer(row, text_of, r)
            with open(folder / "answers.jsonl", "a", encoding="utf-8") as out:
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            os._exit(0)
        os.waitpid(child, 0)


main()
