-- Words that people bring along, and what it is called here: names of functions and options, topics, tasks, commands.
return {
  accuracy = "m:score pl.diff", causal = "masks", classify = "text-classification",
  concatenate = "pl.cat", cosine = "sentence-similarity m:embed", cpu = "pl.devices", cuda = "pl.devices",
  debugger = "m:debug :debug :break", detokenize = "Tokenizer:decode", embeddings = "m:embed feature-extraction",
  export = "m:save", finetune = "adapters adapter", gpu = "pl.devices", heatmap = "Tensor:show",
  histogram = "Tensor:hist", index = "Tensor:at", interpretability = "m:lens m:patch m:attention m:trace", latency = ":bench :time",
  likelihood = "m:score logprobs", lora = "adapters adapter", loss = "m:score", metrics = "Engine:stats",
  permute = "Tensor:order", probability = "Tensor:softmax logprobs", profile = ":bench :time", profiler = ":bench :time",
  prompt = "m:generate", quantise = "m:quantize quantization", quit = ":quit", ram = "m:memory :mem pl.estimate", reshape = "Tensor:split_axis Tensor:merge",
  sampling = "do_sample temperature top_k top_p min_p", schedule = "policies pl.engine", scheduler = "policies pl.engine", serve = "pl.engine m:stream",
  server = "pl.engine pl.async", similarity = "sentence-similarity m:embed", slice = "Tensor:at", speech = "automatic-speech-recognition",
  speed = ":bench :time", summarize = "summarization", throughput = ":bench Engine:stats", tokenise = "Tokenizer:encode", tokenize = "Tokenizer:encode",
  transcribe = "automatic-speech-recognition", transpose = "Tensor:order", translate = "translation", truncation = "windows", upload = "m:save",
  variables = ":whos", view = "Tensor:at Tensor:split_axis", vision = "pictures image-classification", vram = "m:memory :mem pl.estimate",
  whisper = "automatic-speech-recognition",
}
