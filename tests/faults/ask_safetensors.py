"""Asks transformers (5.24, safetensors 0.8) what random weight files mean: python ask_safetensors.py FOLDER [COUNT] [SEED]

Writes tiny models whose safetensors files are cut, typed, named and tied in random ways, and FOLDER/cases.json with
what from_pretrained answers for each, or that it refuses it. compare_cases.lua holds the answers against ours."""
import json
import os
import random
import shutil
import sys
import warnings

import torch
import transformers
from safetensors.torch import save_file, save_model

from ask_configs import FAMILIES, IDS, answer

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
TIES = {"llama": ["model.embed_tokens.weight", "lm_head.weight"], "gpt2": ["transformer.wte.weight", "lm_head.weight"],
        "gpt_neox": ["gpt_neox.embed_in.weight", "embed_out.weight"],
        "bert": ["bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"],
        "roberta": ["roberta.embeddings.word_embeddings.weight", "lm_head.decoder.weight"],
        "distilbert": ["distilbert.embeddings.word_embeddings.weight", "vocab_projector.weight"],
        "t5": ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"],
        "bart": ["model.shared.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight"]}
for name in ("mistral", "qwen2", "qwen3", "gemma2", "phi", "phi3"):
    TIES[name] = TIES["llama"]
BIASES = {"bert": ["cls.predictions.bias", "cls.predictions.decoder.bias"], "roberta": ["lm_head.bias", "lm_head.decoder.bias"]}


def subset(r, state, names, scale):
    """Stores some of the names of one tensor, now and then with other values."""
    value = next(state[n] for n in names if n in state)
    for n in names:
        state.pop(n, None)
    kept = [n for n in names if r.random() < .6] or [r.choice(names)]
    for n in kept:
        state[n] = value.clone()
    if len(kept) > 1 and r.random() < .3:
        state[kept[-1]] = value * scale


def write(r, folder, state):
    shards = r.choice([1, 1, 2, 3])
    if shards == 1:
        save_file(state, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
        return
    names = sorted(state)
    r.shuffle(names)
    index = {}
    where = r.choice(["", "./", "parts/"])
    os.makedirs(os.path.join(folder, "parts"), exist_ok=True)
    for i in range(shards):
        part = names[i::shards]
        shard = where + "part-%d.safetensors" % i
        save_file({n: state[n] for n in part}, os.path.join(folder, shard), metadata={"format": "pt"})
        index.update({n: shard for n in part})
    if r.random() < .2 and len(index) > 3:
        a, b = r.sample(sorted(index), 2)
        index[a], index[b] = index[b], index[a]
    if r.random() < .2:
        index.pop(r.choice(sorted(index)))
    json.dump({"metadata": {}, "weight_map": index}, open(os.path.join(folder, "model.safetensors.index.json"), "w"))


def make(out, number, r):
    name = r.choice(sorted(TIES))
    cls, config_cls, base = FAMILIES[name]
    tied = r.random() < .7
    torch.manual_seed(number)
    model = cls(config_cls(**{**base, "tie_word_embeddings": tied})).float().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, .3) if p.dim() > 1 else p.uniform_(.6, 1.4)
    folder = os.path.join(out, "%04d-%s" % (number, name))
    os.makedirs(folder)
    model.config.architectures = [cls.__name__]
    model.config.save_pretrained(folder)
    if r.random() < .15 and tied:
        save_model(model, os.path.join(folder, "model.safetensors"))
    else:
        state = {n: t.clone().contiguous() for n, t in model.state_dict().items()}
        if r.random() < .8:
            if tied:
                subset(r, state, TIES[name], 1.5)
            if name in BIASES:
                subset(r, state, BIASES[name], 1.5)
        prefix = model.base_model_prefix + "."
        kind = r.choice(["", "", "bare", "masks", "old"])
        if kind == "bare" and name not in ("t5",):
            state = {n[len(prefix):] if n.startswith(prefix) else n: t for n, t in state.items()}
        if kind == "masks":
            extra = {"gpt2": ("transformer.h.0.attn.bias", torch.ones(1, 1, 8, 8, dtype=torch.bool)),
                     "bert": ("bert.embeddings.position_ids", torch.arange(64)[None]),
                     "llama": ("model.layers.0.self_attn.rotary_emb.inv_freq", torch.ones(4))}.get(name)
            if extra:
                state[extra[0]] = extra[1]
        if kind == "old" and name in ("bert", "roberta", "distilbert"):
            state = {n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t for n, t in state.items()}
        dtypes = r.choice([[torch.float32], [torch.float32], [torch.float64], [torch.float16, torch.bfloat16], [torch.float32, torch.float64]])
        state = {n: t.to(r.choice(dtypes)) if t.is_floating_point() else t for n, t in state.items()}
        write(r, folder, state)
    case = dict(name=os.path.basename(folder), ids=IDS)
    if name in ("t5", "bart"):
        case["decoder"] = [2, 8, 5]
    try:
        again, info = cls.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
        if info["missing_keys"]:
            raise ValueError("missing " + str(sorted(info["missing_keys"]))[:120])
        case["logits"] = answer(again.eval(), name in ("t5", "bart"))
    except Exception as error:
        case["refused"] = repr(error)[:200]
    return case


if __name__ == "__main__":
    out, count, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 80, int(sys.argv[3]) if len(sys.argv) > 3 else 1
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    r = random.Random(seed)
    cases = [make(out, n, r) for n in range(count)]
    json.dump(cases, open(os.path.join(out, "cases.json"), "w"))
    print(len(cases), "cases,", sum("refused" in c for c in cases), "refused")
