// Special and added tokens of the file kinds that carry none themselves: vocab.json with
// merges.txt, vocab.txt, tiktoken ranks.
#pragma once

#include <string>
#include <string_view>

#include "engine/base/json.h"
#include "engine/text/tokenizer/config.h"
#include "engine/text/tokenizer/pipeline.h"

namespace perilune {

/// The spellings a class gives its roles where no file says otherwise; null: no such role.
struct RoleDefaults {
  const char *bos = nullptr, *eos = nullptr, *unk = nullptr, *pad = nullptr, *cls = nullptr,
             *sep = nullptr, *mask = nullptr;
  bool mask_takes_space = false;  // the mask token takes the white space before it
};

/// Puts the tokens of `config` and of the class into `parts` (the model must be there): added
/// tokens, roles, lengths, sides, templates. A role's token that is nowhere gets the next free id
/// where a file names it, and is left out where only the class does.
void apply_config(TokenizerParts& parts, const TokenizerConfig& config,
                  const RoleDefaults& defaults);
/// Roles alone, of spellings that are entries; nothing is added.
void name_roles(TokenizerParts& parts, const RoleDefaults& defaults);

/// What a warning says of an added token that did not get the id `written`.
std::string renumbered(const AddedToken& token, std::int32_t written);
/// Whether a vocabulary spells every space.
bool is_byte_pairs(const TokenModel& model);

/// The id of an entry or added token; Error(format) naming the file where there is none.
std::int32_t required_id(const TokenizerParts& parts, std::string_view content);
/// Of a class whose name some file gives; "" where no file does or the name says nothing.
std::string class_of(const TokenizerConfig& config);
/// tokenizer_config.json beside `path`; an empty object where there is none.
Json settings_beside(const std::string& path);
/// The known classes in the message that refuses another one.
[[noreturn]] void refuse_class(const std::string& path, const std::string& name,
                               const std::string& known);

/// What Qwen's tokenizers cut text by: every digit alone.
extern const char* const kQwenPattern;

/// An item of a template.
PostProcessing::Item special_item(std::int32_t id, std::int32_t type_id = 0);
PostProcessing::Item text_item(int text, std::int32_t type_id = 0);

}  // namespace perilune
