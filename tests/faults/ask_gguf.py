"""Asks transformers (5.24) and gguf (0.19) what random GGUF files mean: python ask_gguf.py FOLDER [COUNT] [SEED]

Writes tiny models as GGUF files (one, or cut into shards anywhere) with random types, rope keys and metadata, and
FOLDER/cases.json with the answers of the published model whose weights are what gguf reads from the file, and whose
rotary positions are what llama.cpp makes of the keys. compare_cases.lua holds them against ours."""
import json
import math
import os
import random
import shutil
import sys
import warnings

import gguf
import numpy
import torch
import transformers

from ask_configs import FAMILIES, IDS, answer

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
T = gguf.GGMLQuantizationType
BLOCKS = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
          "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
          "post_attention_layernorm": "ffn_norm", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
          "self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up"}
GEMMA = {**BLOCKS, "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
         "post_feedforward_layernorm": "post_ffw_norm"}
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
GPT2 = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down"}
GPT2_TOP = {"transformer.wte": "token_embd", "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm", "lm_head": "output"}
ROTARY = ["llama", "qwen2", "qwen3", "gemma2", "phi3"]


def gguf_name(family, name):
    module, suffix = name.rsplit(".", 1)
    if family == "gpt2":
        if module in GPT2_TOP:
            return GPT2_TOP[module] + "." + suffix
        _, _, layer, rest = module.split(".", 3)
        return "blk.%s.%s.%s" % (layer, GPT2[rest], suffix)
    if module in TOP:
        return TOP[module] + "." + suffix
    _, _, layer, rest = module.split(".", 3)
    return "blk.%s.%s.%s" % (layer, (GEMMA if family == "gemma2" else BLOCKS)[rest], suffix)


def paired(w, heads):  # rows of rotary pairs side by side, as llama's converter stores them
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def unpaired(w, heads):
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def tensors_of(r, family, model):
    """name -> (array as stored, type); and puts into the model what will be read from the file."""
    c, out, state = model.config, {}, model.state_dict()
    tied = c.tie_word_embeddings
    for name, w in list(state.items()):
        if tied and name == "lm_head.weight":
            continue
        a = w.numpy().astype(numpy.float32)
        new = gguf_name(family, name)
        if family == "gemma2" and new.endswith("norm.weight"):
            a = a + 1
        flip = family == "gpt2" and a.ndim == 2 and ".h." in name
        if flip:
            a = numpy.ascontiguousarray(a.T)
        heads = {"attn_q": c.num_attention_heads, "attn_k": getattr(c, "num_key_value_heads", 0)}.get(new.split(".")[-2]) if family == "llama" else None
        if heads:
            a = paired(a, heads)
        kind = T.F32
        if a.ndim == 2:
            kind = r.choice([T.F32, T.F16, T.BF16] + ([T.Q8_0, T.Q4_0, T.Q5_1, T.Q4_1, T.Q5_0] if a.shape[1] % 32 == 0 else []))
        elif r.random() < .2:
            kind = T.F16
        stored = gguf.quants.quantize(a, kind)
        back = gguf.quants.dequantize(stored, kind).reshape(a.shape).astype(numpy.float32)
        if heads:
            back = unpaired(back, heads)
        if flip:
            back = back.T
        if family == "gemma2" and new.endswith("norm.weight"):
            back = back - 1
        with torch.no_grad():
            w.copy_(torch.from_numpy(numpy.ascontiguousarray(back)))
        out[new] = (stored, kind)
    return out


def rope_keys(r, writer_keys, arch, c, tensors, family):
    """Adds keys and tensors; gives (inverse frequencies, scale) as llama.cpp computes them."""
    dims = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    base = r.choice([10000.0, 500.0])
    key = lambda name, value: writer_keys.append((arch + ".rope." + name, value))
    key("freq_base", float(base))
    if r.random() < .5:
        key("dimension_count", dims)
    extrapolated = numpy.array([base ** (-2 * i / dims) for i in range(dims // 2)])
    kind = r.choice(["absent", "absent", "none", "linear", "yarn", "yarn"]) if family != "phi3" else r.choice(["absent", "longrope"])
    if kind != "absent":
        key("scaling.type", kind)
    factor = r.choice([None, None, 0.0, 2.0, 4.0]) if family != "phi3" else None
    if factor is not None:
        key(r.choice(["scaling.factor", "scaling.factor", "scale_linear"]), factor)
    scale = 1 / factor if factor and kind != "none" else 1.0
    original, attention = c.max_position_embeddings, 1.0
    if r.random() < .5 and family != "phi3":
        original = r.choice([16, 32])
        key("scaling.original_context_length", original)
    ext, fast, slow, log_mul = -1.0, 32.0, 1.0, 0.0
    if r.random() < .3:
        fast = 16.0
        key("scaling.yarn_beta_fast", fast)
    if r.random() < .3:
        slow = 2.0
        key("scaling.yarn_beta_slow", slow)
    if r.random() < .2 and kind == "yarn":
        ext = r.choice([.5, 1.0, 0.0])
        key("scaling.yarn_ext_factor", ext)
    if r.random() < .2:
        attention = 1.25
        key("scaling.yarn_attn_factor", attention)
    if r.random() < .2 and kind == "yarn":
        log_mul = .7
        key("scaling.yarn_log_multiplier", log_mul)
    if r.random() < .2:
        key("scaling.finetuned", True)
    if ext < 0:
        ext = 1.0 if kind == "yarn" else 0.0
    mscale = lambda s, m: 1.0 if s <= 1 else .1 * m * math.log(s) + 1
    if ext:
        attention = mscale(1 / scale, 1) / (mscale(1 / scale, log_mul) if log_mul else 1)
    if r.random() < .3:
        own = r.choice([1.1, .8])
        key("scaling.attn_factor", own)
        attention *= own
    frequencies = extrapolated * scale
    if ext:
        correction = lambda turns: dims * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))
        low, high = max(0, math.floor(correction(fast))), min(dims - 1, math.ceil(correction(slow)))
        ramp = numpy.array([1 - min(1, max(0, (i - low) / max(.001, high - low))) for i in range(dims // 2)]) * ext
        frequencies = extrapolated * scale * (1 - ramp) + extrapolated * ramp
    if r.random() < .25 and family == "llama":
        factors = numpy.array([r.choice([1, 1.5, 4]) for _ in range(dims // 2)], numpy.float32)
        tensors["rope_freqs.weight"] = (factors, T.F32)
        frequencies = frequencies / factors
    if family == "phi3" and r.random() < .6:
        short, long = (numpy.array([r.choice(v) for _ in range(dims // 2)], numpy.float32) for v in ([1, 1.5], [2, 4]))
        tensors["rope_factors_short.weight"], tensors["rope_factors_long.weight"] = (short, T.F32), (long, T.F32)
        original = r.choice([8, 64])
        key("scaling.original_context_length", original)
        frequencies = frequencies / (long if len(IDS) > original else short)
    return frequencies, attention


def write(r, folder, keys, tensors):
    shards = r.choice([1, 1, 2, 3, 5])
    names = list(tensors)
    r.shuffle(names)
    groups = [[] for _ in range(shards)]
    if r.random() < .5:
        for name in names:
            r.choice(groups).append(name)
    else:
        for i, name in enumerate(names):
            groups[i * shards // len(names)].append(name)
    if shards > 1 and r.random() < .4:
        groups[1] += groups[0]
        groups[0] = []
    path = None
    for i, group in enumerate(groups):
        name = "model.gguf" if shards == 1 else "model-%05d-of-%05d.gguf" % (i + 1, shards)
        writer = gguf.GGUFWriter(os.path.join(folder, name), keys[0][1])
        if i == 0:
            for key, value in keys[1:]:
                if isinstance(value, bool):
                    writer.add_bool(key, value)
                elif isinstance(value, float):
                    writer.add_float32(key, value)
                elif isinstance(value, int):
                    writer.add_uint32(key, value)
                else:
                    writer.add_string(key, value)
        if shards > 1:
            writer.add_uint16("split.no", i)
            writer.add_uint16("split.count", shards)
            writer.add_int32("split.tensors.count", len(names))
        for tensor in group:
            stored, kind = tensors[tensor]
            writer.add_tensor(tensor, stored, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        if path is None or r.random() < .3:
            path = name
    return path


def make(out, number, r):
    family = r.choice(ROTARY + ["gpt2"])
    cls, config_cls, base = FAMILIES[family]
    arguments = dict(base)
    if family != "gpt2":
        arguments.update(hidden_size=64, intermediate_size=64, num_attention_heads=4)
        if family in ("qwen3", "gemma2"):
            arguments["head_dim"] = r.choice([16, 32])
        if family == "gemma2":
            arguments.update(query_pre_attn_scalar=arguments["head_dim"], sliding_window=r.choice([4, 64]))
        if family == "llama" and r.random() < .3:
            arguments["attention_bias"] = True
    else:
        arguments["n_embd"] = 64
    arguments["tie_word_embeddings"] = r.random() < .5
    torch.manual_seed(number)
    model = cls(config_cls(**arguments)).float().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, .2) if p.dim() > 1 else p.uniform_(-.4, .4) if family == "gemma2" else p.uniform_(.6, 1.4)
    c = model.config
    folder = os.path.join(out, "%04d-%s" % (number, family))
    os.makedirs(folder)
    tensors = tensors_of(r, family, model)
    keys = [("general.architecture", family), (family + ".block_count", c.num_hidden_layers), (family + ".context_length", c.max_position_embeddings),
            (family + ".embedding_length", c.hidden_size), (family + ".attention.head_count", c.num_attention_heads),
            (family + ".feed_forward_length", getattr(c, "intermediate_size", None) or 4 * c.hidden_size)]
    if family == "gpt2":
        keys.append((family + ".attention.layer_norm_epsilon", float(c.layer_norm_epsilon)))
    else:
        keys += [(family + ".attention.layer_norm_rms_epsilon", float(c.rms_norm_eps)), (family + ".attention.head_count_kv", c.num_key_value_heads)]
        if arguments.get("head_dim"):
            keys += [(family + ".attention.key_length", c.head_dim), (family + ".attention.value_length", c.head_dim)]
        if family == "gemma2":
            keys += [(family + ".attention.sliding_window", c.sliding_window), (family + ".attn_logit_softcapping", float(c.attn_logit_softcapping)),
                     (family + ".final_logit_softcapping", float(c.final_logit_softcapping))]
        frequencies, scale = rope_keys(r, keys, family, c, tensors, family)
        rotary = model.model.rotary_emb
        rotary.inv_freq = torch.tensor(frequencies, dtype=torch.float32)
        rotary.original_inv_freq, rotary.attention_scaling = rotary.inv_freq, float(scale)
    if r.random() < .3:
        keys.append(("general.name", "a model"))
        keys.append((family + ".vocab_size", 40))
    path = write(r, folder, keys, tensors)
    return dict(name="%04d-%s" % (number, family), path="%04d-%s/%s" % (number, family, path), ids=IDS, logits=answer(model, False))


if __name__ == "__main__":
    out, count, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200, int(sys.argv[3]) if len(sys.argv) > 3 else 1
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    r = random.Random(seed)
    cases = [make(out, n, r) for n in range(count)]
    json.dump(cases, open(os.path.join(out, "cases.json"), "w"))
    print(len(cases), "cases")
