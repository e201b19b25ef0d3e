return [==[
Pictures: PNG and JPEG files into models such as CLIP and ViT

Wherever a model takes texts, one that reads pictures takes { image = } and { pixels = }. An image is a file's path, its
bytes, or a tensor u8 [height, width, channel]; it is resized, cropped, scaled and normalized as the model's
preprocessor_config.json says (without that file: as its family does, with a warning). Pixels are ready:
f32 [channel, height, width], [batch, channel, height, width] or a list. Both take lists, and a list may mix them.

    local m = pl.load "tests/golden/clip-plain"
    local file = "tests/golden/clip-plain/picture.png"
    print(m:embed({ image = file }).shape)                               --> [hidden=24]
    print(m:embed({ { image = file }, { image = pl.image(file) } }).shape)   --> [batch=2, hidden=24]

Texts and pictures together answer as published: how well each fits each.

    local out = m:forward { text = { "but I wanted", "people" }, image = file }
    print(out.logits_per_image.shape, out.logits_per_text.shape)         --> [image=1, text=2]	[text=2, image=1]

CLIP's vectors are its projections, of length 1 (normalize = false: as they are; pooling = "mean" or "cls": of the tower's
last states). m:forward and m:trace answer for pictures as [batch, patch, …]; a batch of pixels,
pl.batch(nil, { inputs = { pixels = … } }), stays ragged, and out.batch:split knows its rows. The towers mark text.* and
image.*; attention over patches is a picture, which t:plot draws:

    local path = "image.layers.1.attention.weights"
    local seen = m:trace({ image = file }, path):patches(path)
    print(seen.shape)                                                    --> [batch=1, row=4, column=4]

A picture of another size than the model's is an error, unless the model is loaded for it: interpolate_pos_encoding names
the size (40 for 40x40, { height=, width= }, or true for what preprocessor_config.json makes), and its table of positions is
resized to the patches of that size, as published.

    local larger = pl.load("tests/golden/clip-plain", { interpolate_pos_encoding = { height = 48, width = 64 } })
    print(larger:forward({ image = file }).last_hidden_state.shape)      --> [batch=1, patch=49, hidden=60]

Pipelines: image-classification, zero-shot-image-classification, image-feature-extraction (perilune help TASK).
pl.image reads a file, pl.resize_image resizes as Pillow does. A family of one's own reads batch.pixels and calls
net:patches and net:prepend; c.preprocessing holds what preprocessor_config.json would say, c.grid = { rows=, columns=,
before= } how patches lie, and the family's embed = { pooling=, normalize= } what m:embed does.
]==]
