-- CLIP's vision tower alone, with classes.
return require "perilune.models.tower_classes"(require "perilune.models.clip", "clip_image", "CLIPForImageClassification")
