// The tokenizer in a GGML file of whisper.cpp: tiktoken's ranks, and special tokens that the file
// only counts. Their order is that of openai/whisper's tokenizer.py.
#include <cstdio>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/files/whisper/whisper_file.h"
#include "engine/text/readers/open.h"
#include "engine/text/tokenizer/roles.h"

namespace perilune {
namespace {

// The last one came with large-v3.
constexpr const char* kLanguages[] = {
    "en", "zh", "de", "es",  "ru", "ko", "fr", "ja", "pt", "tr", "pl", "ca", "nl", "ar", "sv",
    "it", "id", "hi", "fi",  "vi", "he", "uk", "el", "ms", "cs", "ro", "da", "hu", "ta", "no",
    "th", "ur", "hr", "bg",  "lt", "la", "mi", "ml", "cy", "sk", "te", "fa", "lv", "bn", "sr",
    "az", "sl", "kn", "et",  "mk", "br", "eu", "is", "hy", "ne", "mn", "bs", "kk", "sq", "sw",
    "gl", "mr", "pa", "si",  "km", "sn", "yo", "so", "af", "oc", "ka", "be", "tg", "sd", "gu",
    "am", "yi", "lo", "uz",  "fo", "ht", "ps", "tk", "nn", "mt", "sa", "lb", "my", "bo", "tl",
    "mg", "as", "tt", "haw", "ln", "ha", "ba", "jw", "su", "yue"};
constexpr std::size_t kTimestamps = 1501;  // every 0.02 s up to 30 s
constexpr std::size_t kOtherSpecials = 8;  // those that are neither language nor time
constexpr std::size_t kFewestLanguages = 99;

std::vector<std::string> special_texts(std::size_t languages) {
  std::vector<std::string> texts = {"<|endoftext|>", "<|startoftranscript|>"};
  for (std::size_t i = 0; i < languages; ++i) {
    texts.push_back(std::string("<|") + kLanguages[i] + "|>");
  }
  for (const char* text : {"<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>",
                           "<|nospeech|>", "<|notimestamps|>"}) {
    texts.emplace_back(text);
  }
  for (std::size_t i = 0; i < kTimestamps; ++i) {
    char text[16];
    std::snprintf(text, sizeof text, "<|%.2f|>", static_cast<double>(i) * 0.02);
    texts.emplace_back(text);
  }
  return texts;
}

}  // namespace

std::shared_ptr<Tokenizer> load_ggml_whisper_tokenizer(const std::string& path) {
  GgmlWhisperTokens stored = read_ggml_whisper_tokens(path);
  // English models count the end of text among the ranks of GPT-2's file, others after them.
  const bool english = stored.vocab < 51865;
  const std::size_t ranks = english ? 50256 : 50257;
  const std::size_t languages =
      static_cast<std::size_t>(stored.vocab) -
      std::min(static_cast<std::size_t>(stored.vocab), ranks + kTimestamps + kOtherSpecials);
  if (stored.bytes.size() < ranks || languages < kFewestLanguages ||
      languages > std::size(kLanguages)) {
    throw Error(ErrorCode::unsupported, "load",
                base_name(path) + " has " + std::to_string(stored.bytes.size()) + " tokens and " +
                    std::to_string(stored.vocab) +
                    " ids, as no published Whisper: what its special tokens are is unknown");
  }
  TokenizerParts parts;
  parts.kind = "tiktoken";
  parts.path = path;
  Vocabulary vocabulary;
  for (std::size_t id = 0; id < ranks; ++id) {
    vocabulary.emplace_back(std::move(stored.bytes[id]), static_cast<std::int32_t>(id));
  }
  parts.pre_tokenizer = make_byte_level(false, {kGpt2Pattern});
  parts.model = make_rank_bpe(std::move(vocabulary), base_name(path));
  parts.decoder = make_byte_level_decoder();
  auto id = static_cast<std::int32_t>(ranks);
  for (std::string& text : special_texts(languages)) {
    AddedToken token;
    token.id = id++;
    token.content = std::move(text);
    token.special = true;
    token.normalized = false;
    parts.added.push_back(std::move(token));
  }
  RoleDefaults roles;
  roles.eos = "<|endoftext|>";
  name_roles(parts, roles);
  return make_tokenizer(std::move(parts));
}

}  // namespace perilune
