// Normalizers: the text they give and which original characters each of its characters stands for,
// as the published tokenizers answer.
#include "engine/text/normalize/normalizer.h"

#include <random>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/text/unicode/unicode.h"
#include "tests/catch.h"

using namespace perilune;

namespace {

std::unique_ptr<Normalizer> reading(const std::string& json) {
  return read_normalizer(parse_json(json, "tokenizer.json"));
}

// "x<original>" for every character of the normalized text.
std::string aligned(const Normalizer& normalizer, const std::string& original,
                    std::uint32_t offset = 0) {
  AlignedText text(original, offset);
  normalizer.apply(text);
  std::string out;
  for (std::uint32_t at = 0; at < text.size();) {
    const std::uint32_t size = character_at(text.text(), at).size;
    const TextSpan span = text.origin(at, at + size);
    REQUIRE(span.first >= offset);
    REQUIRE(span.last <= offset + original.size());
    out += text.text().substr(at, size) + "<" +
           original.substr(span.first - offset, span.last - span.first) + ">";
    at += size;
  }
  return out;
}

std::string normalized(const std::string& json, const std::string& original) {
  AlignedText text(original);
  reading(json)->apply(text);
  return text.text();
}

std::string type(const std::string& name) {
  return R"({"type":")" + name + R"("})";
}

std::string bert(bool clean, bool chinese, const std::string& accents, bool lower) {
  const auto flag = [](bool value) { return value ? "true" : "false"; };
  return R"({"type":"BertNormalizer","clean_text":)" + std::string(flag(clean)) +
         R"(,"handle_chinese_chars":)" + flag(chinese) + R"(,"strip_accents":)" + accents +
         R"(,"lowercase":)" + flag(lower) + "}";
}

Error error_of(const std::string& json) {
  try {
    reading(json);
  } catch (const Error& error) {
    return error;
  }
  FAIL("no error for " << json);
  return Error(ErrorCode::internal, "", "");
}

}  // namespace

TEST_CASE("normalizers change text and keep track of it", "[text][normalizer]") {
  struct Case {
    std::string json, original, expected;
  };
  const std::string spaces = R"({"type":"Replace","pattern":{"Regex":"\\s+"},"content":" "})";
  const std::vector<Case> cases = {
      {type("NFC"), "e\u0301\u0323x", "ẹ<e\u0301\u0323>\u0301<\u0323>x<x>"},
      {type("NFC"), "a\u0301b", "á<a\u0301>b<b>"},
      {type("NFC"), "\u1112\u1161\u11ab", "한<\u1112\u1161\u11ab>"},
      {type("NFC"), "plain ẹ", "p<p>l<l>a<a>i<i>n<n> < >ẹ<ẹ>"},
      {type("NFD"), "éa", "e<é>\u0301<é>a<a>"},
      {type("NFKC"), "ﬁ½", "f<ﬁ>i<ﬁ>1<½>\u2044<½>2<½>"},
      {type("NFKD"), "①é", "1<①>e<é>\u0301<é>"},
      {type("Lowercase"), "AİΣ中ß", "a<A>i<İ>\u0307<İ>σ<Σ>中<中>ß<ß>"},
      {type("StripAccents"), "e\u0304\u0304oé", "e<e>o<o>é<é>"},
      {type("StripAccents"), "a\u0898", "a<a>\u0898<\u0898>"},  // a mark since Unicode 14 only
      {type("Nmt"), "a\u0001b\tc\u200bd\u2581", "a<a>b<b> <\t>c<c> <\u200b>d<d> <\u2581>"},
      {type("ByteLevel"), "a é", "a<a>Ġ< >Ã<é>©<é>"},
      {R"({"type":"Strip","strip_left":true,"strip_right":true})", " \u3000é é \n", "é<é> < >é<é>"},
      {R"({"type":"Strip","strip_left":true,"strip_right":false})", "  a ", "a<a> < >"},
      {R"({"type":"Strip","strip_left":false,"strip_right":true})", "  a ", " < > < >a<a>"},
      {R"({"type":"Replace","pattern":{"String":"''"},"content":"\"y"})", "a''b",
       "a<a>\"<'>y<'>b<b>"},
      {R"({"type":"Replace","pattern":{"String":"é"},"content":""})", "aébé", "a<a>b<b>"},
      {spaces, "a b \t c", "a<a> < >b<b> < >c<c>"},
      {R"({"type":"Prepend","prepend":"▁x"})", "hé", "▁<h>x<h>h<h>é<é>"},
      {R"({"type":"Prepend","prepend":"▁"})", "", ""},
      {R"({"type":"Sequence","normalizers":[{"type":"Strip"},{"type":"Prepend","prepend":"▁"},)"
       R"({"type":"Replace","pattern":{"String":" "},"content":"▁"}]})",
       "  a b", "▁<a>a<a>▁< >b<b>"},
      {R"({"type":"Sequence","normalizers":[{"type":"NFC"},)" + spaces +
           R"(,{"type":"Lowercase"}]})",
       "A\u0301 \n B", "á<A\u0301> < >b<B>"},
      {R"({"type":"Sequence","normalizers":[]})", "A", "A<A>"},
      {bert(true, true, "null", true), "Hé\t中\u0001X", "h<H>e<é> <\t> <中>中<中> <中>x<X>"},
      {bert(true, true, "null", false), "Hé\u00a0x", "H<H>é<é> <\u00a0>x<x>"},
      {bert(true, false, "true", false), "Hé中", "H<H>e<é>中<中>"},
      {bert(false, true, "false", true), "Hé\u0001İ", "h<H>é<é>\u0001<\u0001>i<İ>\u0307<İ>"},
      {bert(true, true, "true", true), "\uFFFD\u00AD\uE000\u0378ｶﾞ", "\u0378<\u0378>ｶ<ｶ>ﾞ<ﾞ>"},
      {bert(true, true, "true", true), "각", "\u1100<각>\u1161<각>\u11a8<각>"},
      // A spacing mark stays, at the place that sorting gave it.
      {bert(false, false, "true", false), "a\u302E\u0316b", "a<a>\u302E<\u0316>b<b>"},
  };
  for (const Case& row : cases) {
    CAPTURE(row.json, row.original);
    CHECK(aligned(*reading(row.json), row.original) == row.expected);
    CHECK(aligned(*reading(row.json), row.original, 1000) == row.expected);
  }
  CHECK(read_normalizer(Json()) == nullptr);
}

TEST_CASE("a precompiled map is asked by cluster, then by character", "[text][normalizer]") {
  const std::string path = "../shared/data/tokenizers/t5-small/tokenizer.json";
  if (!file_exists(path)) PERILUNE_SKIP("../shared/data is not there");
  const auto normalizer = read_normalizer(read_json(path).get("normalizer"));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"plain text.", "p<p>l<l>a<a>i<i>n<n> < >t<t>e<e>x<x>t<t>.<.>"},
      {"a…xy", "a<a>.<…>.<…>.<…>x<x>y<y>"},
      {"e\u0301x", "é<e\u0301>x<x>"},
      {"\r\nab", " <\r\n>a<a>b<b>"},
      {"ﬁab", "f<ﬁ>i<ﬁ>a<a>b<b>"},
      {"b\u200bde", "b<b> <\u200b>d<d>e<e>"},
      {"カ゛x", "カ<カ> <゛>\u3099<゛>x<x>"},
      {"a\u0001\u0002b", "a<a>b<b>"},
      {"é\u0001…\u0001é", "é<é>.<…>.<…>.<\u0001>é<é>"},
      // What is taken out at the very start shifts all spans: a published fault that is kept.
      {"\u0001abc", "a<\u0001>b<a>c<b>"},
      {"\u0001", ""},
  };
  for (const auto& [original, expected] : cases) {
    CAPTURE(original);
    CHECK(aligned(*normalizer, original) == expected);
  }
}

TEST_CASE("an unchanged or same-shaped text stores no alignment", "[text][normalizer]") {
  struct Case {
    std::string json, original;
  };
  for (const auto& [json, original] : std::vector<Case>{
           {type("NFC"), "Plain, é, 中文 and ไทย้"},
           {type("NFD"), "Plain e\u0301"},
           {type("Lowercase"), "MANY CAPITALS ÉÀ"},
           {bert(true, true, "null", true), "A Line\nof prose\tin ASCII"},
           {R"({"type":"Replace","pattern":{"Regex":"\\s"},"content":" "})", "a\tb\nc d"}}) {
    AlignedText text(original);
    reading(json)->apply(text);
    CAPTURE(json);
    CHECK_FALSE(text.aligned());
    CHECK(text.size() == original.size());
  }
}

TEST_CASE("one pass of BERT's normalizer is its four steps", "[text][normalizer]") {
  std::mt19937 random(perilune_test::seeded(7));
  const std::vector<std::string> pool = {"a",  "B",      " ",          "\t",     "\u0001", "é",
                                         "É",  "\u0301", "\u0323",     "中",     "\uFA0E", "\uF900",
                                         "각", "İ",      "\u1ACD",     "\u302E", "\u0344", "\u3000",
                                         "Σ",  "ｶﾞ",     "\U0001D15E", "\u0001"};
  const auto clean = reading(bert(true, false, "false", false));
  const auto chinese = reading(bert(false, true, "false", false));
  const auto accents = reading(bert(false, false, "true", false));
  const auto lower = reading(bert(false, false, "false", true));
  const auto whole = reading(bert(true, true, "true", true));
  for (int i = 0; i < 2000; ++i) {
    std::string original;
    for (unsigned n = random() % 12; n > 0; --n) original += pool[random() % pool.size()];
    AlignedText steps(original), once(original);
    for (const auto* step : {&clean, &chinese, &accents, &lower}) (*step)->apply(steps);
    whole->apply(once);
    CAPTURE(original);
    REQUIRE(once.text() == steps.text());
    for (std::uint32_t at = 0; at < once.size(); ++at) {
      REQUIRE(once.origin(at, at + 1) == steps.origin(at, at + 1));
    }
  }
}

TEST_CASE("spans of an aligned text are whole original characters", "[text][normalizer]") {
  AlignedText text("aé中b", 10);
  CHECK_FALSE(text.aligned());
  CHECK(text.origin(2, 3) == TextSpan{11, 13});  // the second byte of é gives all of it
  CHECK(text.origin(4, 5) == TextSpan{13, 16});
  CHECK(text.origin(0, 7) == TextSpan{10, 17});
  CHECK(text.origin(3, 3) == TextSpan{13, 13});
  {
    AlignedTextWriter writer(text);
    writer.insert("▁");
    writer.keep(0, 3);
    writer.insert("!");
    writer.replace(3, 6, "X");
    writer.finish();
  }
  CHECK(text.text() == "▁aé!X");
  CHECK(text.aligned());
  CHECK(text.origin(0, 3) == TextSpan{10, 10});
  CHECK(text.origin(1, 4) == TextSpan{10, 11});
  CHECK(text.origin(5, 6) == TextSpan{11, 13});
  CHECK(text.origin(6, 7) == TextSpan{11, 13});
  CHECK(text.origin(7, 8) == TextSpan{13, 16});
  CHECK(text.origin(8, 8) == TextSpan{16, 16});
  {
    AlignedTextWriter writer(text);  // same shape: spans stay
    writer.keep(0, 3);
    writer.overlay(3, 6, "bê");
    writer.replace(6, 7, "?");
    writer.keep(7, 8);
    writer.finish();
  }
  CHECK(text.text() == "▁bê?X");
  CHECK(text.origin(4, 5) == TextSpan{11, 13});
  CHECK(text.origin(7, 8) == TextSpan{13, 16});
  {
    AlignedTextWriter writer(text);  // everything left out
    writer.finish();
  }
  CHECK(text.size() == 0);
}

TEST_CASE("damaged normalizers say what is wrong", "[text][normalizer]") {
  const Error unknown = error_of(R"({"type":"Upside"})");
  CHECK(unknown.code() == ErrorCode::unsupported);
  CHECK_THAT(unknown.what(), Catch::Contains("Upside") && Catch::Contains("BertNormalizer"));
  for (const char* json : {
           R"({})",
           R"({"type":"Sequence"})",
           R"({"type":"Replace","pattern":{"String":"a"}})",
           R"({"type":"Replace","pattern":{"Regex":"("},"content":""})",
           R"({"type":"Replace","pattern":{},"content":""})",
           R"({"type":"Prepend"})",
           R"({"type":"Precompiled","precompiled_charsmap":"***"})",
           R"({"type":"Precompiled","precompiled_charsmap":"AAAAAA=="})",
           R"({"type":"BertNormalizer","lowercase":"yes"})",
       }) {
    CAPTURE(json);
    CHECK(error_of(json).code() == ErrorCode::format);
  }
}

TEST_CASE("rules that multiply a text come to an end", "[text][normalizer]") {
  std::string steps;
  for (int i = 0; i < 12; ++i) {
    steps += std::string(i == 0 ? "" : ",") +
             R"({"type":"Replace","pattern":{"String":"a"},"content":"aaaaaaaa"})";
  }
  const std::string json = R"({"type":"Sequence","normalizers":[)" + steps + "]}";
  CHECK_THROWS_WITH(normalized(json, "a"), Catch::Contains("too long"));
  const std::string long_text(100000, ' ');
  CHECK(normalized(R"({"type":"Replace","pattern":{"String":" "},"content":"▁"})", long_text)
            .size() == 300000);
}
