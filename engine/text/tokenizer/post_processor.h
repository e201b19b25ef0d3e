// The last step of encoding: special tokens around one text or two, and their type ids.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"

namespace perilune {

/// What is put around texts.
struct PostProcessing {
  struct Item {
    int text = -1;                  // 0: the text, 1: the pair, -1: `ids`
    std::vector<std::int32_t> ids;  // of a special token
    std::int32_t type_id = 0;
  };
  std::vector<Item> single{{0, {}, 0}};
  std::vector<Item> pair{{0, {}, 0}, {1, {}, 1}};
  bool trim_offsets = false;      // white space at a token's ends is outside its span
  bool add_prefix_space = false;  // … but for a space that was put in
};

/// `post_processor` of a tokenizer.json: TemplateProcessing, BertProcessing, RobertaProcessing,
/// ByteLevel, Sequence; JSON null gives the default. Throws Error(unsupported | format).
PostProcessing read_post_processor(const Json& json);

}  // namespace perilune
