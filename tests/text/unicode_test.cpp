// Characters' properties, the four normal forms and grapheme clusters against Unicode's own tests.
#include "engine/text/unicode/unicode.h"

#include <set>
#include <sstream>

#include "engine/base/file.h"
#include "engine/text/normalize/normalizer.h"
#include "engine/text/unicode/aligned_text.h"
#include "tests/catch.h"

using namespace perilune;

namespace {

const std::string kFolder = "../shared/data/corpora/unicode/";

std::string of(const std::u32string& characters) {
  std::string text;
  for (const char32_t c : characters) append_character(text, c);
  return text;
}

// Hexadecimal code points with spaces between them.
std::string of_codes(const std::string& codes) {
  std::istringstream words(codes);
  std::string text, word;
  while (words >> word)
    append_character(text, static_cast<char32_t>(std::stoul(word, nullptr, 16)));
  return text;
}

std::vector<std::string> split(const std::string& line, const std::string& by) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  for (std::size_t end = line.find(by); end != std::string::npos; end = line.find(by, at)) {
    parts.push_back(line.substr(at, end - at));
    at = end + by.size();
  }
  parts.push_back(line.substr(at));
  return parts;
}

// NFC, NFD, NFKC, NFKD of one text.
std::vector<std::string> forms(const std::string& text) {
  return {normalize(text, NormalForm::c), normalize(text, NormalForm::d),
          normalize(text, NormalForm::kc), normalize(text, NormalForm::kd)};
}

}  // namespace

TEST_CASE("characters have the classes that patterns ask for", "[text][unicode]") {
  struct Case {
    char32_t value;
    int flags;
    Category category;
  };
  const std::vector<Case> cases = {
      {U'a', kLetter | kLower | kWord, Category::Ll},
      {U'Z', kLetter | kUpper | kWord, Category::Lu},
      {U'7', kNumber | kDecimal | kWord, Category::Nd},
      {U'_', kPunctuation | kWord, Category::Pc},
      {U'$', kSymbol, Category::Sc},
      {U'"', kPunctuation, Category::Po},
      {U' ', kWhiteSpace, Category::Zs},
      {U'\n', kControl | kWhiteSpace, Category::Cc},
      {0x85, kControl | kWhiteSpace, Category::Cc},
      {0x1C, kControl, Category::Cc},  // a separator, but no white space
      {0xA0, kWhiteSpace, Category::Zs},
      {0x200B, kControl, Category::Cf},
      {0x200D, kControl | kWord, Category::Cf},
      {0x2028, kWhiteSpace, Category::Zl},
      {0x3000, kWhiteSpace, Category::Zs},
      {0x301, kMark | kWord, Category::Mn},
      {0x1C5, kLetter | kTitleOrOther | kWord, Category::Lt},
      {0x4E2D, kLetter | kTitleOrOther | kWord, Category::Lo},
      {0x2163, kNumber | kWord, Category::Nl},
      {0xBD, kNumber, Category::No},
      {0x24B6, kSymbol | kWord, Category::So},
      {0x1F600, kSymbol, Category::So},
      {0x378, kControl, Category::Cn},
      {0x50000, kControl, Category::Cn},
      {0xE001, kControl, Category::Co},
      {0x10FFFF, kControl, Category::Cn},
      {0x110000, kControl, Category::Cn},
  };
  for (const Case& row : cases) {
    CAPTURE(static_cast<unsigned>(row.value));
    CHECK(character_flags(row.value) == row.flags);
    CHECK(category(row.value) == row.category);
  }
  for (char32_t c = 0; c < 0x300; ++c) {
    CAPTURE(static_cast<unsigned>(c));
    CHECK(has_flag(c, kLetter) == (category(c) >= Category::Lu && category(c) <= Category::Lo));
    CHECK(combining_class(c) == 0);
  }
}

TEST_CASE("lower case and folding take one character at a time", "[text][unicode]") {
  const std::vector<std::pair<char32_t, std::u32string>> cases = {{U'A', U"a"},
                                                                  {U'a', U"a"},
                                                                  {U'[', U"["},
                                                                  {U'É', U"é"},
                                                                  {U'Σ', U"σ"},
                                                                  {0x130, U"i\u0307"},
                                                                  {U'ẞ', U"ß"},
                                                                  {0x1C5, U"ǆ"},
                                                                  {U'Ⅳ', U"ⅳ"},
                                                                  {U'Ⓐ', U"ⓐ"},
                                                                  {0x1F88, U"\u1F80"},
                                                                  {U'中', U"中"},
                                                                  {0x10400, U"\U00010428"},
                                                                  {0x1E9E, U"\u00DF"},
                                                                  {0x16EA0, U"\U00016EBB"},
                                                                  {0xA7DC, U"\u019B"}};
  for (const auto& [upper, lower] : cases) {
    CAPTURE(static_cast<unsigned>(upper));
    std::string out;
    append_lower_case(out, upper);
    CHECK(out == of(lower));
    CHECK(has_lower_case(upper) == (of(lower) != of({upper})));
  }
  CHECK(fold_case(U'K') == U'k');
  CHECK(fold_case(0x212A) == U'k');
  CHECK(fold_case(0x17F) == U's');
  CHECK(fold_case(U'ß') == U'ß');
  CHECK(fold_case(0x1E9E) == U'ß');
  CHECK(fold_case(0x130) == 0x130);
}

TEST_CASE("UTF-8 is written, read and repaired", "[text][unicode]") {
  for (const char32_t c : {U'\0', U'a', U'\x7F', U'\x80', U'é', U'\u07FF', U'\u0800', U'中',
                           U'\uFFFF', U'\U00010000', U'\U0010FFFF'}) {
    const std::string text = "x" + of({c}) + "y";
    const Character read = character_at(text, 1);
    CHECK(read.value == c);
    CHECK(read.size == text.size() - 2);
  }
  const std::string mark = "\xEF\xBF\xBD";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", ""},
      {"plain é 中", "plain é 中"},
      {"a\xFF"
       "b",
       "a" + mark + "b"},
      {"\xE4\xB8", mark},  // the beginning of a character: one
      {"\xE4\xB8"
       "a",
       mark + "a"},
      {"\xC0\x80", mark + mark},             // overlong: one a byte
      {"\xED\xA0\x80", mark + mark + mark},  // a surrogate
      {"\xF4\x90\x80\x80", mark + mark + mark + mark},
      {"\xF0\x9F\x98\xE4\xB8\xAD", mark + "中"},
  };
  for (const auto& [bytes, repaired] : cases) CHECK(replace_invalid_utf8(bytes) == repaired);
}

TEST_CASE("an ASCII run ends where it ends", "[text][unicode]") {
  for (std::size_t length = 0; length < 40; ++length) {
    CHECK(ascii_end(std::string(length, 'a'), 0) == length);
    CHECK(ascii_end(std::string(length, 'a') + "é" + std::string(20, 'b'), 0) == length);
    CHECK(ascii_end("é" + std::string(length, 'a') + "é", 2) == length + 2);
  }
}

TEST_CASE("NormalizationTest.txt passes whole", "[text][unicode]") {
  const std::string path = kFolder + "NormalizationTest.txt";
  if (!file_exists(path)) PERILUNE_SKIP("../shared/data is not there");
  std::istringstream lines(read_file(path, 1 << 24));
  std::set<std::string> listed;  // the characters of part 1
  std::string line, all[5];
  bool part_one = false;
  int failures = 0, rows = 0;
  while (std::getline(lines, line)) {
    if (!line.empty() && line[0] == '@') part_one = line.rfind("@Part1", 0) == 0;
    if (line.empty() || line[0] == '#' || line[0] == '@') continue;
    const std::vector<std::string> fields = split(line, ";");
    REQUIRE(fields.size() >= 5);
    std::vector<std::string> c;
    for (int i = 0; i < 5; ++i) {
      c.push_back(of_codes(fields[static_cast<std::size_t>(i)]));
      all[i] += c.back() + "\n";
    }
    if (part_one) listed.insert(c[0]);
    const std::vector<std::string> canonical = {c[1], c[2], c[3], c[4]};
    const std::vector<std::string> compatible = {c[3], c[4], c[3], c[4]};
    bool good = true;
    for (std::size_t i = 0; i < 5; ++i) {
      good = good && forms(c[i]) == (i < 3 ? canonical : compatible);
    }
    ++rows;
    if (!good && ++failures < 10) UNSCOPED_INFO(line);
  }
  CHECK(rows > 18000);
  CHECK(failures == 0);
  CHECK(forms(all[0]) == std::vector<std::string>{all[1], all[2], all[3], all[4]});

  int changed = 0;
  for (char32_t value = 1; value < 0x110000; ++value) {
    if (value >= 0xD800 && value < 0xE000) continue;
    const std::string text = of({value});
    if (listed.count(text) != 0) continue;
    if (value >= 0x1E030 && value <= 0x1E06D) continue;  // newer than the file
    for (const std::string& form : forms(text)) changed += form == text ? 0 : 1;
  }
  CHECK(changed == 0);
}

TEST_CASE("grapheme clusters break where GraphemeBreakTest.txt says", "[text][unicode]") {
  const std::string path = kFolder + "GraphemeBreakTest.txt";
  if (!file_exists(path)) PERILUNE_SKIP("../shared/data is not there");
  std::istringstream lines(read_file(path, 1 << 24));
  std::string line;
  int rows = 0;
  while (std::getline(lines, line)) {
    line = line.substr(0, line.find('#'));
    if (line.find("\xC3\xB7") == std::string::npos) continue;
    std::vector<std::string> expected, got;
    std::string text;
    for (std::string cluster : split(line, "\xC3\xB7")) {  // ÷
      for (std::size_t at = cluster.find("\xC3\x97"); at != std::string::npos;
           at = cluster.find("\xC3\x97")) {
        cluster.replace(at, 2, " ");  // ×
      }
      const std::string characters = of_codes(cluster);
      if (!characters.empty()) expected.push_back(characters);
      text += characters;
    }
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = grapheme_end(text, at);
      got.push_back(text.substr(at, end - at));
      at = end;
    }
    CAPTURE(line);
    CHECK(got == expected);
    ++rows;
  }
  CHECK(rows > 500);
}

TEST_CASE("a million combining marks take no quadratic time", "[text][unicode]") {
  std::string text = "e";
  for (int i = 0; i < 500000; ++i) text += "\u0301\u0323";  // classes 230 and 220
  const std::string form = normalize(text, NormalForm::c);
  CHECK(form.size() == text.size());  // e and one dot below became one character of 3 bytes
  CHECK(form.compare(0, 3, "ẹ") == 0);
  CHECK(form.compare(form.size() - 2, 2, "\u0301") == 0);
  CHECK(normalize(form, NormalForm::d) == normalize(text, NormalForm::d));
}
