-- RoBERTa, XLM-RoBERTa, CamemBERT: BERT whose positions start after the padding id, with other heads.
local config = require "perilune.families.config"
local raise = require "perilune.base.raise"
local bert = require "perilune.models.bert"

local roberta = {
  name = "roberta",
  model_types = { "roberta", "xlm-roberta", "camembert" },
  architectures = {},
  padding = "right",
  tokenizers = { "bpe", "sentencepiece", "unigram" },
  embedding = bert.embedding,
  ties = { { "embeddings.word_embeddings.weight", "lm_head.decoder.weight" }, { "lm_head.bias", "lm_head.decoder.bias" } },
  prefixes = { "roberta." },
  unused = { "embeddings.position_ids", "lm_head.decoder.*", "lm_head.bias" },
  keys = bert.keys,
  weights = bert.weights,
  encode = bert.encode,
}
for _, class in ipairs { "Roberta", "XLMRoberta", "Camembert" } do
  for suffix, head in pairs { Model = "base", ForMaskedLM = "masked", ForSequenceClassification = "sequence",
    ForTokenClassification = "token", ForQuestionAnswering = "question" } do
    roberta.architectures[class .. suffix] = head
  end
end

function roberta.config(json)
  local c = bert.config(json, json.model_type == "roberta" and 50265 or nil)
  c.first_position = config.integer(json, "pad_token_id", 1, 0) + 1
  c.max_tokens = c.max_tokens - c.first_position
  if c.max_tokens < 1 then
    raise("format", "load", ("config.json: max_position_embeddings %d leaves no position after pad_token_id %d"):format(
      c.max_tokens + c.first_position, c.first_position - 1))
  end
  return c
end

local function dense(net, x, path) return net:linear(x, path, "hidden", { bias = true }) end

roberta.heads = {
  base = bert.heads.base,
  token = bert.heads.token,
  question = bert.heads.question,
  sequence = function(net, x)
    local h = net:activation(dense(net, net:select(x, "first"), "classifier.dense"), "tanh")
    return net:linear(h, "classifier.out_proj", "class", { bias = true })
  end,
  masked = function(net, x)
    local c = net.config
    local h = net:layer_norm(net:activation(dense(net, x, "lm_head.dense"), "gelu"), "lm_head.layer_norm", c.norm_eps)
    local tied = c.tied and not net:has "lm_head.decoder.weight"
    local own_bias = net:has "lm_head.decoder.bias"
    return net:head(h, "lm_head.decoder", "vocab", { tied = tied and "embeddings.word_embeddings" or nil,
      bias = own_bias and "lm_head.decoder.bias" or "lm_head.bias" })
  end,
}

return roberta
