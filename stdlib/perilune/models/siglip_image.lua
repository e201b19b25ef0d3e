-- SigLIP's vision tower alone, with classes.
return require "perilune.models.tower_classes"(require "perilune.models.siglip", "siglip_image", "SiglipForImageClassification")
