"""Judges constrained output.

    PERILUNE_CONSTRAINED_OUT=texts.jsonl ctest -R lua.constrained_random      (texts of 200 random schemas)
    perilune tests/judges/allowed_tokens.lua sets.jsonl                       (tokens that may come next)
    python3 tests/judges/constrained.py texts.jsonl sets.jsonl > tests/judges/constrained.txt

Wants jsonschema and llguidance. Exit status 1 where an answer is not valid or a set differs.
"""
import datetime
import importlib.metadata
import json
import sys

import jsonschema
import llguidance


def valid_texts(path):
    whole = bad = cut = 0
    for line in open(path, encoding="utf-8"):
        one = json.loads(line)
        if one["finish_reason"] != "stop":
            cut += 1
            continue
        whole += 1
        try:
            jsonschema.validate(json.loads(one["text"]), json.loads(one["schema"]),
                                format_checker=jsonschema.FormatChecker())
        except Exception as error:  # noqa: BLE001 - whatever it is, the text is wrong
            bad += 1
            print("not valid:", one["schema"], one["text"], type(error).__name__)
    print(f"jsonschema: {whole} whole texts of random schemas, {bad} not valid; {cut} were cut by their length")
    return bad


class Vocabulary:
    def __init__(self, tokens, special, stop):
        self.tokens = [bytes.fromhex(t) if t else b"\xff<special>" for t in tokens]
        self.special_token_ids = special
        self.eos_token_id = self.bos_token_id = stop

    def __call__(self, text):
        out, at = [], 0
        by_text = {t: i for i, t in enumerate(self.tokens)}
        while at < len(text):
            end = next(e for e in range(len(text), at, -1) if text[at:e] in by_text)
            out.append(by_text[text[at:end]])
            at = end
        return out


def grammar_of(source):
    if "regex" in source:
        return llguidance.LLMatcher.grammar_from_regex(source["regex"])
    if "gbnf" in source:
        return llguidance.LLMatcher.grammar_from_lark(llguidance.gbnf_to_lark.any_to_lark(source["gbnf"]))
    return llguidance.LLMatcher.grammar_from_json_schema(
        source["json_schema"], overrides={"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"})


def equal_sets(path):
    lines = open(path, encoding="utf-8").read().splitlines()
    head = json.loads(lines[0])
    stop = json.loads(lines[1])["stop"]
    words = Vocabulary(head["tokens"], head["special"], stop)
    tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(words))
    steps = differ = forced = 0
    for line in lines[1:]:
        one = json.loads(line)
        matcher = llguidance.LLMatcher(tokenizer, grammar_of(one["source"]))
        if matcher.get_error():
            print("llguidance does not read", one["source"], matcher.get_error())
            continue
        for ids, at in zip(one["steps"], range(len(one["steps"]))):
            mask = matcher.compute_bitmask()
            theirs = {i for i in range(len(words.tokens)) if mask[i // 8] >> (i % 8) & 1}
            ours = set(ids)
            steps += 1
            if len(theirs) == 1 and theirs < ours:  # what comes next is certain: it names one way to write it
                forced += 1
            elif ours != theirs:
                differ += 1
                show = lambda s: [words.tokens[i] for i in sorted(s)[:5]]
                print("differs:", one["source"], b"".join(words.tokens[i] for i in one["ids"][:at]),
                      "only ours", show(ours - theirs), "only theirs", show(theirs - ours))
                break
            if at < len(one["ids"]) and one["ids"][at] != stop:
                matcher.consume_token(one["ids"][at])
    print(f"llguidance: {steps} sets of tokens of {len(lines) - 1} answers, {differ} differ; "
          f"of {forced} more it gave one token alone, since the text was certain")
    return differ


print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jsonschema", "llguidance")),
      datetime.date.today())
sys.exit(1 if valid_texts(sys.argv[1]) + equal_sets(sys.argv[2]) else 0)
