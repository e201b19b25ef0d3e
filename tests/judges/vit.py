#!/usr/bin/env python3
"""Tiny ViT checkpoints with random weights and what the published implementation (Flax, float32) answers.

Usage: vit.py          (needs transformers<5, flax, jax, numpy, pillow, safetensors)

Writes tests/golden/vit-sequence and tests/golden/vit-base: config.json, preprocessor_config.json,
model.safetensors, expected.json, expected.safetensors. The picture goes through ViTImageProcessor.
"""
import json
import pathlib

import flax
import jax.numpy as jnp
import numpy as np
import transformers
from safetensors.numpy import save_file
from transformers import FlaxViTForImageClassification, FlaxViTModel, ViTConfig, ViTImageProcessor

golden = pathlib.Path(__file__).resolve().parent.parent / "golden"
random = np.random.default_rng(3)


def random_weights(params):
    """Norms away from 1, biases away from 0: mistakes show."""
    flat = flax.traverse_util.flatten_dict(params)
    for key, value in flat.items():
        shape = np.asarray(value).shape
        if key[-1] == "scale":
            flat[key] = random.uniform(0.6, 1.4, shape)
        elif key[-1] == "bias":
            flat[key] = random.normal(0, 0.2, shape)
        else:
            fan_in = int(np.prod(shape[:-1])) if len(shape) > 1 else 1
            flat[key] = random.normal(0, 1 / np.sqrt(fan_in), shape)
        flat[key] = flat[key].astype(np.float32)
    return flax.traverse_util.unflatten_dict(flat)


def published_names(params, prefix):
    """The names and layouts of a PyTorch checkpoint."""
    out = {}
    for key, value in flax.traverse_util.flatten_dict(params).items():
        value, last = np.asarray(value), key[-1]
        if last == "kernel" and value.ndim == 2:
            value, last = value.T, "weight"
        elif last == "kernel":
            value, last = value.transpose(3, 2, 0, 1), "weight"
        elif last == "scale":
            last = "weight"
        out[".".join((*key[:-1], last))] = np.ascontiguousarray(value)
    return {prefix + key if prefix and not key.startswith(("vit.", "classifier")) else key: value for key, value in out.items()}


def write(name, model_class, head, config):
    folder = golden / name
    folder.mkdir(exist_ok=True)
    model = model_class(config, input_shape=(1, config.image_size, config.image_size, 3), dtype=jnp.float32)
    params = random_weights(model.params)
    processor = ViTImageProcessor(size={"height": config.image_size, "width": config.image_size})
    picture = random.integers(0, 256, (19, 29, 3)).astype(np.uint8)
    picture[4:12, 6:20] = (220, 30, 90)
    processed = processor(picture, return_tensors="np")["pixel_values"][0].astype(np.float32)
    pixels = random.normal(0, 1, (3, 3, config.image_size, config.image_size)).astype(np.float32)
    pixels[0] = processed
    given = jnp.asarray(pixels)
    tensors = {"image_rgb_19x29": picture, "image_processed": processed, "pixel_values": pixels}
    expected = {"model": name, "made_with": {"transformers": transformers.__version__, "flax": flax.__version__}}
    out = model(given, params=params)
    if head:
        tensors["logits"] = np.asarray(out.logits)
        expected["pixel_logits"] = "logits"
    else:
        tensors["last_hidden_state"], tensors["pooler_output"] = np.asarray(out.last_hidden_state), np.asarray(out.pooler_output)
        expected.update(pixel_last="last_hidden_state", pixel_pooled="pooler_output")
    config.architectures = ["ViTForImageClassification" if head else "ViTModel"]
    (folder / "config.json").write_text(config.to_json_string())
    (folder / "preprocessor_config.json").write_text(processor.to_json_string())
    save_file(published_names(params, ""), folder / "model.safetensors", metadata={"format": "pt"})
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, folder / "expected.safetensors")
    (folder / "expected.json").write_text(json.dumps(expected, indent=1))
    print(name, {key: value.shape for key, value in tensors.items()})


sizes = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, image_size=18, patch_size=6)
write("vit-sequence", FlaxViTForImageClassification, True,
      ViTConfig(**sizes, id2label={0: "harbour", 1: "cat", 2: "noise", 3: "tower"},
                label2id={"harbour": 0, "cat": 1, "noise": 2, "tower": 3}))
write("vit-base", FlaxViTModel, False, ViTConfig(**{**sizes, "qkv_bias": False, "hidden_act": "gelu_new"}))
