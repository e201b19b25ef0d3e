-- The families that ship: one file each. A script adds its own with pl.family.
return { "llama", "gpt2", "bert", "t5" }
