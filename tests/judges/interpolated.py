"""Pictures of other sizes than a model's: what the published implementation (PyTorch, float32) answers with
interpolate_pos_encoding=True for the tiny models of tests/golden: tests/images/interpolated.safetensors.

usage: python3 tests/judges/interpolated.py          (needs torch, transformers, numpy, safetensors; from the project's folder)
"""
import json
import pathlib

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

GOLDEN = pathlib.Path("tests/golden")
SIZES = {"clip-plain": [(48, 48), (16, 40), (33, 70)], "clip-classes": [(31, 31)], "siglip-plain": [(40, 24)], "siglip-classes": [(35, 15)],
         "vit-base": [(40, 40), (16, 24)], "vit-sequence": [(48, 16)]}


def main():
    random, tensors = np.random.default_rng(3), {}
    for name, sizes in SIZES.items():
        folder = GOLDEN / name
        if not folder.exists():
            print("no", name)
            continue
        config = json.loads((folder / "config.json").read_text())
        architecture = config["architectures"][0]
        two = architecture in ("CLIPModel", "SiglipModel")
        model = getattr(transformers, architecture).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        channels = config.get("vision_config", config).get("num_channels", 3)
        for height, width in sizes:
            pixels = random.normal(0, 1, (2, channels, height, width)).astype(np.float32)
            with torch.no_grad():
                given = dict(pixel_values=torch.tensor(pixels), interpolate_pos_encoding=True)
                if two:
                    answer = model.get_image_features(**given)
                    answer = answer if torch.is_tensor(answer) else answer.pooler_output
                    answer = answer / answer.norm(dim=-1, keepdim=True)
                else:
                    out = model(**given)
                    answer = out.logits if "logits" in out else out.last_hidden_state
            key = f"{name}.{height}x{width}"
            tensors[f"pixels.{key}"], tensors[f"answer.{key}"] = pixels, answer.numpy()
            print(key, tuple(answer.shape))
    save_file(tensors, "tests/images/interpolated.safetensors", {"made_with": f"transformers {transformers.__version__}, torch {torch.__version__}"})


if __name__ == "__main__":
    main()
