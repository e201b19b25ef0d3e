#!/usr/bin/env python3
"""A tiny SigLIP checkpoint with random weights and what the published implementation (PyTorch, float32) answers.

Usage: siglip.py          (needs torch, transformers, numpy, safetensors)

Writes tests/golden/siglip-plain; texts are rows of ids of the model's full length.
"""
import json
import pathlib

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from transformers import SiglipConfig, SiglipModel

folder = pathlib.Path(__file__).resolve().parent.parent / "golden" / "siglip-plain"
folder.mkdir(exist_ok=True)
torch.manual_seed(11)
random = np.random.default_rng(11)
text = dict(vocab_size=90, hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=3, max_position_embeddings=10,
            projection_size=30, pad_token_id=1, bos_token_id=2, eos_token_id=1)
vision = dict(hidden_size=30, intermediate_size=40, num_hidden_layers=2, num_attention_heads=5, image_size=16, patch_size=4)
config = SiglipConfig(text_config=text, vision_config=vision)
model = SiglipModel(config).eval().float()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            parameter.uniform_(0.6, 1.4)
        elif name.endswith("bias"):
            parameter.normal_(0, 0.2)
        elif parameter.ndim > 1:
            parameter.normal_(0, 1 / np.sqrt(np.prod(parameter.shape[1:])))
    model.logit_scale.fill_(1.7)
    model.logit_bias.fill_(-2.5)
ids = random.integers(3, 90, (2, 10))
ids[0, 6:] = 1
pixels = random.normal(0, 1, (2, 3, 16, 16)).astype(np.float32)
with torch.no_grad():
    out = model(input_ids=torch.tensor(ids), pixel_values=torch.tensor(pixels))
tensors = {"pixel_values": pixels, "text_embeds": out.text_embeds.numpy(), "image_embeds": out.image_embeds.numpy(),
           "logits_per_image": out.logits_per_image.numpy()}
config.architectures = ["SiglipModel"]
(folder / "config.json").write_text(config.to_json_string())
state = {key: np.ascontiguousarray(value.detach().numpy()) for key, value in model.state_dict().items()
         if "position_ids" not in key}
save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, folder / "expected.safetensors")
(folder / "expected.json").write_text(json.dumps({
    "model": "siglip-plain", "made_with": {"transformers": transformers.__version__, "torch": torch.__version__},
    "ids": ids.tolist(), "text_embeds": "text_embeds", "image_embeds": "image_embeds", "logits_per_image": "logits_per_image"}, indent=1))
print(*state, sep="\n")
