"""Adapters of every shape that peft writes, for the tiny models of tests/golden, and what peft answers with them.

    python3 tests/judges/adapters.py tests/golden tests/adapters

Writes tests/adapters/CASE: adapter_config.json, adapter_model.safetensors as peft saves them, and expected.json: the base,
rows of ids, and the logits of each row's last token (of encoders: of the row) without and with the adapter, by running the
adapter beside the base as published; `merged` is the largest difference to merged weights. Also says the versions.
"""
import json
import os
import shutil
import sys

import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model

GOLDEN, OUT = sys.argv[1], sys.argv[2]
AUTO = transformers.AutoModelForCausalLM
SEQUENCE = transformers.AutoModelForSequenceClassification
SEQ2SEQ = transformers.AutoModelForSeq2SeqLM

CASES = {
    "llama-list": ("llama-gqa", AUTO, dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"])),
    "llama-regex": ("llama-gqa", AUTO, dict(r=2, lora_alpha=6, use_rslora=True, layers_to_transform=None,
                    target_modules=r".*layers\.[02]\.(self_attn\.(k|o)_proj|mlp\.(gate|up)_proj)")),
    "llama-patterns": ("llama-gqa", AUTO, dict(r=2, lora_alpha=3, target_modules="all-linear",
                       rank_pattern={"q_proj": 5, r"layers\.1\.mlp\.up_proj": 3},
                       alpha_pattern={r"layers\.[01]\.self_attn\.q_proj": 10, "down_proj": 1})),
    "llama-head": ("llama-gqa", AUTO, dict(r=2, lora_alpha=2, target_modules=["q_proj", "lm_head"], layers_to_transform=[1])),
    "llama-whole-head": ("llama-gqa", AUTO, dict(r=2, lora_alpha=2, target_modules=["v_proj"], modules_to_save=["lm_head"])),
    "llama-embedding": ("llama-gqa", AUTO, dict(r=3, lora_alpha=5, target_modules=["q_proj", "embed_tokens", "lm_head"])),
    "llama-whole-embedding": ("llama-gqa", AUTO, dict(r=2, lora_alpha=2, target_modules=["v_proj"],
                              modules_to_save=["embed_tokens", "lm_head"])),
    "gpt2-embedding": ("gpt2-plain", AUTO, dict(r=3, lora_alpha=5, target_modules=["c_attn", "wte", "wpe"], fan_in_fan_out=True)),
    "gemma2-embedding": ("gemma2-softcap", AUTO, dict(r=2, lora_alpha=3, target_modules=["v_proj", "embed_tokens"])),
    "bert-embedding": ("bert-sequence", SEQUENCE, dict(r=3, lora_alpha=4, target_modules=["word_embeddings", "value"], task_type="SEQ_CLS")),
    "gpt2-fused": ("gpt2-plain", AUTO, dict(r=3, lora_alpha=5, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True)),
    "neox-fused": ("gpt_neox-parallel", AUTO, dict(r=3, lora_alpha=5, target_modules=["query_key_value", "dense_4h_to_h"], bias="lora_only")),
    "phi3-fused": ("phi3-fused-qkv", AUTO, dict(r=3, lora_alpha=5, target_modules=["qkv_proj", "gate_up_proj"])),
    "qwen2-bias": ("qwen2-bias", AUTO, dict(r=3, lora_alpha=5, target_modules=["q_proj", "o_proj"], bias="all", lora_bias=False)),
    "bert-whole": ("bert-sequence", SEQUENCE, dict(r=3, lora_alpha=4, target_modules=["query", "value"], lora_bias=True,
                   modules_to_save=["classifier"], task_type="SEQ_CLS")),
    "t5-both": ("t5-relu-tied", SEQ2SEQ, dict(r=3, lora_alpha=4, target_modules=["q", "v", "wi"])),
}


def randomize(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name or (parameter.requires_grad and name.endswith("bias")):
            spread = 0.15 if "lora_" in name else 0.05
            with torch.no_grad():
                noise = torch.randn(parameter.shape, generator=generator) * spread
                parameter.copy_(parameter + noise if "lora_" not in name else noise)


def answers(model, base, rows):
    out = []
    for row in rows:
        ids = torch.tensor([row])
        with torch.no_grad():
            if base == "t5-relu-tied":
                logits = model(input_ids=ids, decoder_input_ids=torch.tensor([[0, 5, 9]])).logits[0, -1]
            else:
                logits = model(input_ids=ids).logits[0]
                logits = logits[-1] if logits.dim() == 2 else logits
        out.append([float(x) for x in logits])
    return out


def main():
    for number, (case, (base, auto, options)) in enumerate(CASES.items()):
        folder = os.path.join(OUT, case)
        shutil.rmtree(folder, ignore_errors=True)
        source = os.path.join(GOLDEN, base)
        torch.manual_seed(number)
        model = auto.from_pretrained(source, dtype=torch.float32).eval()
        rows = [[5, 17, 33, 8, 120, 60], [7, 9, 11]]
        before = answers(model, base, rows)
        tuned = get_peft_model(model, LoraConfig(**{"task_type": None, **options})).eval()
        randomize(tuned, number + 100)
        after = answers(tuned, base, rows)
        tuned.save_pretrained(folder)
        merged = answers(tuned.merge_and_unload(), base, rows)
        gap = max(abs(a - b) for x, y in zip(after, merged) for a, b in zip(x, y))
        moved = max(abs(a - b) for x, y in zip(before, after) for a, b in zip(x, y))
        path = os.path.join(folder, "adapter_config.json")
        config = json.load(open(path))
        config["base_model_name_or_path"] = base
        json.dump(config, open(path, "w"), indent=1, sort_keys=True)
        for extra in ("README.md",):
            if os.path.exists(os.path.join(folder, extra)):
                os.remove(os.path.join(folder, extra))
        versions = f"peft {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}"
        short = [[round(x, 6) for x in row] for row in after]
        json.dump({"base": base, "rows": rows, "after": short, "moved": moved, "merged": gap, "versions": versions},
                  open(os.path.join(folder, "expected.json"), "w"))
        print(case, "moved", round(moved, 4), "merged", gap, "bytes", sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder)))


main()
