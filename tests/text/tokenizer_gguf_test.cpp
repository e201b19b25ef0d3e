// The tokenizer in a GGUF file: small ones made by hand.
#include <cstdio>

#include "engine/base/error.h"
#include "engine/text/cut/pre_tokenizer.h"
#include "engine/text/pattern/pattern.h"
#include "engine/text/readers/gguf.h"
#include "engine/text/unicode/byte_level.h"
#include "tests/catch.h"
#include "tests/engine/gguf_support.h"
#include "tests/engine/store_support.h"

using namespace perilune;
using namespace perilune_test;
using Ids = std::vector<std::int32_t>;

namespace {

std::shared_ptr<Tokenizer> read(const GgufBuilder& file) {
  return read_gguf_tokenizer(*GgufFile::parse(file.build(), "a.gguf"));
}

Ids encode(const Tokenizer& tokenizer, std::string_view text, bool special = true,
           bool recognize = true) {
  EncodeOptions options;
  options.special = special;
  options.recognize = recognize;
  return tokenizer.encode(text, options).ids;
}

// A token and its type: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
using Tokens = std::vector<std::pair<std::string, int>>;

GgufBuilder vocabulary(const std::string& model, const Tokens& tokens) {
  GgufBuilder file;
  std::vector<std::string> texts;
  std::vector<int> types;
  for (const auto& [text, type] : tokens) {
    texts.push_back(text);
    types.push_back(type);
  }
  file.string("tokenizer.ggml.model", model).strings("tokenizer.ggml.tokens", texts);
  file.i32s("tokenizer.ggml.token_type", types);
  return file;
}

// Byte-level: the 256 bytes, then what is given.
Tokens byte_level(const Tokens& more) {
  Tokens tokens;
  for (int byte = 0; byte < 256; ++byte) {
    tokens.emplace_back(byte_level_of_bytes(std::string(1, static_cast<char>(byte))), 1);
  }
  tokens.insert(tokens.end(), more.begin(), more.end());
  return tokens;
}

GgufBuilder bpe(const std::string& pre) {
  GgufBuilder file = vocabulary("gpt2", byte_level({{"he", 1},
                                                    {"ll", 1},
                                                    {"\xC4\xA0he", 1},
                                                    {"12", 1},
                                                    {"<|end|>", 3},
                                                    {"  ", 4},
                                                    {"[PAD262]", 5}}));
  file.string("tokenizer.ggml.pre", pre);
  file.strings("tokenizer.ggml.merges", {"h e", "l l", "\xC4\xA0 he", "1 2"});
  return file;
}

GgufBuilder sentencepiece(const std::string& model, bool bytes) {
  Tokens tokens = {{"<unk>", 2},
                   {"<s>", 3},
                   {"</s>", 3},
                   {"\xE2\x96\x81", 1},
                   {"a", 1},
                   {"b", 1},
                   {"ab", 1},
                   {"\xE2\x96\x81"
                    "ab",
                    1},
                   {"<mark>", 3}};
  std::vector<float> scores = {0, 0, 0, -5, -6, -7, -2, -1, 0};
  for (int byte = 0; bytes && byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof(text), "<0x%02X>", byte);
    tokens.emplace_back(text, 6);
    scores.push_back(0);
  }
  tokens.emplace_back("[PAD]", 5);
  scores.push_back(-10000);
  GgufBuilder file = vocabulary(model, tokens);
  file.f32s("tokenizer.ggml.scores", scores);
  return file;
}

GgufBuilder wordpiece() {
  const std::string start = "\xE2\x96\x81";
  GgufBuilder file = vocabulary("bert", {{"[PAD]", 3},
                                         {"[UNK]", 3},
                                         {"[CLS]", 3},
                                         {"[SEP]", 3},
                                         {"[MASK]", 3},
                                         {start + "un", 1},
                                         {"able", 1},
                                         {start + "cafe", 1},
                                         {start + "!", 1},
                                         {"[unused0]", 1}});
  file.u32("tokenizer.ggml.unknown_token_id", 1).u32("tokenizer.ggml.cls_token_id", 2);
  file.u32("tokenizer.ggml.seperator_token_id", 3).u32("tokenizer.ggml.mask_token_id", 4);
  file.u32("tokenizer.ggml.padding_token_id", 0);
  return file;
}

}  // namespace

TEST_CASE("byte pairs") {
  const auto tokenizer = read(bpe("gpt-2").u32("tokenizer.ggml.eos_token_id", 260));
  CHECK(std::string(tokenizer->kind()) == "bpe");
  CHECK(encode(*tokenizer, "hell he") == Ids{256, 257, 258});
  CHECK(encode(*tokenizer, "he<|end|>  he") == Ids{256, 260, 261, 256});
  CHECK(encode(*tokenizer, "<|end|>", true, false).size() == 7);
  CHECK(tokenizer->decode(Ids{256, 260, 258}) == "he he");
  CHECK(tokenizer->decode(Ids{256, 260}, {true, false}) == "he<|end|>");
  CHECK(tokenizer->specials().eos == 260);
  CHECK(!tokenizer->specials().bos);
  CHECK(tokenizer->is_special(260));
  CHECK(!tokenizer->is_special(261));
  CHECK(tokenizer->max_id() == 261);  // rows that pad the embedding are no tokens
}

TEST_CASE("pre-tokenizers: patterns, ignored merges, what is put in") {
  struct Case {
    const char* pre;
    const char* text;
    Ids ids;
  };
  const std::int32_t one = '1', two = '2', space = ' ';
  const std::vector<Case> cases = {
      {"gpt-2", "12", {259}},
      {"smollm", "12", {one, two}},
      {"qwen2", "12", {one, two}},
      {"llama-bpe", "1212", {259, one, two}},
      {"viking", "12 ", {one, two, space}},
  };
  for (const Case& c : cases) {
    INFO(c.pre);
    CHECK(encode(*read(bpe(c.pre)), c.text) == c.ids);
  }
  // Only where the name says so is an entry taken that no merge makes.
  const auto with_entry = [](const char* pre) {
    GgufBuilder file = vocabulary("gpt2", byte_level({{"xyz", 1}, {"<s>", 3}}));
    file.string("tokenizer.ggml.pre", pre).strings("tokenizer.ggml.merges", {});
    file.u32("tokenizer.ggml.bos_token_id", 257);
    return read(file);
  };
  CHECK(encode(*with_entry("tekken"), "xyz") == Ids{257, 256});
  CHECK(encode(*with_entry("gpt-2"), "xyz").size() == 3);
}

TEST_CASE("every known pre-tokenizer cuts text, and loses none of it") {
  const std::string text =
      "Hello, y'all! I'LL\t\n\n  go  12345 \xC3\x89T\xC3\x89 e\xCC\x81 \xE6\x88\x91\xE6\x83\xB3 "
      "\xE3\x81\x82\xED\x95\x9C \xF0\x9F\x98\x80 a/b\r\n  ";
  const std::vector<std::string> names = gguf_pre_tokenizer_names();
  CHECK(names.size() > 80);
  for (const std::string& name : names) {
    INFO(name);
    const GgufPreTokenizer* pre = gguf_pre_tokenizer(name);
    REQUIRE(pre != nullptr);
    for (const std::string& source : pre->patterns) regex_pattern(source, name);
    if (pre->characters) continue;
    const auto tokenizer = read(bpe(name));
    CHECK(tokenizer->decode(encode(*tokenizer, text)) == text);
  }
}

TEST_CASE("digits in threes from the right") {
  const GgufPreTokenizer* pre = gguf_pre_tokenizer("superbpe");
  AlignedText text("1234567 12");
  std::vector<TextSpan> pieces = {{0, text.size()}};
  make_byte_level(false, pre->patterns)->split(text, pieces);
  std::vector<std::uint32_t> ends;
  for (const TextSpan& piece : pieces) ends.push_back(piece.last);
  CHECK(ends == std::vector<std::uint32_t>{1, 4, 7, 8, 10});
}

TEST_CASE("separators of pairs") {
  GgufBuilder file = vocabulary("gpt2", byte_level({{"<s>", 3}, {"</s>", 3}, {"<mask>", 3}}));
  file.string("tokenizer.ggml.pre", "roberta-bpe").strings("tokenizer.ggml.merges", {});
  file.u32("tokenizer.ggml.bos_token_id", 256).u32("tokenizer.ggml.eos_token_id", 257);
  file.u32("tokenizer.ggml.seperator_token_id", 257).u32("tokenizer.ggml.mask_token_id", 258);
  file.boolean("tokenizer.ggml.add_bos_token", true).boolean("tokenizer.ggml.add_eos_token", true);
  const auto tokenizer = read(file);
  CHECK(encode(*tokenizer, "!") == Ids{256, '!', 257});
  CHECK(tokenizer->encode_pair("!", "\"").ids == Ids{256, '!', 257, 257, '"', 257});
  CHECK(encode(*tokenizer, "! <mask>") == Ids{256, '!', 258, 257});  // it takes the space before it
}

TEST_CASE("SentencePiece by pairs and by the unigram model") {
  const auto llama = read(sentencepiece("llama", true));
  CHECK(encode(*llama, "ab") == Ids{1, 7});
  CHECK(encode(*llama, "a\n", false) == Ids{3, 4, 9 + 10});
  CHECK(encode(*llama, "ab<mark>ab", false) == Ids{7, 8, 7});
  CHECK(llama->decode(Ids{1, 7, 9 + 10}) == "ab\n");
  CHECK(llama->max_id() == 264);
  CHECK(llama->specials().bos == 1);
  CHECK(llama->specials().unk == 0);
  CHECK(!llama->specials().pad);

  const auto bare = read(sentencepiece("llama", true)
                             .boolean("tokenizer.ggml.add_space_prefix", false)
                             .boolean("tokenizer.ggml.add_bos_token", false)
                             .boolean("tokenizer.ggml.add_eos_token", true));
  CHECK(encode(*bare, "ab") == Ids{6, 2});

  const auto t5 = read(sentencepiece("t5", false)
                           .u32("tokenizer.ggml.eos_token_id", 2)
                           .u32("tokenizer.ggml.unknown_token_id", 0));
  CHECK(encode(*t5, " ab  a") == Ids{7, 3, 4, 2});
  CHECK(encode(*t5, "ab?") == Ids{7, 0, 2});
}

TEST_CASE("WordPiece in its other spelling") {
  const auto tokenizer = read(wordpiece());
  CHECK(encode(*tokenizer, "Unable Caf\xC3\xA9!") == Ids{2, 5, 6, 7, 8, 3});
  CHECK(encode(*tokenizer, "able", false) == Ids{1});
  const Encoding pair = tokenizer->encode_pair("un", "un");
  CHECK(pair.ids == Ids{2, 5, 3, 5, 3});
  CHECK(pair.type_ids == Ids{0, 0, 0, 1, 1});
  CHECK(tokenizer->piece(6) == "##able");
  CHECK(tokenizer->piece(9) == "[unused0]");
  CHECK(tokenizer->decode(Ids{2, 5, 6, 8}) == "unable!");
  CHECK(tokenizer->specials().cls == 2);
  CHECK(tokenizer->specials().sep == 3);
  CHECK(tokenizer->specials().mask == 4);
  const auto cased = read(wordpiece().boolean("tokenizer.ggml.normalizer.lowercase", false));
  CHECK(encode(*cased, "Unable", false) == Ids{1});
}

TEST_CASE("vocabularies of characters") {
  Tokens tokens = {{"<unk>", 3},
                   {"<bos>", 3},
                   {"\xE2\x96\x81", 1},
                   {"a", 1},
                   {"\xE2\x96\x81"
                    "a",
                    1},
                   {"\n", 1}};
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof(text), "<0x%02X>", byte);
    tokens.emplace_back(text, 6);
  }
  GgufBuilder file = vocabulary("gemma4", tokens);
  file.strings("tokenizer.ggml.merges", {"\xE2\x96\x81 a"});
  file.u32("tokenizer.ggml.bos_token_id", 1).u32("tokenizer.ggml.unknown_token_id", 0);
  const auto tokenizer = read(file);
  CHECK(encode(*tokenizer, "a a\n\xC3\xA9") == Ids{1, 3, 4, 5, 6 + 0xC3, 6 + 0xA9});
  CHECK(tokenizer->decode(Ids{1, 3, 4, 5, 6 + 0xC3, 6 + 0xA9}) == "a a\n\xC3\xA9");
}

TEST_CASE("chat templates by name") {
  const auto tokenizer = read(bpe("gpt-2")
                                  .string("tokenizer.chat_template", "{{ a }}")
                                  .string("tokenizer.chat_template.tool_use", "{{ b }}")
                                  .strings("tokenizer.chat_templates", {"tool_use"}));
  CHECK(tokenizer->chat_templates() ==
        std::map<std::string, std::string>{{"default", "{{ a }}"}, {"tool_use", "{{ b }}"}});
}

TEST_CASE("no tokenizer, and roles that are nowhere") {
  std::string why_not;
  const auto none = GgufFile::parse(GgufBuilder().u32("llama.block_count", 2).build(), "a.gguf");
  CHECK(read_gguf_tokenizer(*none, &why_not) == nullptr);
  CHECK(why_not.find("no key tokenizer.ggml.model") != std::string::npos);

  const auto far = read(bpe("gpt-2").u32("tokenizer.ggml.bos_token_id", 999));
  CHECK(!far->specials().bos);
  REQUIRE(far->warnings().size() == 1);
  CHECK(far->warnings()[0].find("bos_token_id is 999, and there are 263 tokens") !=
        std::string::npos);
}

TEST_CASE("wrong vocabularies are named") {
  const Tokens two = {{"<unk>", 2}, {"a", 1}};
  struct Case {
    GgufBuilder file;
    const char* part;
    ErrorCode code = ErrorCode::format;
  };
  const std::vector<Case> cases = {
      {bpe("gpt-3"), "tokenizer.ggml.pre is \"gpt-3\", which is not known; did you mean \"gpt-2\"?",
       ErrorCode::unsupported},
      {vocabulary("rwkv", two), "tokenizer.ggml.model is \"rwkv\"", ErrorCode::unsupported},
      {vocabulary("llama", two), "key \"tokenizer.ggml.scores\": expected an array of numbers"},
      {vocabulary("llama", two).f32s("tokenizer.ggml.scores", {1}),
       "tokenizer.ggml.scores has 1 entries, tokenizer.ggml.tokens 2"},
      {vocabulary("llama", {{"<unk>", 2}, {"a", 1}, {"a", 1}})
           .f32s("tokenizer.ggml.scores", {1, 1, 1}),
       "piece 2 is there twice"},
      {vocabulary("llama", {}).f32s("tokenizer.ggml.scores", {}), "has 0 entries"},
      {vocabulary("gpt2", byte_level({})).string("tokenizer.ggml.pre", "gpt-2"),
       "key \"tokenizer.ggml.merges\": expected an array of strings, got no such key"},
      {vocabulary("gpt2", byte_level({}))
           .string("tokenizer.ggml.pre", "gpt-2")
           .strings("tokenizer.ggml.merges", {"ab"}),
       "entry 0 is not two pieces"},
      {vocabulary("gpt2", byte_level({}))
           .string("tokenizer.ggml.pre", "gpt-2")
           .strings("tokenizer.ggml.merges", {"a b"}),
       "\"ab\", which is not in the vocabulary"},
      {GgufBuilder().u32("tokenizer.ggml.model", 1), "expected a string, got u32 1"},
      {GgufBuilder().string("tokenizer.ggml.model", "gpt2"), "tokenizer.ggml.tokens"},
      {bpe("gpt-2").string("tokenizer.chat_template", "\xFF"), "is not UTF-8"},
  };
  for (const Case& c : cases) {
    const Caught error = caught([&] { read(c.file); });
    INFO(c.part << "; got " << error.message);
    CHECK(error.code == c.code);
    CHECK(error.has(c.part));
    CHECK(error.has("a.gguf"));
  }
}
