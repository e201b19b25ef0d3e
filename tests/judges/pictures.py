#!/usr/bin/env python3
"""Pictures of every kind of PNG and JPEG, and what Pillow makes of them: tests/images.

Usage: pictures.py            (needs pillow, numpy, safetensors, pypng)

Writes one small file a kind and expected.safetensors: NAME is u8 [height, width, 3] as Pillow reads it
(turned by its Exif orientation, in RGB), resize.FILTER.HxW what Pillow makes of `rgb` in that size.
"""
import pathlib
import numpy as np
import png
from PIL import Image, ImageOps
from safetensors.numpy import save_file

folder = pathlib.Path(__file__).resolve().parent.parent / "images"
folder.mkdir(exist_ok=True)
random = np.random.default_rng(18)


def scene(height, width):
    """Waves, edges and a little noise: what filters and quantization tell apart."""
    y, x = np.mgrid[0:height, 0:width]
    red = 128 + 100 * np.sin(x / 3.0) * np.cos(y / 5.0)
    green = np.where((x // 4 + y // 3) % 2 == 0, 230, 20)
    blue = 255 * x / max(1, width - 1)
    noise = random.normal(0, 6, (height, width, 3))
    return np.clip(np.stack([red, green, blue], -1) + noise, 0, 255).astype(np.uint8)


rgb = Image.fromarray(scene(23, 31))
alpha = rgb.copy()
alpha.putalpha(Image.fromarray(np.linspace(0, 255, 23 * 31).reshape(23, 31).astype(np.uint8)))
wide = (np.asarray(rgb).astype(np.uint16) << 8) + 77



def with_pypng(pixels, **how):
    """Kinds that Pillow reads and does not write."""
    height, width = pixels.shape[:2]

    def write(path):
        with open(path, "wb") as file:
            png.Writer(width, height, greyscale=False, **how).write(file, pixels.reshape(height, -1).tolist())
    return write


files = {
    "deep.png": with_pypng(wide, bitdepth=16),
    "interlaced.png": with_pypng(np.asarray(rgb), interlace=True),
    "rgb.png": lambda path: rgb.save(path),
    "grey.png": lambda path: rgb.convert("L").save(path),
    "bits.png": lambda path: rgb.convert("1").save(path),
    "palette.png": lambda path: rgb.quantize(16).save(path),
    "alpha.png": lambda path: alpha.save(path),
    "grey_alpha.png": lambda path: alpha.convert("LA").save(path),
    "rgb.jpg": lambda path: rgb.save(path, quality=85),
    "plain.jpg": lambda path: rgb.save(path, quality=90, subsampling=0),
    "progressive.jpg": lambda path: rgb.save(path, quality=80, progressive=True),
    "grey.jpg": lambda path: rgb.convert("L").save(path),
    "cmyk.jpg": lambda path: rgb.convert("CMYK").save(path, quality=95),
}
for orientation in range(1, 9):
    def turned(path, orientation=orientation):
        exif = Image.Exif()
        exif[0x112] = orientation
        rgb.save(path, quality=95, subsampling=0, exif=exif)
    files[f"orientation{orientation}.jpg"] = turned

expected = {}
for name, write in files.items():
    write(folder / name)
    with Image.open(folder / name) as image:
        expected[name] = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))

filters = {"nearest": Image.NEAREST, "box": Image.BOX, "bilinear": Image.BILINEAR, "hamming": Image.HAMMING,
           "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
for name, number in filters.items():
    for height, width in ((7, 9), (23, 11), (50, 31), (40, 64), (1, 1)):
        expected[f"resize.{name}.{height}x{width}"] = np.asarray(rgb.resize((width, height), number))
save_file({key: np.ascontiguousarray(value) for key, value in expected.items()}, folder / "expected.safetensors",
          metadata={"made_with": f"Pillow {Image.__version__}"})
print(len(expected), "pictures in", folder)
