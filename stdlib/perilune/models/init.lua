-- The families that ship: one file each. A script adds its own with pl.family.
return { "llama", "mistral", "qwen2", "qwen3", "gpt2", "phi", "phi3", "gemma2", "gpt_neox",
  "bert", "roberta", "distilbert", "t5", "bart", "whisper", "clip", "vit", "siglip", "clip_image", "siglip_image" }
