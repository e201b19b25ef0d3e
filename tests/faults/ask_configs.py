"""Asks transformers (5.24, torch 2.15) what random spellings of config.json mean: python ask_configs.py FOLDER [COUNT] [SEED]

Writes COUNT tiny models with changed config.json files and FOLDER/cases.json: what the published implementation
answers for each, or that it refuses it. compare_cases.lua holds the answers against ours."""
import json
import os
import random
import shutil
import sys
import warnings

import torch
import transformers
from transformers import *  # noqa: F403

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)
IDS = [5, 9, 7, 12, 3, 25, 8, 22, 31, 14, 26, 6, 11, 30, 4, 19]  # none that pads anywhere

DECODER = dict(vocab_size=40, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
               num_key_value_heads=2, max_position_embeddings=64)
NO_KV = {k: v for k, v in DECODER.items() if k != "num_key_value_heads"}
ENCODER = dict(vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40,
               max_position_embeddings=64)
BART = dict(vocab_size=40, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=40, decoder_ffn_dim=40, max_position_embeddings=64)
FAMILIES = {
    "llama": (LlamaForCausalLM, LlamaConfig, DECODER), "mistral": (MistralForCausalLM, MistralConfig, DECODER),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, DECODER), "qwen3": (Qwen3ForCausalLM, Qwen3Config, {**DECODER, "head_dim": 8}),
    "gemma2": (Gemma2ForCausalLM, Gemma2Config, {**DECODER, "head_dim": 8}),
    "phi": (PhiForCausalLM, PhiConfig, DECODER), "phi3": (Phi3ForCausalLM, Phi3Config, {**DECODER, "pad_token_id": 0}),
    "gpt_neox": (GPTNeoXForCausalLM, GPTNeoXConfig, NO_KV),
    "gpt2": (GPT2LMHeadModel, GPT2Config, dict(vocab_size=40, n_embd=32, n_layer=2, n_head=4, n_positions=64)),
    "bert": (BertForMaskedLM, BertConfig, ENCODER), "bert_class": (BertForSequenceClassification, BertConfig, ENCODER),
    "roberta": (RobertaForMaskedLM, RobertaConfig, ENCODER), "xlm": (XLMRobertaForMaskedLM, XLMRobertaConfig, ENCODER),
    "camembert": (CamembertForTokenClassification, CamembertConfig, ENCODER),
    "distilbert": (DistilBertForMaskedLM, DistilBertConfig,
                   dict(vocab_size=40, dim=32, n_layers=2, n_heads=4, hidden_dim=40, max_position_embeddings=64)),
    "t5": (T5ForConditionalGeneration, T5Config, dict(vocab_size=40, d_model=32, d_kv=8, d_ff=40, num_layers=2, num_heads=4,
                                                     decoder_start_token_id=0)),
    "bart": (BartForConditionalGeneration, BartConfig, BART), "bart_class": (BartForSequenceClassification, BartConfig, BART),
}
# Sizes that may be left to the class: cheap ones.
DEFAULTED = ["num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size", "vocab_size", "head_dim",
             "max_position_embeddings", "n_layer", "n_head", "n_positions", "n_inner", "n_layers", "n_heads", "hidden_dim",
             "num_layers", "num_heads", "d_kv", "d_ff", "encoder_layers", "decoder_layers", "encoder_attention_heads",
             "decoder_attention_heads", "encoder_ffn_dim", "decoder_ffn_dim", "type_vocab_size"]
ACTS = ["gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "quick_gelu", "relu", "silu", "swish", "tanh", "gelu_python", "relu2",
        "mish", "sigmoid", "gelu_10", "linear"]


def rope(r):
    kind = r.choice(["linear", "dynamic", "yarn", "llama3", "longrope", "default", "su", "proportional"])
    p = {r.choice(["type", "rope_type"]): kind}
    if kind != "default" or r.random() < .3:
        p["factor"] = r.choice([2.0, 4.0, 8, 1.0, 0.5])
    if r.random() < .4:
        p["original_max_position_embeddings"] = r.choice([8, 16, 64])
    if kind == "llama3":
        p.update(low_freq_factor=1.0, high_freq_factor=4.0)
    if kind in ("longrope", "su"):
        p.update(short_factor=[1.0, 1.5, 2.0, 2.5], long_factor=[2.0, 3.0, 4.0, 5.0])
    for key, values in dict(attention_factor=[.8, 1.3], beta_fast=[16, 32.0, 0], beta_slow=[1, 2.0], mscale=[1.0, .7],
                            mscale_all_dim=[.9, 0], truncate=[False, True], finetuned=[True], extra=[3], rope_theta=[5000.0],
                            partial_rotary_factor=[.5]).items():
        if r.random() < .12:
            p[key] = r.choice(values)
    return p


def change(r, name, c, cls):
    """Changes c in place; gives the class's arguments that the weights need."""
    pools = []
    if "rope_parameters" in c or name in ("llama", "mistral", "qwen2", "qwen3", "gemma2", "phi", "phi3", "gpt_neox"):
        def ropes():
            where = r.choice(["rope_scaling", "rope_parameters"])
            c.pop("rope_parameters", None)
            c[where] = rope(r)
            if r.random() < .3:
                c["rope_theta"] = 500.0
            if r.random() < .2:
                c["original_max_position_embeddings"] = 16
        pools += [ropes, ropes, lambda: c.pop("rope_parameters", None), lambda: c.update(rope_scaling=None),
                  lambda: (c.pop("rope_parameters", None), c.update(rope_theta=r.choice([100, 1e6]))),
                  lambda: (c.pop("rope_parameters", None), c.update(partial_rotary_factor=.5)),
                  lambda: (c.pop("rope_parameters", None), c.update(rotary_pct=r.choice([.5, 1.0]), rotary_emb_base=100)),
                  lambda: c.update(rope_interleaved=True), lambda: c.update(sliding_window=r.choice([4, 8, None, 100])),
                  lambda: c.pop("sliding_window", None),
                  lambda: c.update(sliding_window=4, use_sliding_window=True, max_window_layers=r.choice([0, 1, 2])),
                  lambda: c.update(layer_types=[r.choice(["full_attention", "sliding_attention"]) for _ in range(2)]),
                  lambda: c.pop("layer_types", None), lambda: c.update(num_key_value_heads=None),
                  lambda: c.update(query_pre_attn_scalar=r.choice([16, 8])), lambda: c.update(attn_logit_softcapping=r.choice([None, 5.0])),
                  lambda: c.update(final_logit_softcapping=r.choice([None, 5.0])), lambda: c.update(use_parallel_residual=False),
                  lambda: c.update(head_dim=None), lambda: c.update(is_decoder=True), lambda: c.update(pretraining_tp=2)]
    else:
        pools += [lambda: c.update(type_vocab_size=2), lambda: c.update(scale_embedding=True), lambda: c.update(pad_token_id=r.choice([0, 1, 2, None])),
                  lambda: c.update(scale_attn_weights=False), lambda: c.update(scale_attn_by_inverse_layer_idx=True),
                  lambda: c.update(reorder_and_upcast_attn=True), lambda: c.update(relative_attention_max_distance=r.choice([8, 20])),
                  lambda: c.pop("relative_attention_num_buckets", None), lambda: c.update(num_labels=2), lambda: c.pop("id2label", None),
                  lambda: c.pop("decoder_start_token_id", None), lambda: c.update(position_embedding_type="absolute"),
                  lambda: c.update(scale_decoder_outputs=r.choice([True, False])), lambda: c.update(is_encoder_decoder=None) if r.random() < .1 else None]
    eps = [k for k in c if "eps" in k]
    if eps:
        pools += [lambda: c.update({eps[0]: r.choice([1e-3, 1e-8])}), lambda: c.pop(eps[0], None)]
    acts = [k for k in ("hidden_act", "activation_function", "activation", "hidden_activation") if k in c]
    if acts:
        pools += [lambda: c.update({acts[0]: r.choice(ACTS)}), lambda: c.pop(acts[0], None)]
    if "feed_forward_proj" in c:
        pools += [lambda: c.update(dense_act_fn=r.choice(ACTS)), lambda: c.pop("dense_act_fn", None), lambda: c.pop("is_gated_act", None)]
    pools += [lambda: c.update(tie_word_embeddings=r.choice([True, False])), lambda: c.pop("tie_word_embeddings", None),
              lambda: c.update(some_unknown_key=3), lambda: c.pop("model_type", None) if r.random() < .1 else None]
    keys = [k for k in c if k not in ("architectures", "model_type", "hidden_size", "dim", "n_embd", "d_model")]

    def drop():
        c.pop(r.choice(keys), None)
    pools += [drop, drop]
    for _ in range(r.choice([1, 1, 2, 3])):
        r.choice(pools)()


def answer(model, enc):
    x = torch.tensor([IDS])
    with torch.no_grad():
        out = model(input_ids=x, decoder_input_ids=torch.tensor([[2, 8, 5]])) if enc else model(input_ids=x)
    logits = out.logits[0]
    return (logits[-1] if logits.dim() == 2 else logits).tolist()


def make(out, number, r):
    name = r.choice(list(FAMILIES))
    cls, config_cls, base = FAMILIES[name]
    arguments, dropped = dict(base), []
    if r.random() < .35:
        possible = [k for k in DEFAULTED if k in base and hasattr(config_cls(), k)]
        for key in r.sample(possible, min(len(possible), r.choice([1, 1, 2]))):
            value = getattr(config_cls(), key)
            trial = {**arguments, key: value}
            heads = next((trial[k] for k in ("num_attention_heads", "n_head", "n_heads", "encoder_attention_heads") if k in trial), 1)
            if heads and 32 % heads == 0 and value is not None:
                arguments, dropped = trial, dropped + [key]
    if name in ("t5",) and r.random() < .5:
        arguments["feed_forward_proj"] = r.choice(["gated-gelu", "gated-silu", "relu", "gelu"])
    if r.random() < .2:
        arguments["tie_word_embeddings"] = r.random() < .5
    torch.manual_seed(number)
    try:
        model = cls(config_cls(**arguments)).float().eval()
    except Exception:
        return None
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, .3) if p.dim() > 1 else p.uniform_(.6, 1.4)
    folder = os.path.join(out, "%04d-%s" % (number, name))
    model.save_pretrained(folder)
    path = os.path.join(folder, "config.json")
    c = json.load(open(path))
    for key in dropped:
        c.pop(key, None)
    change(r, name, c, config_cls)
    json.dump(c, open(path, "w"), indent=1)
    generation = os.path.join(folder, "generation_config.json")
    if os.path.exists(generation):
        os.remove(generation)
    case = dict(name=os.path.basename(folder), ids=IDS)
    enc = name in ("t5", "bart")
    if enc:
        case["decoder"] = [2, 8, 5]
    try:
        again, info = cls.from_pretrained(folder, output_loading_info=True)
        if info["missing_keys"]:
            raise ValueError("missing " + str(sorted(info["missing_keys"]))[:120])
        values = answer(again.float().eval(), enc)
        case["logits"] = values if all(v == v and abs(v) < 1e30 for v in values) else None
        if case["logits"] is None:
            case["refused"] = "not finite"
    except Exception as error:
        case["refused"] = repr(error)[:200]
    return case


if __name__ == "__main__":
    out, count, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 500, int(sys.argv[3]) if len(sys.argv) > 3 else 1
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    r = random.Random(seed)
    cases = [case for case in (make(out, n, r) for n in range(count)) if case]
    json.dump(cases, open(os.path.join(out, "cases.json"), "w"))
    print(len(cases), "cases,", sum("refused" in c for c in cases), "refused")
