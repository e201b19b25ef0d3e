// Any text through the small tokenizers of tests/golden: ids in range, tokens in order and inside
// the text, a stream's parts that are the whole, and what loses nothing loses nothing. The first
// byte chooses tokenizer and options.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/error.h"
#include "engine/text/readers/open.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "engine/text/unicode/unicode.h"

namespace {

using namespace perilune;

struct Subject {
  std::shared_ptr<Tokenizer> tokenizer;
  bool lossless = false;
};

void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  __builtin_trap();
}

std::string back(const Tokenizer& tokenizer, std::string_view text) {
  EncodeOptions plain;
  plain.special = plain.recognize = false;
  DecodeOptions whole;
  whole.special = true;
  return tokenizer.decode(tokenizer.encode(text, plain).ids, whole);
}

// Tokenizers that give back a text with everything in it that others change.
bool is_lossless(const Tokenizer& tokenizer) {
  const std::string probe =
      "  A a\xC3\x89 e\xCC\x81 \t\n\r\n \xEF\xBC\xA1\xEF\xAC\x81 n't . , ? \xE7\x8C\xAB "
      "\xF0\x9F\x98\x80\xE2\x96\x81 12  ";
  return back(tokenizer, probe) == probe;
}

std::vector<Subject> load_subjects() {
  std::set<std::string> folders;
  for (const auto& entry : std::filesystem::directory_iterator("tests/golden")) {
    folders.insert(entry.path().string());
  }
  std::vector<Subject> subjects;
  for (const std::string& folder : folders) {
    if (auto tokenizer = load_tokenizer(folder)) {
      const bool lossless = is_lossless(*tokenizer);
      subjects.push_back({std::move(tokenizer), lossless});
    }
  }
  check(!subjects.empty(), "tests/golden has no tokenizer");
  return subjects;
}

const std::vector<Subject>& all_subjects() {
  static const std::vector<Subject> subjects = load_subjects();
  return subjects;
}

void check_encoding(const Tokenizer& tokenizer, std::string_view text, const Encoding& encoding) {
  check(encoding.ids.size() == encoding.tokens.size(), "a token for every id");
  check(encoding.type_ids.empty() || encoding.type_ids.size() == encoding.ids.size(), "type ids");
  std::size_t before = 0;
  std::int32_t word = -1;
  for (std::size_t i = 0; i < encoding.tokens.size(); ++i) {
    const Token& token = encoding.tokens[i];
    check(token.id == encoding.ids[i], "the same ids");
    check(token.id >= 0 && token.id <= tokenizer.max_id(), "an id in range");
    check(!tokenizer.piece(token.id).empty(), "a spelling");
    if (token.text < 0) continue;
    check(token.first <= token.last && token.last <= text.size(), "a span inside the text");
    check(token.first >= before, "spans in order");
    check(token.word >= word, "words in order");
    before = token.first;
    word = token.word;
  }
}

void check_decoding(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids,
                    const DecodeOptions& options) {
  const std::string whole = tokenizer.decode(ids, options);
  check(is_utf8(whole), "decoded text is UTF-8");
  const auto stream = tokenizer.decoder(options);
  for (int turn = 0; turn < 2; ++turn) {  // the second time with the same decoder
    std::string parts;
    for (const std::int32_t id : ids) {
      const std::string part = stream->push(id);
      check(is_utf8(part), "a part is whole characters");
      parts += part;
    }
    parts += stream->flush();
    check(parts == whole, "the parts are the whole");
  }
}

}  // namespace

// Loading counts for no input's time.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  all_subjects();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<Subject>& subjects = all_subjects();
  if (size < 2) return 0;
  const Subject& subject = subjects[data[0] % subjects.size()];
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  EncodeOptions options;
  options.tokens = true;
  options.special = (data[1] & 1) != 0;
  options.recognize = (data[1] & 2) != 0;
  const Encoding encoding = subject.tokenizer->encode(text, options);
  check_encoding(*subject.tokenizer, text, encoding);
  options.tokens = false;
  check(subject.tokenizer->encode(text, options).ids == encoding.ids,
        "ids with and without tokens");
  DecodeOptions decoding;
  decoding.special = (data[1] & 4) != 0;
  decoding.continues = (data[1] & 8) != 0;
  check_decoding(*subject.tokenizer, encoding.ids, decoding);
  if (subject.lossless) {
    check(back(*subject.tokenizer, text) == replace_invalid_utf8(text), "nothing is lost");
  }
  return 0;
}
