// tiktoken ranks: a line for each entry, its bytes in base64, a space, its rank.
#include <algorithm>
#include <array>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/placeholder.h"
#include "engine/text/readers/open.h"
#include "engine/text/tokenizer/roles.h"

namespace perilune {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{64} << 20;
constexpr std::int32_t kMaxRank = (1 << 24) - 1;

struct SpecialSpelling {
  std::int32_t id;
  const char* content;
};

// A published set of ranks: how text is cut, and the tokens that its own library adds.
struct RankSet {
  std::size_t ranks;
  const char* pattern;  // null: GPT-2's
  std::vector<SpecialSpelling> special;
  RoleDefaults roles;
  bool puts_bos = false;  // in a model's folder
};

// cl100k_base and Llama 3: at most three digits together.
const char* const kCl100kPattern =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
const char* const kO200kPattern =
    R"re([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";

RoleDefaults end_only(const char* eos) {
  RoleDefaults roles;
  roles.eos = eos;
  return roles;
}

RoleDefaults begin_and_end(const char* bos, const char* eos) {
  RoleDefaults roles = end_only(eos);
  roles.bos = bos;
  return roles;
}

const std::vector<RankSet>& rank_sets() {
  static const char* const kEnd = "<|endoftext|>";
  static const std::vector<RankSet> table = {
      // GPT-2
      {50256, nullptr, {{50256, kEnd}}, begin_and_end(kEnd, kEnd)},
      // Whisper
      {50257, nullptr, {{50257, kEnd}, {50258, "<|startoftranscript|>"}}, end_only(kEnd)},
      // p50k_base
      {50280, nullptr, {{50256, kEnd}}, begin_and_end(kEnd, kEnd)},
      // cl100k_base
      {100256,
       kCl100kPattern,
       {{100257, kEnd},
        {100258, "<|fim_prefix|>"},
        {100259, "<|fim_middle|>"},
        {100260, "<|fim_suffix|>"},
        {100276, "<|endofprompt|>"}},
       end_only(kEnd)},
      // Llama 3
      {128000,
       kCl100kPattern,
       {{128000, "<|begin_of_text|>"},
        {128001, "<|end_of_text|>"},
        {128006, "<|start_header_id|>"},
        {128007, "<|end_header_id|>"},
        {128009, "<|eot_id|>"}},
       begin_and_end("<|begin_of_text|>", "<|end_of_text|>"),
       true},
      // Qwen
      {151643,
       kQwenPattern,
       {{151643, kEnd}, {151644, "<|im_start|>"}, {151645, "<|im_end|>"}},
       end_only(kEnd)},
      // o200k_base
      {199998, kO200kPattern, {{199999, kEnd}, {200018, "<|endofprompt|>"}}, end_only(kEnd)},
  };
  return table;
}

const RankSet* rank_set_of(std::size_t ranks, const TokenizerConfig* config) {
  const std::string name = config == nullptr ? "" : class_of(*config);
  for (const RankSet& set : rank_sets()) {
    if (set.ranks == ranks) return &set;
  }
  if (name == "QWenTokenizer" || name == "Qwen2Tokenizer") {
    return &*std::find_if(rank_sets().begin(), rank_sets().end(),
                          [](const RankSet& e) { return e.pattern == kQwenPattern; });
  }
  if (name == "WhisperTokenizer" || name == "GPT2Tokenizer") return &rank_sets().front();
  return nullptr;
}

class RankFile {
 public:
  explicit RankFile(const std::string& path)
      : name_(base_name(path)), text_(read_file(path, kMaxBytes)) {
    refuse_placeholder(text_, path);
    std::fill(digits_.begin(), digits_.end(), std::int8_t{-1});
    const std::string_view alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (std::size_t i = 0; i < alphabet.size(); ++i) {
      digits_[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
    }
  }

  Vocabulary read() {
    Vocabulary ranks;
    const std::string_view text = text_;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      std::string_view line = text.substr(at, end - at);
      ++line_;
      at = end + 1;
      if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
      if (line.empty()) continue;
      const std::size_t space = line.find(' ');
      if (space == std::string_view::npos) fail("expected base64, a space and a rank");
      ranks.emplace_back(base64(line.substr(0, space)), rank(line.substr(space + 1)));
    }
    if (ranks.empty()) fail("there are no ranks");
    return ranks;
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(ErrorCode::format, "load",
                name_ + ": line " + std::to_string(line_) + ": " + problem);
  }

  std::string base64(std::string_view text) const {
    if (text == "=") return "";  // Whisper's last entry
    if (text.empty() || text.size() % 4 != 0) fail("the base64 is cut short");
    std::size_t padding = 0;
    while (padding < 2 && text[text.size() - 1 - padding] == '=') ++padding;
    std::string bytes;
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const bool pad = i >= text.size() - padding;
      const int digit = pad ? 0 : digits_[static_cast<unsigned char>(text[i])];
      if (digit < 0) fail("not base64");
      bits = bits << 6 | static_cast<std::uint32_t>(digit);
      if (i % 4 != 3) continue;
      bytes.push_back(static_cast<char>(bits >> 16));
      bytes.push_back(static_cast<char>(bits >> 8));
      bytes.push_back(static_cast<char>(bits));
      bits = 0;
    }
    bytes.resize(bytes.size() - padding);
    return bytes;
  }

  std::int32_t rank(std::string_view text) const {
    constexpr std::size_t kDigits = 8;
    if (text.empty() || text.size() > kDigits ||
        text.find_first_not_of("0123456789") != std::string_view::npos) {
      fail("not a rank");
    }
    std::int32_t value = 0;
    for (const char digit : text) value = value * 10 + (digit - '0');
    if (value > kMaxRank) {
      fail("rank " + std::to_string(value) + "; ranks are from 0 to " + std::to_string(kMaxRank));
    }
    return value;
  }

  std::string name_, text_;
  std::size_t line_ = 0;
  std::array<std::int8_t, 256> digits_;
};

// What its own library adds, where no file beside it lists tokens.
void add_published(TokenizerParts& parts, const RankSet& set) {
  for (const SpecialSpelling& special : set.special) {
    if (parts.model->piece(special.id) != nullptr) continue;
    AddedToken token;
    token.id = special.id;
    token.content = special.content;
    token.special = true;
    token.normalized = false;
    parts.added.push_back(std::move(token));
  }
}

}  // namespace

std::shared_ptr<Tokenizer> load_tiktoken(const std::string& path, const TokenizerConfig* config,
                                         const std::string* pattern) {
  TokenizerParts parts;
  parts.kind = "tiktoken";
  parts.path = path;
  Vocabulary ranks = RankFile(path).read();
  const std::size_t count = ranks.size();
  const RankSet* set = rank_set_of(count, config);
  if (set == nullptr && pattern == nullptr) {
    throw Error(ErrorCode::unsupported, "load",
                base_name(path) + " has " + std::to_string(count) +
                    " ranks, as many as no published model we know: how text is cut is unknown")
        .hint("name the regular expression with pattern=");
  }
  const char* const published = set == nullptr ? nullptr : set->pattern;
  const std::string cut = pattern != nullptr     ? *pattern
                          : published != nullptr ? std::string(published)
                                                 : std::string(kGpt2Pattern);
  parts.pre_tokenizer = make_byte_level(false, {cut});
  parts.model = make_rank_bpe(std::move(ranks), base_name(path));
  parts.decoder = make_byte_level_decoder();
  const bool listed = config != nullptr && !config->added.empty();
  if (set != nullptr && set->ranks == count && !listed) add_published(parts, *set);
  const RoleDefaults roles = set == nullptr ? RoleDefaults{} : set->roles;
  if (config == nullptr) {
    name_roles(parts, roles);
    return make_tokenizer(std::move(parts));
  }
  apply_config(parts, *config, roles);
  const bool bos = config->add_bos.value_or(set != nullptr && set->puts_bos);
  auto& post = parts.post_processing;
  if (bos && parts.specials.bos) {
    post.single.insert(post.single.begin(), special_item(*parts.specials.bos));
    post.pair = {special_item(*parts.specials.bos), text_item(0),
                 special_item(*parts.specials.bos, 1), text_item(1, 1)};
  }
  if (config->add_eos.value_or(false) && parts.specials.eos) {
    post.single.push_back(special_item(*parts.specials.eos));
    post.pair.push_back(special_item(*parts.specials.eos, 1));
  }
  return make_tokenizer(std::move(parts));
}

}  // namespace perilune
