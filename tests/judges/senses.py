"""Tiny Whisper, CLIP, SigLIP and ViT checkpoints of unusual shapes with random weights, and what the published
implementation (PyTorch, float32) answers: folders for `perilune compare`.

usage: python3 tests/judges/senses.py OUT [COUNT [SEED]]          (needs torch, transformers, numpy, safetensors)
       perilune compare OUT/*

COUNT: also so many drawn shapes of each family.

clip-classes, siglip-classes and whisper-one-head are in tests/golden.
"""
import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from transformers import (CLIPConfig, CLIPForImageClassification, CLIPModel, DeiTConfig, DeiTForImageClassification, SiglipConfig, SiglipForImageClassification, SiglipModel, ViTConfig,
                          ViTForImageClassification, ViTModel, WhisperConfig, WhisperFeatureExtractor,
                          WhisperForConditionalGeneration)

OUT = pathlib.Path(sys.argv[1])
COUNT, SEED = (int(sys.argv[i]) if len(sys.argv) > i else 0 for i in (2, 3))
random = np.random.default_rng(5 + SEED)


def drawn(model):
    """Weights in which a mistake shows: norms away from 1, biases away from 0."""
    model = model.eval().float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name.lower() and name.endswith("weight"):
                parameter.uniform_(0.6, 1.4)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.2)
            elif parameter.ndim > 1 and "encoder.embed_positions" not in name:
                parameter.normal_(0, 1 / np.sqrt(np.prod(parameter.shape[1:])))
    return model


def save_in_order(tensors, path):
    """Inputs first: a test changes the last number of the file, and must see an answer that is off by it."""
    header, data = {}, b""
    for key in sorted(tensors, reverse=True):
        value = np.ascontiguousarray(tensors[key], dtype=np.float32)
        header[key] = {"dtype": "F32", "shape": list(tensors[key].shape), "data_offsets": [len(data), len(data) + value.nbytes]}
        data += value.tobytes()
    text = json.dumps(header)
    text += " " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text.encode() + data)


def write(name, model, expected, tensors):
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.save_pretrained(folder)
    save_in_order(tensors, folder / "expected.safetensors")
    made = {"transformers": transformers.__version__, "torch": torch.__version__}
    (folder / "expected.json").write_text(json.dumps({"model": name, "made_with": made, **expected}, indent=1))


def whisper(name, **sizes):
    base = dict(vocab_size=120, max_target_positions=40, decoder_start_token_id=3, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                begin_suppress_tokens=None, suppress_tokens=None)
    torch.manual_seed(len(name))
    model = drawn(WhisperForConditionalGeneration(WhisperConfig(**{**base, **sizes})))
    wave = random.uniform(-0.5, 0.5, 12000).astype(np.float32)
    frames = 2 * model.config.max_source_positions
    make = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins, chunk_length=1)
    make.n_samples = frames * 160
    features = torch.tensor(make(wave, sampling_rate=16000, padding="max_length", max_length=frames * 160).input_features)[:, :, :frames]
    decoder = [3, 7, 100, 12, 5]
    with torch.no_grad():
        out = model(input_features=features, decoder_input_ids=torch.tensor([decoder]))
        ids = [3]
        while len(ids) < 12:
            ids.append(int(model(input_features=features, decoder_input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    write(name, model, {"sample_rate": 16000, "decoder_ids": decoder, "encoder_last": "encoder", "logits": "logits", "greedy_ids": ids},
          {"wave": wave, "encoder": out.encoder_last_hidden_state[0].numpy(), "logits": out.logits[0].numpy()})


def towers(name, config, model, length, size):
    torch.manual_seed(len(name))
    model = drawn(model(config))
    with torch.no_grad():
        model.logit_scale.fill_(1.3)
        if hasattr(model, "logit_bias"):
            model.logit_bias.fill_(-1.5)
    ids = random.integers(3, config.text_config.vocab_size - 1, (2, length))
    if isinstance(model, CLIPModel):
        ids[:, -1] = config.text_config.eos_token_id if config.text_config.eos_token_id != 2 else config.text_config.vocab_size - 1
    pixels = random.normal(0, 1, (2, 3, size, size)).astype(np.float32)
    with torch.no_grad():
        out = model(input_ids=torch.tensor(ids), pixel_values=torch.tensor(pixels))
    write(name, model, {"ids": ids.tolist(), "text_embeds": "text_embeds", "image_embeds": "image_embeds",
                        "logits_per_image": "logits_per_image"},
          {"pixel_values": pixels, "text_embeds": out.text_embeds.numpy(), "image_embeds": out.image_embeds.numpy(),
           "logits_per_image": out.logits_per_image.numpy()})


def classes(name, config, model, size, channels=3):
    torch.manual_seed(len(name))
    model = drawn(model(config))
    pixels = random.normal(0, 1, (2, channels, size, size)).astype(np.float32)
    with torch.no_grad():
        out = model(pixel_values=torch.tensor(pixels))
    if "logits" in out:
        write(name, model, {"pixel_logits": "pixel_logits"}, {"pixel_values": pixels, "pixel_logits": out.logits.numpy()})
    else:
        write(name, model, {"pixel_last": "pixel_last", "pixel_pooled": "pixel_pooled"},
              {"pixel_values": pixels, "pixel_last": out.last_hidden_state.numpy(), "pixel_pooled": out.pooler_output.numpy()})


whisper("whisper-odd-heads", num_mel_bins=128, d_model=40, encoder_layers=3, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=5, encoder_ffn_dim=72, decoder_ffn_dim=56, max_source_positions=75, scale_embedding=True)
whisper("whisper-one-head", num_mel_bins=33, d_model=24, encoder_layers=1, decoder_layers=2, encoder_attention_heads=1,
        decoder_attention_heads=1, encoder_ffn_dim=20, decoder_ffn_dim=50, max_source_positions=51, activation_function="relu")
whisper("whisper-untied", num_mel_bins=80, d_model=36, encoder_layers=2, decoder_layers=2, encoder_attention_heads=3,
        decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, max_source_positions=50, tie_word_embeddings=False)

text = dict(vocab_size=90, hidden_size=35, intermediate_size=36, num_hidden_layers=1, num_attention_heads=5, max_position_embeddings=11)
vision = dict(hidden_size=56, intermediate_size=40, num_hidden_layers=3, num_attention_heads=7)
towers("clip-rest-of-patch", CLIPConfig(text_config={**text, "eos_token_id": 88, "hidden_act": "gelu"},
       vision_config={**vision, "image_size": 30, "patch_size": 7, "hidden_act": "gelu"}, projection_dim=17), CLIPModel, 9, 30)
towers("clip-one-patch", CLIPConfig(text_config={**text, "eos_token_id": 2, "layer_norm_eps": 1e-3},
       vision_config={**vision, "image_size": 8, "patch_size": 8, "layer_norm_eps": 1e-3}, projection_dim=64), CLIPModel, 11, 8)
towers("siglip-rest-of-patch", SiglipConfig(text_config={**text, "projection_size": 56}, vision_config={**vision, "image_size": 19, "patch_size": 4}),
       SiglipModel, 11, 19)
labels = dict(num_labels=4)
tiny = dict(hidden_size=28, intermediate_size=20, num_hidden_layers=1, num_attention_heads=7)
classes("vit-rest-of-patch", ViTConfig(**vision, image_size=30, patch_size=8, qkv_bias=False, **labels), ViTForImageClassification, 30)
classes("vit-grey", ViTConfig(**vision, image_size=24, patch_size=6, num_channels=1, hidden_act="relu"), ViTModel, 24, 1)
classes("siglip-classes", SiglipConfig(text_config=text, vision_config={**tiny, "image_size": 20, "patch_size": 5}, **labels),
        SiglipForImageClassification, 20)
classes("clip-classes", CLIPConfig(text_config=text, vision_config={**tiny, "image_size": 20, "patch_size": 6}, **labels),
        CLIPForImageClassification, 20)


def one_of(*values):
    return values[int(random.integers(len(values)))]


def hidden():
    """Hidden size and heads; heads of odd sizes, too."""
    heads = int(random.integers(1, 8))
    return heads * int(random.choice([2, 3, 4, 5, 8, 12, 17, 20])), heads


def layers(prefix=""):
    size, heads = hidden()
    return {"hidden_size": size, "num_attention_heads": heads, "intermediate_size": int(random.integers(4, 90)),
            "num_hidden_layers": int(random.integers(1, 4)), "hidden_act": one_of("gelu", "quick_gelu", "gelu_pytorch_tanh", "relu", "silu"),
            "layer_norm_eps": one_of(1e-12, 1e-6, 1e-5, 1e-3)}


def picture():
    patch = int(random.integers(2, 17))
    return {"patch_size": patch, "image_size": patch * int(random.integers(1, 6)) + int(random.integers(patch))}


def drawn_whisper(i):
    heads, other = int(random.integers(1, 7)), int(random.integers(1, 7))
    size = heads * other * int(random.choice([2, 3, 4, 5]) if heads * other > 10 else random.choice([4, 6, 8, 9, 10]))
    size += size % 2 * heads * other   # sinusoids come in pairs
    whisper(f"whisper-drawn-{i}", num_mel_bins=one_of(80, 128, 20, 33), d_model=size, encoder_layers=int(random.integers(1, 4)),
            decoder_layers=int(random.integers(1, 4)), encoder_attention_heads=heads, decoder_attention_heads=other,
            encoder_ffn_dim=int(random.integers(5, 100)), decoder_ffn_dim=int(random.integers(5, 100)),
            max_source_positions=int(random.integers(38, 90)), vocab_size=int(random.integers(110, 900)),
            max_target_positions=int(random.integers(14, 60)), activation_function=one_of("gelu", "relu", "silu", "gelu_new"),
            scale_embedding=bool(random.integers(2)), tie_word_embeddings=bool(random.integers(4)))


def drawn_towers(i):
    length, vocab = int(random.integers(5, 20)), int(random.integers(60, 300))
    see, read = {**layers(), **picture()}, {**layers(), "vocab_size": vocab, "max_position_embeddings": length}
    end = one_of(2, vocab - 1, vocab - 3)
    towers(f"clip-drawn-{i}", CLIPConfig(text_config={**read, "eos_token_id": end}, vision_config=see, projection_dim=int(random.integers(3, 70))),
           CLIPModel, length, see["image_size"])
    see, read = {**layers(), **picture()}, {**layers(), "vocab_size": vocab, "max_position_embeddings": length}
    towers(f"siglip-drawn-{i}", SiglipConfig(text_config={**read, "projection_size": see["hidden_size"]}, vision_config=see), SiglipModel, length,
           see["image_size"])


def drawn_classes(i):
    labels, channels = dict(num_labels=int(random.integers(1, 9))), one_of(3, 3, 1, 4)
    for kind, config, model, extra in (
            ("vit", ViTConfig, ViTForImageClassification, {"qkv_bias": bool(random.integers(2)), "num_channels": channels}),
            ("deit", DeiTConfig, DeiTForImageClassification, {"num_channels": channels})):
        sizes = {**layers(), **picture(), **extra}
        classes(f"{kind}-drawn-{i}", config(**sizes, **labels), model, sizes["image_size"], channels)
    sizes = {**layers(), **picture(), **({"num_channels": channels})}
    classes(f"vit-base-drawn-{i}", ViTConfig(**sizes), ViTModel, sizes["image_size"], channels)
    for kind, config, model in (("clip", CLIPConfig, CLIPForImageClassification), ("siglip", SiglipConfig, SiglipForImageClassification)):
        sizes = {**layers(), **picture()}
        classes(f"{kind}-classes-drawn-{i}", config(text_config=text, vision_config=sizes, **labels), model, sizes["image_size"])


for number in range(COUNT):
    drawn_whisper(number)
    drawn_towers(number)
    drawn_classes(number)
