// Decoders: what pieces become, and that a stream gives the same as the whole list.
#include "engine/text/decode/piece_decoder.h"

#include <functional>
#include <random>

#include "engine/base/error.h"
#include "engine/base/json.h"
#include "engine/base/utf8.h"
#include "engine/text/unicode/byte_level.h"
#include "tests/catch.h"

using namespace perilune;
using Strings = std::vector<std::string>;

namespace {

std::unique_ptr<DecoderRecipe> reading(const std::string& json) {
  return read_decoder(parse_json(json, "tokenizer.json"));
}

std::string joined(const Strings& parts) {
  std::string text;
  for (const std::string& part : parts) text += part;
  return text;
}

std::string decoded(const DecoderRecipe& recipe, const Strings& pieces) {
  const auto decoder = recipe.make();
  Strings out;
  for (const std::string& piece : pieces) decoder->push(piece, out);
  decoder->finish(out);
  for (const std::string& part : out) REQUIRE(is_utf8(part));
  return joined(out);
}

std::string sequence(const Strings& steps) {
  std::string json;
  for (const std::string& step : steps) json += (json.empty() ? "" : ",") + step;
  return R"({"type":"Sequence","decoders":[)" + json + "]}";
}

const std::string kFuse = R"({"type":"Fuse"})";
const std::string kByteLevel = R"({"type":"ByteLevel"})";
const std::string kFallback = R"({"type":"ByteFallback"})";
const std::string kSpaces = R"({"type":"Replace","pattern":{"String":"▁"},"content":" "})";
const std::string kMarks = R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"always"})";
const std::string kWords = R"({"type":"WordPiece","prefix":"##","cleanup":true})";
const std::string kSuffix = R"({"type":"BPEDecoder","suffix":"</w>"})";
const std::string kCtc = R"({"type":"CTC","pad_token":"<pad>","word_delimiter_token":"|"})";

std::string strip(const std::string& content, int start, int stop) {
  return R"({"type":"Strip","content":")" + content + R"(","start":)" + std::to_string(start) +
         R"(,"stop":)" + std::to_string(stop) + "}";
}

const std::string kLlama = sequence({kSpaces, kFallback, kFuse, strip(" ", 1, 0)});

// The definitions over a whole list, written down a second time and as plainly as possible.

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
  return text;
}

Strings each(Strings list, const std::function<std::string(const std::string&, std::size_t)>& map) {
  for (std::size_t i = 0; i < list.size(); ++i) list[i] = map(list[i], i);
  return list;
}

std::string whole_clean(std::string text) {
  for (const auto& [what, with] :
       std::vector<std::pair<std::string, std::string>>{{" .", "."},
                                                        {" ?", "?"},
                                                        {" !", "!"},
                                                        {" ,", ","},
                                                        {" ' ", "'"},
                                                        {" n't", "n't"},
                                                        {" 'm", "'m"},
                                                        {" do not", " don't"},
                                                        {" 's", "'s"},
                                                        {" 've", "'ve"},
                                                        {" 're", "'re"}}) {
    text = replaced(text, what, with);
  }
  return text;
}

Strings whole_fallback(const Strings& list) {
  Strings out;
  std::string run;
  const auto close = [&] {
    if (is_utf8(run)) {
      if (!run.empty()) out.push_back(run);
    } else {
      for (std::size_t i = 0; i < run.size(); ++i) out.push_back("\uFFFD");
    }
    run.clear();
  };
  for (const std::string& piece : list) {
    const bool byte = piece.size() == 6 && piece.rfind("<0x", 0) == 0 && piece[5] == '>' &&
                      std::isxdigit(static_cast<unsigned char>(piece[3])) != 0 &&
                      std::isxdigit(static_cast<unsigned char>(piece[4])) != 0;
    if (byte) {
      run += static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16));
    } else {
      close();
      out.push_back(piece);
    }
  }
  close();
  return out;
}

Strings whole_byte_level(const Strings& list) {
  std::string bytes, text;
  for (const std::string& piece : list) bytes += bytes_of_byte_level(piece).value_or(piece);
  Utf8Buffer buffer(Utf8Replacement::subpart);
  buffer.push(bytes, text);
  buffer.flush(text);
  return {text};
}

std::string whole_strip(std::string text, char content, int start, int stop) {
  for (; start > 0 && !text.empty() && text.front() == content; --start) text.erase(0, 1);
  for (; stop > 0 && !text.empty() && text.back() == content; --stop) text.pop_back();
  return text;
}

}  // namespace

TEST_CASE("decoders answer as published", "[text][decoder]") {
  struct Case {
    std::string json;
    Strings pieces;
    std::string text;
  };
  const std::vector<Case> cases = {
      {"null", {"a", "b", "c"}, "a b c"},
      {kByteLevel, {"Hello", "Ġworld", "Ã", "©", "Ã"}, "Hello worldé\uFFFD"},
      {kByteLevel, {"中", "<s>", "Ġa b"}, "中<s>Ġa b"},  // not of the alphabet: as it is
      {kWords, {"##a", "b", "##c", "##", ".", "do", "not", "'s"}, "##a bc. do not's"},
      {R"({"type":"WordPiece","prefix":"##","cleanup":false})", {"a", ".", "##b"}, "a .b"},
      {kMarks, {"▁Hello", "▁▁big", "▁"}, "Hello  big "},
      {R"({"type":"Metaspace","prepend_scheme":"first"})", {"▁▁a▁b", "▁c"}, "ab c"},
      {R"({"type":"Metaspace","prepend_scheme":"never"})", {"▁a", "▁b"}, " a b"},
      {R"({"type":"Metaspace","replacement":"▁","add_prefix_space":false})", {"▁a", "▁b"}, " a b"},
      {R"({"type":"Metaspace","replacement":"_","add_prefix_space":true})", {"_a", "_b"}, "a b"},
      {kSuffix, {"hel", "lo</w>", "you</w>"}, "hello you"},
      {kSuffix, {"a</w>b", "</w>"}, "a b"},
      {kFallback, {"<0xE5>", "<0x8f>", "<0xab>", "a"}, "叫a"},
      {kFallback,
       {"<0xE5>", "<0x8f>", "a", "<0x61>"},
       "\uFFFD\uFFFD"
       "aa"},
      {kFallback, {"<0x61>", "<0xE5>", "<0x62>"}, "\uFFFD\uFFFD\uFFFD"},  // all or none of a run
      {kFallback, {"<0xG1>", "<0x1>", "<0x+A>"}, "<0xG1><0x1>\n"},
      {kFuse, {"a", "", "b"}, "ab"},
      {strip("H", 1, 0), {"Hey", " friend!", "HHH"}, "ey friend!HH"},
      {strip("y", 0, 1), {"Hey", "yyy", "y"}, "Heyy"},
      {strip("é", 2, 2), {"ééé", "éaé"}, "a"},
      {R"({"type":"Replace","pattern":{"Regex":"\\s+"},"content":"_"})",
       {"a  b", " ", "c"},
       "a_b_c"},
      {kCtc, {"<pad>", "h", "h", "e", "l", "<pad>", "l", "|", "|", "o", "<pad>"}, "hell o"},
      {kLlama, {"▁Hello", "▁", "<0xE3>", "<0x81>", "<0x82>", "▁x"}, "Hello あ x"},
      {kLlama, {"▁▁a"}, " a"},
      {sequence({kFuse, kMarks}), {"▁a", "▁b"}, "ab"},  // one string: every mark is the first's
      {sequence({kFuse, kSuffix}), {"a</w>", "b</w>"}, "ab"},
      {sequence({kByteLevel, strip(" ", 1, 1)}), {"Ġa", "Ġ", "Ġ"}, "a "},
      {sequence({sequence({kSpaces, kFuse}), strip(" ", 1, 2)}), {"▁a▁", "▁", "▁"}, "a "},
      {sequence({}), {"a", "b"}, "ab"},
  };
  for (const Case& row : cases) {
    CAPTURE(row.json, row.pieces);
    CHECK(decoded(*reading(row.json), row.pieces) == row.text);
    CHECK(decoded(*reading(row.json), {}) == "");
  }
  CHECK(decoded(*make_byte_level_decoder(), {"Ġa"}) == " a");
  CHECK(decoded(*make_wordpiece_decoder("@", false), {"a", "@b", "c"}) == "ab c");
}

TEST_CASE("a stream gives what the whole list gives", "[text][decoder]") {
  using Whole = std::function<std::string(const Strings&)>;
  const auto spaces = [](const Strings& list) {
    return each(list, [](const std::string& p, std::size_t) { return replaced(p, "▁", " "); });
  };
  const std::vector<std::pair<std::string, Whole>> decoders = {
      {kByteLevel, [](const Strings& l) { return joined(whole_byte_level(l)); }},
      {kFallback, [](const Strings& l) { return joined(whole_fallback(l)); }},
      {kWords,
       [](const Strings& l) {
         return joined(each(l, [](const std::string& p, std::size_t i) {
           return whole_clean(i == 0 ? p : p.rfind("##", 0) == 0 ? p.substr(2) : " " + p);
         }));
       }},
      {kMarks,
       [](const Strings& l) {
         return joined(each(l, [](const std::string& p, std::size_t i) {
           return replaced(p, "▁", i == 0 ? "" : " ");
         }));
       }},
      {kSuffix,
       [](const Strings& l) {
         return joined(each(l, [&](const std::string& p, std::size_t i) {
           return replaced(p, "</w>", i + 1 == l.size() ? "" : " ");
         }));
       }},
      {kLlama,
       [&](const Strings& l) { return whole_strip(joined(whole_fallback(spaces(l))), ' ', 1, 0); }},
      {sequence({kFuse, strip("a", 2, 2)}),
       [](const Strings& l) { return whole_strip(joined(l), 'a', 2, 2); }},
      {sequence({kFuse, R"({"type":"Replace","pattern":{"String":"ab"},"content":"ba"})"}),
       [](const Strings& l) { return replaced(joined(l), "ab", "ba"); }},
      {sequence({kByteLevel, R"({"type":"Replace","pattern":{"Regex":"a b|é|x"},"content":""})"}),
       [](const Strings& l) {
         std::string text = joined(whole_byte_level(l)), out;
         for (std::size_t at = 0; at < text.size();) {
           const bool long_one = text.compare(at, 3, "a b") == 0;
           const bool accent = text.compare(at, 2, "é") == 0;
           if (long_one || accent || text[at] == 'x') {
             at += long_one ? 3 : accent ? 2 : 1;
           } else {
             out += text[at++];
           }
         }
         return out;
       }},
  };
  const Strings pool = {"▁", "a", "b", "ab",     " ",      "##", "</w>", "<0xE3>", "<0x81>",
                        "Ġ", "Ã", "©", "<0x82>", "<0xFF>", "x",  "n't",  ".",      "é",
                        "ã", "ģ", "Ĥ", "日",     "\n",     "",   "'s",   " do not"};
  std::mt19937 random(perilune_test::seeded(11));
  for (const auto& [json, whole] : decoders) {
    const auto recipe = reading(json);
    for (int i = 0; i < 400; ++i) {
      Strings pieces;
      for (unsigned n = random() % 10; n > 0; --n) {
        std::string piece;
        for (unsigned k = random() % 3 + 1; k > 0; --k) piece += pool[random() % pool.size()];
        pieces.push_back(piece);
      }
      CAPTURE(json, pieces);
      REQUIRE(decoded(*recipe, pieces) == whole(pieces));
    }
  }
}

TEST_CASE("text comes as early as it is final", "[text][decoder]") {
  struct Case {
    std::string json;
    Strings pieces, parts;  // parts: by push, the last by finish
  };
  const std::vector<Case> cases = {
      {kLlama, {"▁a", "▁b", "<0x63>", "d"}, {"a", " b", "", "cd", ""}},
      {kByteLevel, {"a", "Ã", "©", "Ã"}, {"a", "", "é", "", "\uFFFD"}},
      {kSuffix, {"a</w>", "b</w>"}, {"", "a ", "b"}},
      {sequence({kFuse, strip(" ", 0, 1)}), {"a ", "b ", " "}, {"a", " b", " ", ""}},
      {sequence({kFuse, R"({"type":"Replace","pattern":{"String":"abc"},"content":"x"})"}),
       {"a", "b", "d", "abc", "a"},
       {"", "", "abd", "x", "", "a"}},
  };
  for (const Case& row : cases) {
    const auto decoder = reading(row.json)->make();
    Strings parts;
    for (const std::string& piece : row.pieces) {
      Strings out;
      decoder->push(piece, out);
      parts.push_back(joined(out));
    }
    Strings out;
    decoder->finish(out);
    parts.push_back(joined(out));
    CAPTURE(row.json);
    CHECK(parts == row.parts);
  }
}

TEST_CASE("damaged decoders say what is wrong", "[text][decoder]") {
  const auto error_of = [](const std::string& json) {
    try {
      reading(json);
    } catch (const Error& error) {
      return error;
    }
    FAIL("no error for " << json);
    return Error(ErrorCode::internal, "", "");
  };
  const Error unknown = error_of(sequence({R"({"type":"Sideways"})"}));
  CHECK(unknown.code() == ErrorCode::unsupported);
  CHECK_THAT(unknown.what(), Catch::Contains("Sideways") && Catch::Contains("ByteFallback"));
  for (const std::string& json :
       {std::string("{}"), std::string(R"({"type":"Sequence"})"), strip("", 1, 0),
        strip("ab", 1, 0), strip("a", -1, 0), std::string(R"({"type":"Replace","content":""})"),
        std::string(R"({"type":"WordPiece","cleanup":3})")}) {
    CAPTURE(json);
    CHECK(error_of(json).code() == ErrorCode::format);
  }
}

TEST_CASE("a long piece takes linear time", "[text][decoder]") {
  std::string marks;
  for (int i = 0; i < 1000000; ++i) marks += "▁";
  CHECK(decoded(*reading(kMarks), {"a", marks}) == "a" + std::string(1000000, ' '));
  CHECK(decoded(*reading(kLlama), {marks}) == std::string(999999, ' '));
  Strings bytes(300000, "<0x61>");
  CHECK(decoded(*reading(kLlama), bytes) == std::string(300000, 'a'));
}
