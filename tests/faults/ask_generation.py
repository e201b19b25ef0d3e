"""Asks transformers (5.24, torch 2.15) what random generation settings mean: python ask_generation.py GOLDEN FOLDER [COUNT] [SEED]

Takes the tiny decoders and encoder-decoders of GOLDEN (tests/golden), writes COUNT copies with generation_config.json
files of their own into FOLDER, and FOLDER/cases.json: what model.generate answers under each, or the distribution
of its first token where it draws. compare_generation.lua holds the answers against ours."""
import json
import os
import random
import sys
import warnings

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, GenerationConfig

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)
DECODERS = ["llama-gqa", "gpt2-plain", "gpt_neox-parallel", "gemma2-softcap", "mistral-window", "phi-partial-rotary", "phi3-fused-qkv",
            "qwen2-bias", "qwen3-qknorm", "llama-rope-linear"]
TWO_PART = ["bart-plain", "t5-gated-untied", "t5-relu-tied"]
VOCABULARY = 260  # fewer than any of them has


def ids(r, least, most):
    return [r.randrange(3, VOCABULARY) for _ in range(r.randint(least, most))]


def settings(r, two_part, likely):
    """A generation_config.json. `likely`: ids that the model gives by itself, so that rules about ids matter."""
    def one():
        return r.choice(likely) if likely and r.random() < .7 else r.randrange(3, VOCABULARY)

    c = {}
    if r.random() < .8:
        c["max_new_tokens"] = r.randint(1, 16)
    else:
        c["max_length"] = r.randint(12, 28)
    if r.random() < .3:
        c[r.choice(["min_new_tokens", "min_length"])] = r.randint(0, 10)
    if r.random() < .6:
        c["eos_token_id"] = one() if r.random() < .5 else [one() for _ in range(r.randint(1, 3))]
    rules = dict(repetition_penalty=lambda: r.choice([.5, 1.0, 1.3, 5.0]), no_repeat_ngram_size=lambda: r.randint(0, 3),
                 encoder_repetition_penalty=lambda: r.choice([.7, 1.0, 1.5]), encoder_no_repeat_ngram_size=lambda: r.randint(0, 3),
                 bad_words_ids=lambda: [[one() for _ in range(r.randint(1, 3))] for _ in range(r.randint(1, 4))],
                 suppress_tokens=lambda: [one() for _ in range(r.randint(1, 4))],
                 begin_suppress_tokens=lambda: [one() for _ in range(r.randint(1, 4))],
                 forced_bos_token_id=one, forced_eos_token_id=lambda: one() if r.random() < .5 else [one(), one()],
                 exponential_decay_length_penalty=lambda: [r.randint(0, 4), r.choice([1.0, 1.2, 2.0])],
                 sequence_bias=lambda: [[[one() for _ in range(r.randint(1, 2))], r.choice([-5.0, 2.0, 4.5])] for _ in range(r.randint(1, 3))],
                 renormalize_logits=lambda: r.random() < .7, remove_invalid_values=lambda: True)
    for key, make in rules.items():
        if key == "exponential_decay_length_penalty" and "eos_token_id" not in c:
            continue  # refused there
        if r.random() < .22 and (two_part or not key.startswith("encoder_")):
            c[key] = make()
    kind = r.choice(["greedy", "beams", "drawn"])
    if kind == "beams":
        c.update(num_beams=r.randint(2, 4), do_sample=False)
        if isinstance(c.get("forced_eos_token_id"), list):
            del c["forced_eos_token_id"][1:]  # of equal scores topk keeps any
        if r.random() < .5:
            c["length_penalty"] = r.choice([-1.0, 0.0, .5, 2.0])
        if r.random() < .5:
            c["early_stopping"] = r.choice([True, False, "never"])
        if r.random() < .4:
            c["num_return_sequences"] = r.randint(1, c["num_beams"])
    elif kind == "drawn":
        c.update(do_sample=True)
        c["max_new_tokens"] = 1
        c.pop("max_length", None)
        for key in ("min_new_tokens", "min_length", "forced_eos_token_id"):
            c.pop(key, None)
        warpers = dict(temperature=lambda: r.choice([.3, .7, 1.0, 1.8]), top_k=lambda: r.choice([0, 1, 3, 20, 1000]),
                       top_p=lambda: r.choice([.1, .5, .9, 1.0]), min_p=lambda: r.choice([.01, .1, .5]),
                       typical_p=lambda: r.choice([.3, .8, 1.0]), epsilon_cutoff=lambda: r.choice([0.0, .002, .02]),
                       eta_cutoff=lambda: r.choice([0.0, .002, .05]))
        for key, make in warpers.items():
            if r.random() < .35:
                c[key] = make()
    else:
        c["do_sample"] = False
    return kind, c


def ask(model, prompt, config, kind):
    given = torch.tensor([prompt])
    model.generation_config = config  # as from_pretrained finds it in the folder
    if kind == "drawn":
        config.update(return_dict_in_generate=True, output_scores=True)
        scores = model.generate(given).scores[0][0]
        chances = torch.softmax(scores.double(), -1)
        return {"chances": {str(i): chances[i].item() for i in torch.nonzero(chances > 0).flatten().tolist()}}
    answers = model.generate(given)
    skip = 1 if model.config.is_encoder_decoder else len(prompt)
    return {"answers": [row[skip:].tolist() for row in answers]}


def main():
    golden, folder = sys.argv[1], sys.argv[2]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 200
    r = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    os.makedirs(folder, exist_ok=True)
    models, cases = {}, []
    for number in range(count):
        name = r.choice(DECODERS + TWO_PART)
        two_part = name in TWO_PART
        if name not in models:
            cls = AutoModelForSeq2SeqLM if two_part else AutoModelForCausalLM
            model = cls.from_pretrained(os.path.join(golden, name), dtype=torch.float32).eval()
            models[name] = model, model.generation_config.decoder_start_token_id
        model, start = models[name]
        prompt = ids(r, 2, 8)
        with torch.no_grad():
            model.generation_config = GenerationConfig(max_new_tokens=10, use_cache=not two_part, pad_token_id=0,
                                                       decoder_start_token_id=start)
            plain = model.generate(torch.tensor([prompt]))[0].tolist()
            kind, c = settings(r, two_part, plain[-10:] + prompt)
            case = f"{number:03d}-{name}-{kind}"
            path = os.path.join(folder, case)
            os.makedirs(path, exist_ok=True)
            for file in os.listdir(os.path.join(golden, name)):
                if file in ("config.json", "model.safetensors") and not os.path.exists(os.path.join(path, file)):
                    os.symlink(os.path.abspath(os.path.join(golden, name, file)), os.path.join(path, file))
            if two_part and start is not None:
                c["decoder_start_token_id"] = start
            json.dump(c, open(os.path.join(path, "generation_config.json"), "w"), indent=1)
            entry = {"name": case, "ids": prompt, "kind": kind, "settings": c}
            try:
                config = GenerationConfig.from_pretrained(path)
                # What fills the rows of several answers, which no rule reads; T5's cache does not know its own layers.
                config.update(pad_token_id=0, use_cache=not two_part)
                entry.update(ask(model, prompt, config, kind))
            except Exception as error:  # noqa: BLE001 what it refuses is an answer, too
                entry["refused"] = f"{type(error).__name__}: {error}"[:200]
            entry["eos"] = c.get("eos_token_id")
        cases.append(entry)
    json.dump(cases, open(os.path.join(folder, "cases.json"), "w"))
    print(len(cases), "cases,", sum("refused" in one for one in cases), "refused")


main()
