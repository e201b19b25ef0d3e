// The parts of a tokenizer.json at work: added tokens, templates, roles, damaged files.
#include <filesystem>

#include "engine/base/error.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "tests/catch.h"
#include "tests/text/text_support.h"

namespace fs = std::filesystem;
using perilune::EncodeOptions;
using perilune::Encoding;
using perilune::Token;
using perilune::Tokenizer;
using Spans = std::vector<std::pair<std::size_t, std::size_t>>;
using namespace perilune_test;

namespace {

std::shared_ptr<Tokenizer> load_text(const std::string& text) {
  TemporaryFolder folder;
  folder.write("tokenizer.json", text);
  return load(folder.path() + "/tokenizer.json");
}

// A tokenizer of eight words; `blocks` are members that end with a comma.
std::string words(const std::string& added = "", const std::string& blocks = "") {
  return R"({"version": "1.0", "added_tokens": [)" + added + "], " + blocks +
         R"("pre_tokenizer": {"type": "Whitespace"},
          "model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "[CLS]": 1,
            "[SEP]": 2, "hello": 3, "world": 4, "a": 5, "b": 6, ".": 7}}})";
}

std::string token(int id, const std::string& content, const std::string& flags = "") {
  return R"({"id": )" + std::to_string(id) + R"(, "content": ")" + content + "\"" +
         (flags.empty() ? "" : ", ") + flags + "}";
}

const char* const kTemplate = R"("post_processor": {"type": "TemplateProcessing",
  "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
             {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
  "pair": [{"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 3}},
           {"Sequence": {"id": "A", "type_id": 0}}],
  "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1, 1], "tokens": ["[CLS]", "[CLS]"]},
                     "[SEP]": {"id": "[SEP]", "ids": [2], "tokens": ["[SEP]"]}}}, )";

EncodeOptions with_tokens() {
  EncodeOptions options;
  options.tokens = true;
  return options;
}

Spans spans_of(const Encoding& encoding) {
  Spans spans;
  for (const Token& t : encoding.tokens) spans.emplace_back(t.first, t.last);
  return spans;
}

}  // namespace

TEST_CASE("added tokens are cut out by their flags") {
  struct Case {
    std::string added;
    const char* text;
    Ids ids;
    Spans spans;
  };
  const std::string x = token(8, "<x>");
  const std::string strip = token(8, "<x>", R"("rstrip": true)");
  const std::string word = token(8, "xy", R"("single_word": true)");
  const std::string three = token(8, "<x") + "," + token(9, "<x>") + "," + token(10, "<x>>");
  const std::vector<Case> cases = {
      {x, "a<x> b", {5, 8, 6}, {{0, 1}, {1, 4}, {5, 6}}},
      {x, "<x><x>", {8, 8}, {{0, 3}, {3, 6}}},
      {token(8, "<x>", R"("lstrip": true)"),
       "a \t\u3000<x>b",
       {5, 8, 6},
       {{0, 1}, {1, 9}, {9, 10}}},
      {strip, "<x> <x>  b", {8, 8, 6}, {{0, 4}, {4, 9}, {9, 10}}},
      {word, "xy a-xy", {8, 5, 0, 8}, {{0, 2}, {3, 4}, {4, 5}, {5, 7}}},
      {word, "\u00E9xy", {0}, {{0, 4}}},
      {word, "xy_", {0}, {{0, 3}}},
      {three, "<x<x><x>>.", {8, 9, 10, 7}, {{0, 2}, {2, 5}, {5, 9}, {9, 10}}},
      // One token takes white space that another is made of: both are there.
      {strip + "," + token(9, "  "),
       "a<x>    b",
       {5, 8, 9, 9, 6},
       {{0, 1}, {1, 8}, {4, 6}, {6, 8}, {8, 9}}},
  };
  for (const Case& c : cases) {
    INFO(c.text);
    const auto tokenizer = load_text(words(c.added));
    const Encoding encoding = tokenizer->encode(c.text, with_tokens());
    CHECK(encoding.ids == c.ids);
    CHECK(spans_of(encoding) == c.spans);
    CHECK(tokenizer->encode(c.text).ids == c.ids);
  }
}

TEST_CASE("normalized added tokens are looked for in the normalized text") {
  const auto tokenizer =
      load_text(words(token(8, "Hi") + "," + token(9, "Yo", R"("normalized": false)"),
                      R"("normalizer": {"type": "Lowercase"}, )"));
  const Encoding encoding = tokenizer->encode("A HI yo YoHi", with_tokens());
  CHECK(encoding.ids == Ids{5, 8, 0, 9, 8});
  CHECK(spans_of(encoding) == Spans{{0, 1}, {2, 4}, {5, 7}, {8, 10}, {10, 12}});
  CHECK(tokenizer->piece(8) == "Hi");
  CHECK(tokenizer->decode(Ids{8, 3}) == "hi hello");
}

TEST_CASE("words are counted through the text, added tokens too") {
  const auto tokenizer = load_text(words(token(8, "<x>")));
  const Encoding encoding = tokenizer->encode_pair("a <x> b.", "hello", with_tokens());
  std::vector<std::pair<int, int>> found;
  for (const Token& t : encoding.tokens) found.emplace_back(t.text, t.word);
  CHECK(found == std::vector<std::pair<int, int>>{{0, 0}, {0, 1}, {0, 2}, {0, 3}, {1, 0}});
}

TEST_CASE("templates put tokens around one text or two") {
  const auto tokenizer = load_text(words("", kTemplate));
  CHECK(tokenizer->encode("a b").ids == Ids{1, 1, 5, 6, 2});
  CHECK(tokenizer->encode("a b").type_ids.empty());
  const Encoding pair = tokenizer->encode_pair("a", "b hello", with_tokens());
  CHECK(pair.ids == Ids{6, 3, 2, 5});
  CHECK(pair.type_ids == Ids{1, 1, 3, 0});
  CHECK(pair.tokens[0].text == 1);
  CHECK(pair.tokens[2].text == -1);
  CHECK(pair.tokens[2].special);
  CHECK(pair.tokens[3].text == 0);
  EncodeOptions plain;
  plain.special = false;
  CHECK(tokenizer->encode_pair("a", "b", plain).ids == Ids{6, 5});
  CHECK(tokenizer->encode_pair("a", "b", plain).type_ids == Ids{1, 0});
  CHECK(tokenizer->encode("").ids == Ids{1, 1, 2});
}

TEST_CASE("special tokens in the text are plain text where nobody recognizes them") {
  const auto tokenizer =
      load_text(words(token(8, "<s>", R"("special": true, "normalized": false)") + "," +
                      token(9, "<t>", R"("normalized": false)")));
  EncodeOptions options;
  CHECK(tokenizer->encode("a<s><t>", options).ids == Ids{5, 8, 9});
  options.recognize = false;
  CHECK(tokenizer->encode("a<s><t>", options).ids == Ids{5, 0, 0, 0, 9});
}

TEST_CASE("ill-formed bytes are U+FFFD, and places are the caller's bytes") {
  const auto tokenizer = load_text(words(token(8, "<x>")));
  // A lone byte, a character cut short (one replacement), then text.
  const Encoding encoding = tokenizer->encode("a \xFF b \xE2\x82 <x> b", with_tokens());
  CHECK(encoding.ids == Ids{5, 0, 6, 0, 8, 6});
  CHECK(spans_of(encoding) == Spans{{0, 1}, {2, 3}, {4, 5}, {6, 8}, {9, 12}, {13, 14}});
}

TEST_CASE("decoding leaves special tokens out and refuses ids that do not exist") {
  const auto tokenizer = load_text(words(token(8, "<s>", R"("special": true)")));
  CHECK(tokenizer->decode(Ids{8, 3, 4}) == "hello world");
  CHECK(tokenizer->decode(Ids{8, 3, 4}, {true, false}) == "<s> hello world");
  CHECK(tokenizer->decode(Ids{3, 4}, {false, true}) == " hello world");
  const auto decoder = tokenizer->decoder({});
  CHECK(decoder->push(3) == "hello");
  CHECK(message_of([&] { decoder->push(9); }).find("there is no token 9: ids are 0 to 8") !=
        std::string::npos);
  CHECK(message_of([&] { decoder->push(-1); }).find("there is no token -1") != std::string::npos);
  CHECK(decoder->push(4) == " world");
  CHECK(decoder->flush().empty());
  CHECK(decoder->push(4) == "world");
}

TEST_CASE("tokens can be added while it runs") {
  const auto tokenizer = load_text(words(token(8, "<x>")));
  CHECK(tokenizer->add(std::vector<std::string>{"<new>", "<x>", "hello"}, true) == Ids{9, 8, 3});
  CHECK(tokenizer->max_id() == 9);
  CHECK(tokenizer->vocab_size() == 8);
  CHECK(tokenizer->encode("a<new>b").ids == Ids{5, 9, 6});
  CHECK(tokenizer->is_special(9));
  CHECK(tokenizer->is_special(3));
  CHECK(tokenizer->id("<new>") == 9);
  CHECK(tokenizer->decode(Ids{5, 9, 6}) == "a b");
  CHECK(message_of([&] {
          tokenizer->add(std::vector<std::string>{""}, false);
        }).find("not empty") != std::string::npos);
}

TEST_CASE("roles of a file alone come from its special tokens") {
  const std::string special = R"("special": true)";
  const auto tokenizer = load_text(
      words(token(1, "[CLS]", special) + "," + token(2, "[SEP]", special) + "," + token(8, "</s>") +
                "," + token(9, "<|endoftext|>", special) + "," + token(10, "[PAD]"),
            R"("truncation": {"direction": "Left", "max_length": 128, "strategy": "LongestFirst",
          "stride": 0},
         "padding": {"strategy": {"Fixed": 128}, "direction": "Left", "pad_to_multiple_of": null,
          "pad_id": 10, "pad_type_id": 0, "pad_token": "[PAD]"}, )"));
  const auto& roles = tokenizer->specials();
  CHECK(roles.cls == 1);
  CHECK(roles.sep == 2);
  CHECK(roles.eos == 9);  // </s> is not special there
  CHECK(roles.unk == 0);
  CHECK(roles.pad == 10);
  CHECK_FALSE(roles.bos);
  CHECK(tokenizer->model_max_length() == 128);
  CHECK(tokenizer->padding_side() == "left");
  CHECK(tokenizer->truncation_side() == "left");
  CHECK(tokenizer->encode("a b").ids == Ids{5, 6});  // nothing is padded or cut unasked
  CHECK(tokenizer->kind() == std::string("wordlevel"));
}

TEST_CASE("a folder's settings give roles, lengths and templates, and its ids are the file's") {
  TemporaryFolder folder;
  folder.write("tokenizer.json", words(token(8, "<x>") + "," + token(9, "<y>")));
  folder.write("tokenizer_config.json", R"({
    "model_max_length": 77, "padding_side": "left", "eos_token": "<x>", "pad_token": "<pad>",
    "bos_token": null, "cls_token": {"content": "[CLS]", "lstrip": true},
    "chat_template": [{"name": "default", "template": "one"}, {"name": "tools", "template": "two"}],
    "added_tokens_decoder": {"7": {"content": "<y>", "special": true},
                             "12": {"content": "<z>", "special": false}}})");
  const auto tokenizer = load(folder.path());
  const auto& roles = tokenizer->specials();
  CHECK(roles.eos == 8);
  CHECK(roles.cls == 1);
  CHECK_FALSE(roles.bos);
  CHECK(roles.pad == 11);  // after <x>, <y> and <z>
  CHECK(tokenizer->is_special(8));
  CHECK(tokenizer->is_special(9));
  CHECK_FALSE(tokenizer->is_special(10));
  CHECK(tokenizer->encode("<z>[CLS]").ids == Ids{10, 1});
  CHECK(tokenizer->model_max_length() == 77);
  CHECK(tokenizer->padding_side() == "left");
  CHECK(tokenizer->chat_templates().at("tools") == "two");
  REQUIRE(tokenizer->warnings().size() == 3);
  CHECK(tokenizer->warnings()[0].find("\"<y>\" has id 7") != std::string::npos);
  CHECK(tokenizer->warnings()[1].find("\"<z>\" has id 12 in the files") != std::string::npos);
  CHECK(tokenizer->warnings()[2].find("pad_token \"<pad>\" is not in the vocabulary") !=
        std::string::npos);

  folder.write("chat_template.jinja", "from a file");
  CHECK(load(folder.path())->chat_templates().at("default") == "from a file");
  // The file alone knows nothing of the files beside it.
  CHECK(load(folder.path() + "/tokenizer.json")->chat_templates().empty());
}

TEST_CASE("byte-level text for a model that is no byte pair encoding is spelled in its alphabet") {
  const auto tokenizer = load_text(
      R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
          "model": {"type": "WordLevel", "unk_token": "u", "vocab": {"u": 0, "a": 1, "\u0120b": 2,
            "\u00C3\u00A9": 3, "\u00E9": 4}}})");
  const Encoding encoding = tokenizer->encode("a b", with_tokens());
  CHECK(encoding.ids == Ids{1, 2});
  CHECK(spans_of(encoding) == Spans{{0, 1}, {1, 3}});
  CHECK(tokenizer->encode("\u00E9").ids == Ids{3});
}

TEST_CASE("SentencePiece files with fairseq's order of ids") {
  const std::string model = "../shared/data/tokenizers/sentencepiece-test/test_model.model";
  if (!fs::exists(model)) PERILUNE_SKIP("../shared/data is not there");
  struct Case {
    const char* name;
    Ids hello;
    Ids pair;  // of "a" and "b"
  };
  const std::vector<Case> cases = {
      {"XLMRobertaTokenizer", {0, 152, 89, 22, 888, 2}, {0, 12, 2, 2, 81, 2}},
      {"CamembertTokenizer", {5, 155, 92, 25, 891, 6}, {5, 15, 6, 6, 84, 6}},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    TemporaryFolder folder;
    fs::copy_file(model, folder.path() + "/sentencepiece.bpe.model");
    folder.write("tokenizer_config.json", std::string(R"({"tokenizer_class": ")") + c.name + "\"}");
    const auto tokenizer = load(folder.path());
    CHECK(tokenizer->encode("Hello world").ids == c.hello);
    CHECK(tokenizer->encode_pair("a", "b").ids == c.pair);
    CHECK(tokenizer->decode(c.hello) == "Hello world");
    CHECK(tokenizer->specials().mask == tokenizer->max_id());
  }
}

TEST_CASE("what a file says wrongly or newly is an error that names it") {
  struct Case {
    std::string text;
    const char* part;
  };
  const auto processor = [](const std::string& json) {
    return words("", "\"post_processor\": " + json + ", ");
  };
  const std::vector<Case> cases = {
      {"[]", "expected an object"},
      {"{}", "no key \"model\""},
      {words("", R"("version": "2.0", )"), "is there twice"},
      {R"({"version": "2.0", "model": {}})", "2.0 is not known"},
      {words("", R"("normalizer": {"type": "Rot13"}, )"), "Rot13"},
      {words("", R"("decoder": {"type": "Rot13"}, )"), "Rot13"},
      {R"({"pre_tokenizer": {"type": "Rot13"}, "model": {"vocab": {}}})", "Rot13"},
      {R"({"model": {"type": "Rot13"}})", "Rot13"},
      {processor(R"({"type": "Rot13"})"), "the post-processor Rot13 is not known"},
      {processor(R"({"type": "BertProcessing", "sep": ["[SEP]", 99], "cls": ["[CLS]", 1]})"),
       "puts in id 99, which is no token"},
      {processor(R"({"type": "BertProcessing", "sep": ["[SEP]"], "cls": ["[CLS]", 1]})"),
       "expected [token, id]"},
      {processor(R"({"type": "TemplateProcessing", "single": [], "pair": []})"), "is missing"},
      {processor(R"({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "B",
          "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": []})"),
       "no Sequence B"},
      {processor(R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]",
          "type_id": 0}}]})"),
       "\"[X]\" is not in special_tokens"},
      {words(token(-1, "<x>")), "is not within 0 to"},
      {words(token(2000000000, "<x>")), "is not within 0 to"},
      {words("", R"("truncation": {"max_length": 0}, )"), "is not within 1 to"},
      {words("", R"("padding": {"direction": "Up", "pad_id": 0, "pad_token": "[UNK]"}, )"),
       "expected Left or Right"},
  };
  for (const Case& c : cases) {
    const std::string message = message_of([&] { load_text(c.text); });
    INFO(message);
    CHECK(message.find(c.part) != std::string::npos);
  }
}

TEST_CASE("time grows with the text, whatever the text") {
  std::string added;
  for (int i = 0; i < 1600; ++i) {
    added += (i == 0 ? "" : ",") + token(8 + i, "<|" + std::to_string(i) + "|>");
  }
  const auto tokenizer = load_text(words(added));
  // Squared growth would take hours, and the test's time limit would tell.
  for (const std::string unit : {"<", "<|", "<|1|>", " ", "a "}) {
    std::string text;
    while (text.size() < 1000000) text += unit;
    INFO(unit);
    CHECK_NOTHROW(tokenizer->encode(text));
  }
}
