"""Asks the published tokenizers what spellings make together (convert_tokens_to_string), and writes
join_answers.json beside this file.

    pip install "tokenizers==0.23.3"; python3 tests/faults/ask_join.py"""
import json
import pathlib

import tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXTS = ["don't stop , it 's Berlin .", "Grüße aus Köln", "a ☃ b", "x"]
answers = {"made_with": "tokenizers %s" % tokenizers.__version__, "cases": []}
for path in sorted(ROOT.glob("tests/golden/*/tokenizer.json")):
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    for text in TEXTS:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        # a piece for every token, what the text has where it is unknown; and the words that they make, once more
        pieces = [text[a:b] if "unk" in token.lower() else token for token, (a, b) in zip(encoding.tokens, encoding.offsets)]
        decode = tokenizer.decoder.decode if tokenizer.decoder is not None else " ".join
        for given in (pieces, [decode([piece]) for piece in pieces]):
            answers["cases"].append({"model": path.parent.name, "pieces": given, "text": decode(given)})
out = pathlib.Path(__file__).with_name("join_answers.json")
out.write_text(json.dumps(answers, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
print(out, len(answers["cases"]))
