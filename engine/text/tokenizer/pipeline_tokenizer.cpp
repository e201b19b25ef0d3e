#include "engine/text/tokenizer/pipeline.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/text/tokenizer/pipeline_tokenizer.h"

namespace perilune {
namespace {

// As many ids as a vocabulary may have; an added token far away would make tables that big.
constexpr std::int32_t kMaxId = (1 << 24) - 1;

std::array<const std::optional<std::int32_t>*, 7> roles_of(const SpecialTokens& specials) {
  return {&specials.bos, &specials.eos, &specials.pad, &specials.unk,
          &specials.cls, &specials.sep, &specials.mask};
}

std::string normalized_form(const Normalizer* normalizer, const std::string& content) {
  if (normalizer == nullptr) return content;
  AlignedText text(content);
  normalizer->apply(text);
  return text.text();
}

}  // namespace

PipelineTokenizer::PipelineTokenizer(TokenizerParts parts) : parts_(std::move(parts)) {
  path_ = parts_.path;
  warnings_ = std::move(parts_.warnings);
  chat_templates_ = std::move(parts_.chat_templates);
  padding_side_ = std::move(parts_.padding_side);
  truncation_side_ = std::move(parts_.truncation_side);
  std::stable_sort(parts_.added.begin(), parts_.added.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  for (AddedToken& token : parts_.added) {
    if (token.content.empty()) continue;
    if (token.id < 0 || token.id > kMaxId) {
      throw Error(ErrorCode::format, "load",
                  path_ + ": added token \"" + token.content + "\" has id " +
                      std::to_string(token.id) + ", expected 0 to " + std::to_string(kMaxId));
    }
    put_added(std::move(token));
  }
  parts_.added.clear();
  if (!parts_.token_types) {
    for (auto* items : {&parts_.post_processing.single, &parts_.post_processing.pair}) {
      for (PostProcessing::Item& item : *items) item.type_id = 0;
    }
  }
  rebuild();
  check_templates();
  check_roles();
}

void PipelineTokenizer::put_added(AddedToken token) {
  const auto known = added_ids_.find(token.content);
  if (known != added_ids_.end() && known->second != token.id) {
    throw Error(ErrorCode::format, "load",
                path_ + ": added token \"" + token.content + "\" has two ids, " +
                    std::to_string(known->second) + " and " + std::to_string(token.id));
  }
  const auto at = std::lower_bound(added_.begin(), added_.end(), token.id,
                                   [](const AddedToken& a, std::int32_t id) { return a.id < id; });
  if (at == added_.end() || at->id != token.id) {
    added_ids_[token.content] = token.id;
    added_.insert(at, std::move(token));
    return;
  }
  if (at->content != token.content) {
    throw Error(ErrorCode::format, "load",
                path_ + ": id " + std::to_string(token.id) + " belongs to two added tokens, \"" +
                    at->content + "\" and \"" + token.content + "\"");
  }
  token.special = token.special || at->special;
  *at = std::move(token);
}

void PipelineTokenizer::rebuild() {
  raw_ = {};
  normalized_ = {};
  normal_forms_.clear();
  for (const AddedToken& token : added_) {
    if (!token.normalized) {
      raw_.insert(token.content, token);
      continue;
    }
    std::string form = normalized_form(parts_.normalizer.get(), token.content);
    normalized_.insert(form, token);
    if (form != token.content) normal_forms_.emplace(token.id, std::move(form));
  }
  max_id_ = std::max(parts_.model->max_id(), added_.empty() ? -1 : added_.back().id);
}

void PipelineTokenizer::check_templates() const {
  const auto check = [this](const std::vector<PostProcessing::Item>& items) {
    for (const PostProcessing::Item& item : items) {
      for (const std::int32_t id : item.ids) {
        if (spelling(id) != nullptr) continue;
        throw Error(ErrorCode::format, "load",
                    path_ + ": the post-processor puts in id " + std::to_string(id) +
                        ", which is no token; ids are 0 to " + std::to_string(max_id_));
      }
    }
  };
  check(parts_.post_processing.single);
  check(parts_.post_processing.pair);
}

void PipelineTokenizer::check_roles() const {
  for (const auto* role : roles_of(parts_.specials)) {
    if (!*role || spelling(**role) != nullptr) continue;
    throw Error(ErrorCode::format, "load",
                path_ + ": id " + std::to_string(**role) +
                    " is named as a special token and is no token; ids are 0 to " +
                    std::to_string(max_id_));
  }
}

const AddedToken* PipelineTokenizer::added(std::int32_t id) const {
  const auto at =
      std::lower_bound(added_.begin(), added_.end(), id,
                       [](const AddedToken& a, std::int32_t wanted) { return a.id < wanted; });
  return at != added_.end() && at->id == id ? &*at : nullptr;
}

const std::string* PipelineTokenizer::spelling(std::int32_t id) const {
  if (const AddedToken* token = added(id)) return &token->content;
  return id < 0 ? nullptr : parts_.model->piece(id);
}

const std::string* PipelineTokenizer::decoding(std::int32_t id) const {
  const auto found = normal_forms_.find(id);
  return found == normal_forms_.end() ? spelling(id) : &found->second;
}

std::string PipelineTokenizer::piece(std::int32_t id) const {
  if (const std::string* found = spelling(id)) return *found;
  throw Error(
      ErrorCode::argument, "piece",
      "there is no token " + std::to_string(id) + ": ids are 0 to " + std::to_string(max_id_));
}

std::optional<std::int32_t> PipelineTokenizer::id(std::string_view piece) const {
  const auto found = added_ids_.find(std::string(piece));
  if (found != added_ids_.end()) return found->second;
  return parts_.model->id(piece);
}

bool PipelineTokenizer::is_special(std::int32_t id) const {
  const AddedToken* token = added(id);
  return token != nullptr && token->special;
}

bool PipelineTokenizer::is_byte(std::int32_t id) const {
  const auto bytes = parts_.model->byte_ids();
  return std::find(bytes.begin(), bytes.end(), id) != bytes.end();
}

std::int32_t PipelineTokenizer::max_base_id() const {
  std::int32_t highest = parts_.model->max_id();
  for (const auto* role : roles_of(parts_.specials))
    highest = std::max(highest, role->value_or(-1));
  return highest;
}

std::vector<std::int32_t> PipelineTokenizer::add(std::span<const std::string> pieces,
                                                 bool special) {
  for (const std::string& content : pieces) {
    if (content.empty() || !is_utf8(content)) {
      throw Error(ErrorCode::argument, "add", "an added token is UTF-8 text that is not empty");
    }
  }
  std::vector<std::int32_t> ids;
  std::int32_t next = max_id_ + 1;
  for (const std::string& content : pieces) {
    AddedToken token;
    const std::optional<std::int32_t> known = id(content);
    if (known) {
      if (const AddedToken* old = added(*known)) token = *old;
    } else if (next > kMaxId) {
      throw Error(ErrorCode::argument, "add", "no ids are left");
    }
    if (token.id < 0) {
      token.content = content;
      token.normalized = !special;  // as published
    }
    token.special = token.special || special;
    token.id = known ? *known : next++;
    ids.push_back(token.id);
    put_added(std::move(token));
  }
  rebuild();
  return ids;
}

std::shared_ptr<Tokenizer> make_tokenizer(TokenizerParts parts) {
  return std::make_shared<PipelineTokenizer>(std::move(parts));
}

}  // namespace perilune
