"""How pictures are prepared: drawn preprocessor_config.json of CLIP, SigLIP, ViT and DeiT, held against the published
processors (transformers 4.46 with Pillow) on every picture of tests/images.

usage: python3 tests/judges/preprocessing.py [COUNT [SEED]] [--perilune build/release/perilune]
Says which settings differ, and by how much; exit status 1 when any does by more than 1e-5. Pictures are resized across
first and down then, as all Pillow did; Pillow 13 goes the other way round for some sizes, which is rounded otherwise.
"""
import argparse
import glob
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import save_file
from transformers import CLIPImageProcessor, DeiTImageProcessor, SiglipImageProcessor, ViTImageProcessor

PROCESSORS = {"clip": CLIPImageProcessor, "siglip": SiglipImageProcessor, "vit": ViTImageProcessor, "deit": DeiTImageProcessor}
SCRIPT = """
local pl = require "perilune"
local core = require "perilune.core"
local pictures, preprocessor = require "perilune.run.pictures", require "perilune.loaded.preprocessor"
local cases, expected, worst = core.read_json(arg[1] .. "/cases.json"), pl.open(arg[1] .. "/expected.safetensors"), 0
for i, case in ipairs(cases) do
  local fine, got = pcall(function() return pictures.prepared(preprocessor.read(case.config, case.own, 3), pl.image(case.file)) end)
  if not fine then
    print("error", case.kind, case.file, tostring(got), pl.json.encode(case.config))
  else
    local wanted = expected.tensor(tostring(i - 1))
    local names = { [wanted.shape[1].name] = "channel", [wanted.shape[2].name] = "height", [wanted.shape[3].name] = "width" }
    wanted = wanted:rename(names)
    if tostring(wanted.shape) ~= tostring(got.shape) then
      print("shape", case.kind, case.file, tostring(got.shape), tostring(wanted.shape), pl.json.encode(case.config))
    else
      local apart = (got - wanted):abs():max()
      worst = math.max(worst, apart)
      if apart > 1e-5 then print("apart", apart, case.kind, case.file, pl.json.encode(case.config)) end
    end
  end
end
print(("%d cases, at most %g apart"):format(#cases, worst))
"""


pillow_resize = Image.Image.resize


def across_then_down(image, size, resample=None, **_):
    return pillow_resize(pillow_resize(image, (size[0], image.size[1]), resample), size, resample)


def drawn(kind, random):
    def one_of(*values):
        return values[int(random.integers(len(values)))]

    def size():
        return int(random.integers(5, 90))

    config = {}
    if random.integers(4):
        config["size"] = {"shortest_edge": size()} if kind == "clip" and random.integers(3) else {"height": size(), "width": size()}
    if random.integers(2):
        config["resample"] = int(random.integers(0, 6))
    config["do_resize"] = bool(random.integers(4))
    if kind in ("clip", "deit"):
        config["do_center_crop"] = bool(random.integers(3))
        if random.integers(3):
            config["crop_size"] = one_of(size(), {"height": size(), "width": size()})
    if random.integers(2):
        config["do_rescale"], config["rescale_factor"] = bool(random.integers(4)), one_of(1 / 255, 1 / 127.5, 0.01)
    if random.integers(2):
        config["do_normalize"] = bool(random.integers(2))
        config["image_mean"], config["image_std"] = random.uniform(-1, 1, 3).tolist(), random.uniform(0.1, 2, 3).tolist()
    if kind != "deit" and random.integers(2):
        config["do_convert_rgb"] = True
    return config


def own_of(kind):
    """What a family does where its file is silent, as models/*.lua say it for a picture of 224."""
    processor = PROCESSORS[kind]()
    own = {"size": processor.size, "resample": int(processor.resample), "image_mean": list(processor.image_mean), "image_std": list(processor.image_std)}
    if kind in ("clip", "deit"):
        own.update(do_center_crop=True, crop_size=processor.crop_size)
    return own


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, default=40)
    parser.add_argument("seed", nargs="?", type=int, default=0)
    parser.add_argument("--perilune", default="build/release/perilune")
    o = parser.parse_args()
    Image.Image.resize = across_then_down
    random, cases, tensors = np.random.default_rng(o.seed), [], {}
    files = sorted(f for f in glob.glob("tests/images/*.png") + glob.glob("tests/images/*.jpg") if "cmyk" not in f and "deep" not in f)
    for _ in range(o.count):
        for kind in PROCESSORS:
            config = drawn(kind, random)
            processor = PROCESSORS[kind](**config)
            file = files[int(random.integers(len(files)))]
            image = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
            pixels = processor(image, return_tensors="np")["pixel_values"][0]
            tensors[str(len(cases))] = np.ascontiguousarray(pixels, dtype=np.float32)
            cases.append({"kind": kind, "file": file, "config": config, "own": own_of(kind)})
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "cases.json").write_text(json.dumps(cases))
        save_file(tensors, f"{folder}/expected.safetensors")
        said = subprocess.run([o.perilune, "-e", SCRIPT, folder], capture_output=True, text=True, check=False)
    print(said.stdout + said.stderr)
    sys.exit(1 if said.returncode or any(word in said.stdout for word in ("apart\t", "shape\t", "error\t")) else 0)


if __name__ == "__main__":
    main()
