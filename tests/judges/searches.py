"""What the published library answers by searches that its version 5 has left out, and by guidance: groups of beams,
contrastive search, guidance_scale; for the tiny decoders of tests/golden, and the first two for encoder-decoders (guidance there
has no published meaning).

    python3 tests/judges/searches.py tests/golden 8 > tests/lua/searches_expected.json        (8 settings a model and search)

Wants transformers 4.49 (with tokenizers 0.21, huggingface_hub 0.36) and torch.
"""
import json
import math
import os
import random
import sys
import warnings

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)
# Those that version 4.49 reads as version 5 has written them, and whose caches it can reorder.
DECODERS = ["llama-gqa", "gpt2-plain", "mistral-window", "phi-partial-rotary", "phi3-fused-qkv"]
TWO_PART = ["bart-plain", "t5-gated-untied"]
VOCABULARY = 260
PIECES = 503  # of the T5's spiece.model; its table has a row more


def common(r, likely):
    """Rules that a search is asked for with, about ids that the model gives by itself."""
    one = lambda: r.choice(likely) if r.random() < .7 else r.randrange(3, VOCABULARY)
    out = {"max_new_tokens": r.randint(4, 14)}
    if r.random() < .7:
        out["eos_token_id"] = [one()]  # of several, groups there write the first for any
    if r.random() < .3:
        out["repetition_penalty"] = r.choice([.8, 1.3])
    if r.random() < .3:
        out["no_repeat_ngram_size"] = 2
    if r.random() < .2:
        out["min_new_tokens"] = r.randint(1, 4)
    if r.random() < .2:
        out["suppress_tokens"] = [one(), one()]
    return out


def groups(r, likely):
    out = common(r, likely)
    count = r.choice([2, 2, 3, 4])
    out.update(num_beam_groups=count, num_beams=count * r.choice([1, 2, 3]), diversity_penalty=r.choice([.2, .5, 1.0, 5.0]))
    out["num_return_sequences"] = r.randint(1, out["num_beams"])
    if r.random() < .5:
        out["length_penalty"] = r.choice([-1.0, 0.0, .5, 2.0])
    if r.random() < .6:
        out["early_stopping"] = r.choice([True, False, "never"])
    return out


def contrastive(r, likely):
    out = common(r, likely)
    out.update(penalty_alpha=r.choice([.2, .6, .9]), top_k=r.choice([2, 4, 8]))
    return out


def guidance(r, likely):
    out = common(r, likely)
    out["guidance_scale"] = r.choice([.5, 1.5, 3.0, -1.0])
    if r.random() < .5:
        out["negative_prompt"] = [r.randrange(3, VOCABULARY) for _ in range(r.randint(1, 6))]
    return out


def ask(model, prompt, options, two_part):
    given = dict(options)
    negative = given.pop("negative_prompt", None)
    if negative:
        given["negative_prompt_ids"] = torch.tensor([negative])
    out = model.generate(torch.tensor([prompt]), do_sample=False, pad_token_id=0, return_dict_in_generate=True, output_scores=True,
                         use_cache=not two_part or "penalty_alpha" in given, **given)
    skip = 1 if two_part else len(prompt)
    answers = []
    eos = options.get("eos_token_id", [])
    for row in out.sequences.tolist():
        row = row[skip:]
        end = next((i + 1 for i, t in enumerate(row) if t in eos), len(row))
        answers.append(row[:end])
    scores = getattr(out, "sequences_scores", None)
    return answers, None if scores is None else [round(s, 5) for s in scores.tolist()]


def left_out(golden, name, options, answers):
    """Answers that mean nothing: an id that the tokenizer has not, a last token that is forced and suppressed."""
    path = os.path.join(golden, name, "tokenizer.json")
    tokens = len(json.load(open(path))["model"]["vocab"]) if os.path.exists(path) else PIECES
    forced = json.load(open(os.path.join(golden, name, "config.json"))).get("forced_eos_token_id")
    return any(token >= tokens for row in answers for token in row) or forced in options.get("suppress_tokens", [])


def load(golden, name, two_part):
    """The files are of version 5, which says of rotary positions in one table what was keys of their own."""
    path = os.path.join(golden, name)
    config = AutoConfig.from_pretrained(path)
    rope = json.load(open(os.path.join(path, "config.json"))).get("rope_parameters") or {}
    for old, new in (("rope_theta", "rope_theta"), ("rotary_emb_base", "rope_theta"), ("partial_rotary_factor", "partial_rotary_factor"),
                     ("rotary_pct", "partial_rotary_factor")):
        if new in rope and hasattr(config, old):
            setattr(config, old, rope[new])
    cls = AutoModelForSeq2SeqLM if two_part else AutoModelForCausalLM
    return cls.from_pretrained(path, config=config, torch_dtype=torch.float32, attn_implementation="eager").eval()


def main():
    golden, count = sys.argv[1], int(sys.argv[2])
    r = random.Random(15)
    cases = []
    for name in DECODERS + TWO_PART:
        two_part = name in TWO_PART
        model = load(golden, name, two_part)
        for kind in [groups, contrastive] if two_part else [groups, contrastive, guidance]:
            for _ in range(count):
                prompt = [r.randrange(3, VOCABULARY) for _ in range(r.randint(2, 9))]
                with torch.no_grad():
                    plain = model.generate(torch.tensor([prompt]), max_new_tokens=10, do_sample=False, pad_token_id=0,
                                           use_cache=not two_part)[0].tolist()
                    options = kind(r, plain[-10:])
                    try:
                        answers, scores = ask(model, prompt, options, two_part)
                    except Exception as error:  # noqa: BLE001 it refuses where too few tokens are left
                        print(name, options, f"{type(error).__name__}: {error}"[:200], file=sys.stderr)
                        continue
                if left_out(golden, name, options, answers):
                    continue
                if scores and not all(math.isfinite(score) for score in scores):
                    continue  # of tokens that no rule allows
                cases.append({"model": name, "search": kind.__name__, "ids": prompt, "options": options, "answers": answers,
                              "scores": scores})
    made = {"transformers": transformers.__version__, "torch": torch.__version__, "date": "2026-12-01"}
    print(json.dumps({"made_with": made, "cases": cases}))


main()
