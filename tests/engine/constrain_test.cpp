// What grammars take: regular expressions, GBNF, JSON schemas, choices; how bad ones are refused.
#include <memory>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/constrain/gbnf.h"
#include "engine/constrain/json_schema.h"
#include "engine/constrain/matcher.h"
#include "engine/constrain/regex.h"
#include "tests/catch.h"

using namespace perilune;

namespace {

enum class Fit { no, prefix, whole };

std::shared_ptr<Matcher> matcher_of(const Grammar& grammar) {
  return std::make_shared<Matcher>(std::make_shared<Automaton>(grammar));
}

Fit fit(Matcher& matcher, std::string_view text) {
  const Matcher::State state = matcher.next(matcher.start(), text);
  if (state == Matcher::kDead) return Fit::no;
  return matcher.accepts(state) ? Fit::whole : Fit::prefix;
}

struct Case {
  std::string pattern;
  std::vector<std::string> whole, prefix, no;
};

void check(const Case& one, Matcher& matcher) {
  for (const std::string& text : one.whole) {
    INFO(one.pattern << " takes " << text);
    CHECK(fit(matcher, text) == Fit::whole);
  }
  for (const std::string& text : one.prefix) {
    INFO(one.pattern << " goes on from " << text);
    CHECK(fit(matcher, text) == Fit::prefix);
  }
  for (const std::string& text : one.no) {
    INFO(one.pattern << " has no " << text);
    CHECK(fit(matcher, text) == Fit::no);
  }
}

template <class Read>
std::string refusal(Read read) {
  try {
    (void)Automaton(read());
  } catch (const Error& error) {
    return error.what();
  }
  return "taken";
}

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("regular expressions match as a whole") {
  const std::vector<Case> cases = {
      {"", {""}, {}, {"a"}},
      {"abc", {"abc"}, {"", "ab"}, {"abd", "abcd"}},
      {"a|bc|", {"", "a", "bc"}, {"b"}, {"ab"}},
      {"(a|b)*c", {"c", "abac"}, {"ab"}, {"cc"}},
      {"[a-c]{2,3}", {"ab", "abc"}, {"a"}, {"abca", "d"}},
      {"a{2,}", {"aa", "aaaaa"}, {"a"}, {"b"}},
      {"a{0}", {""}, {}, {"a"}},
      {"\\d+\\.\\d{2}", {"12.34"}, {"12", "12.", "1.2"}, {".1", "1.234"}},
      {"[^\"\\\\]*", {"", "x\xC3\xA9"}, {"x\xC3"}, {"\"", "\xFF", "\x80"}},
      {".", {"a", "\xE2\x82\xAC", "\xF0\x9F\x99\x82"}, {"\xE2\x82", "\xF0"}, {"\n", "ab"}},
      {"[\\u20ac\\x41\\u{1F642}-\\u{1F644}]",
       {"A", "\xE2\x82\xAC", "\xF0\x9F\x99\x83"},
       {"\xE2"},
       {"B", "\xF0\x9F\x99\x85"}},
      {"^(?:x|(?<name>y))$", {"x", "y"}, {""}, {"xy"}},
      {"[]a-]+?", {"]", "a-"}, {""}, {"b"}},
      {"(x?){3}y", {"y", "xxxy"}, {"xxx"}, {"xxxx"}},
      {"((a*)*)*b", {"b", "aab"}, {"aa"}, {"bb"}},
      {"\\{\\}", {"{}"}, {"{"}, {"}"}},
      {"(abc[xyz]{3}){2,3}", {"abcxyzabczzz"}, {"abcxyzabc"}, {"abcxyza.", "abcxyzxyz"}}};
  for (const Case& one : cases) {
    const auto matcher = matcher_of(regex_grammar(one.pattern));
    check(one, *matcher);
  }
}

TEST_CASE("bad regular expressions are refused with their place") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"a(b", "a parenthesis is not closed at position 2"},
      {"ab)", "none opens at position 3"},
      {"[a", "a class is not closed at position 1"},
      {"[z-a]", "backwards at position 3"},
      {"*a", "nothing to repeat at position 1"},
      {"a**", "two repetitions of one part at position 1"},
      {"a{3,2}", "the least is above the most"},
      {"a{99999999}", "more than 100000 repetitions"},
      {"a\\", "a backslash at the end"},
      {"\\bword", "\\b is not supported at position 2"},
      {"(?=a)", "look-around"},
      {"a\\1", "\\1 is not supported"},
      {"a^b", "^ stands only at the beginning"},
      {"a$b", "$ stands only at the end"},
      {"[^\\x00-\\u{10FFFF}]", "a class without characters"},
      {"\\ud800", "no such character"},
      {"\xFF", "not valid UTF-8"},
      {std::string(300, '(') + std::string(300, ')'), "nested too deep"}};
  for (const auto& [pattern, part] : cases) {
    const std::string text = refusal([&, p = pattern] { return regex_grammar(p); });
    INFO(pattern << ": " << text);
    CHECK(says(text, part));
  }
}

TEST_CASE("GBNF grammars, with recursion") {
  const std::string nested = "root ::= \"(\" root* \")\" # brackets\n";
  const std::string arithmetic =
      "root ::= expr \"=\" [0-9]+\n"
      "expr ::= term (\n  [-+*/] term )*\n"
      "term ::= [0-9]+ |\n  \"(\" expr \")\"\n";
  const std::string others =
      "root ::= greeting\n"
      "greeting ::= \"hi\"\n"
      "  | \"\\x41\\u00e9\" name{1,2}\n\n"
      "name ::= [^\\n\\]]? .\n";
  const std::vector<Case> cases = {
      {nested, {"()", "(()())", "((((()))))"}, {"(", "(()"}, {")", "())"}},
      {arithmetic, {"1+2=3", "(1+(2))*3=99"}, {"1+2", "((1"}, {"+", "1+=", "(1]"}},
      {others,
       {"hi", "A\xC3\xA9x", "A\xC3\xA9xy", "A\xC3\xA9xyzw", "A\xC3\xA9]"},
       {"h", "A\xC3"},
       {"A\xC3\xA9xyzwv", "A\xC3\xA9]]]"}}};
  for (const Case& one : cases) {
    const auto matcher = matcher_of(read_gbnf(one.pattern));
    check(one, *matcher);
  }
  const auto deep = matcher_of(read_gbnf(nested));
  CHECK(fit(*deep, std::string(5000, '(') + std::string(5000, ')')) == Fit::whole);
}

TEST_CASE("bad GBNF grammars are refused with their place") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"rot ::= \"a\"", "there is no rule root"},
      {"root ::= \"a\" b", "no rule is called b at position 14"},
      {"root ::= \"a", "a text is not closed at position 10"},
      {"root = \"a\"", "expected ::="},
      {"root ::= \"a\"\nroot ::= \"b\"", "rule root is there twice at position 14"},
      {"root ::= root \"a\" | \"b\"", "rule root begins with itself"},
      {"root ::= a \"x\"\na ::= b? a2\nb ::= \"y\"\na2 ::= root", "begins with itself"},
      {"root ::= \"a\" root", "no text fits it"},
      {"root ::= <think>", "tokens in a grammar are not supported"},
      {"root ::= \"\\q\"", "no escape of this name"},
      {"root ::= (\"a\"", "a parenthesis is not closed at position 10"},
      {"", "there is no rule root"}};
  for (const auto& [text, part] : cases) {
    const std::string told = refusal([&, t = text] { return read_gbnf(t); });
    INFO(text << ": " << told);
    CHECK(says(told, part));
  }
}

TEST_CASE("what cannot be followed in bounded memory ends with an error") {
  const auto matcher = matcher_of(
      read_gbnf("root ::= \"a\" root x | \"a\" root y | \"a\"\nx ::= \"b\"\ny ::= \"b\" \"b\""));
  CHECK_THROWS_AS(fit(*matcher, std::string(10000, 'a')), Error);
  CHECK(fit(*matcher, "aab") == Fit::whole);  // and it goes on working
}

TEST_CASE("JSON schemas") {
  const std::vector<Case> cases = {
      {R"({})", {"1", "{\"a\":[null,true,-1.5e3]}", "\"\\u00e9\""}, {"{", "-"}, {"01", "x", "{,"}},
      {R"({"type":"integer"})", {"0", "-7", "12"}, {"-"}, {"1.", "00", "+1"}},
      {R"({"type":"integer","minimum":-12,"maximum":305})",
       {"-12", "-1", "0", "99", "305"},
       {"-"},
       {"-13", "306", "-2.", "400", "-20"}},
      {R"({"type":"integer","exclusiveMinimum":9,"exclusiveMaximum":12})",
       {"10", "11"},
       {"1"},
       {"9", "12", "100", "-"}},
      {R"({"type":"number","minimum":0,"exclusiveMaximum":1})",
       {"0", "0.25", "0.0"},
       {"0."},
       {"1", "-"}},
      {R"({"type":"number","exclusiveMinimum":-1,"maximum":2})",
       {"-0.5", "-0.01", "2", "2.0", "1.99"},
       {"-", "-0"},
       {"-1", "2.1", "3"}},
      {R"({"type":"string","minLength":2,"maxLength":3})",
       {"\"ab\"", "\"\xC3\xA9\\n\\u0041\""},
       {"\"a", "\"abc"},
       {"\"a\"", "\"abcd"}},
      {R"({"type":"string","pattern":"^a\"?b+$"})",
       {"\"ab\"", "\"a\\\"bb\""},
       {"\"a"},
       {"\"b", "\"a\""}},
      {R"({"type":"string","pattern":"x"})", {"\"x\"", "\"axb\""}, {"\"ab"}, {"\"\""}},
      {R"({"type":"string","format":"date"})",
       {"\"2024-12-31\""},
       {"\"2024-02-2"},
       {"\"2024-13", "\"2024-02-30"}},
      {R"({"enum":["a",1,null,{"b":[2]}]})",
       {"\"a\"", "1", "null", "{\"b\": [2]}"},
       {"{"},
       {"2", "\"b"}},
      {R"({"type":["string","null"],"enum":["a",1,null]})", {"\"a\"", "null"}, {}, {"1"}},
      {R"({"const":"x y"})", {"\"x y\""}, {}, {"\"y"}},
      {R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})",
       {"[1]", "[1,2,3]"},
       {"[", "[1,"},
       {"[]", "[1,2,3,"}},
      {R"({"type":"array","items":{"type":"boolean"}})",
       {"[]", "[true,false,true,true]"},
       {},
       {"[1"}},
      {R"({"type":"array","prefixItems":[{"const":1},{"const":2}],"items":{"const":3},"minItems":1})",
       {"[1]", "[1,2]", "[1,2,3,3]"},
       {"[1,2,"},
       {"[]", "[2", "[1,3"}},
      {R"({"type":"array","prefixItems":[{"const":1},{"const":2}]})",
       {"[]", "[1]", "[1,2]"},
       {},
       {"[1,2,"}},
      {R"({"type":"object","properties":{"a":{"const":1},"b":{"const":2},"c":{"const":3}},"required":["b"]})",
       {"{\"b\":2}", "{\"a\":1,\"b\":2}", "{\"b\":2,\"c\":3}", "{\"a\":1,\"b\":2,\"c\":3}"},
       {"{", "{\"a\":1,"},
       {"{}", "{\"c\"", "{\"a\":1}", "{\"b\":2,\"a\"", "{\"b\":2,}"}},
      {R"({"type":"object","properties":{"a":{"const":1},"b":{"const":2}}})",
       {"{}", "{\"a\":1}", "{\"b\":2}", "{\"a\":1,\"b\":2}"},
       {},
       {"{,", "{\"x\""}},
      {R"({"type":"object","properties":{"ab":{"const":1}},"additionalProperties":{"const":2}})",
       {"{}", "{\"ab\":1}", "{\"a\":2}", "{\"abc\":2,\"\":2}", "{\"ab\":1,\"b\":2}"},
       {"{\"ab"},
       {"{\"ab\":2", "{\"a\":2,\"ab\":"}},
      {R"({"type":"object","required":["k"],"additionalProperties":{"type":"integer"}})",
       {"{\"k\":1}", "{\"k\":1,\"l\":2}"},
       {},
       {"{}", "{\"l\""}},
      {R"({"anyOf":[{"type":"integer"},{"type":"string"}]})", {"1", "\"a\""}, {}, {"t"}},
      {R"({"oneOf":[{"type":"object","properties":{"k":{"const":"a"},"v":{"type":"integer"}},"required":["k","v"]},
           {"type":"object","properties":{"k":{"const":"b"}},"required":["k"]}]})",
       {"{\"k\":\"a\",\"v\":1}", "{\"k\":\"b\"}"},
       {"{\"k\":\""},
       {"{\"k\":\"a\"}", "{\"k\":\"c"}},
      {R"({"allOf":[{"type":"object","properties":{"a":{"const":1}},"required":["a"]},
           {"properties":{"b":{"const":2}},"required":["b"]}]})",
       {"{\"a\":1,\"b\":2}"},
       {},
       {"{\"a\":1}", "{\"b\""}},
      {R"({"$ref":"#/$defs/tree","$defs":{"tree":{"type":"object","properties":{"v":{"type":"integer"},
           "kids":{"type":"array","items":{"$ref":"#/$defs/tree"}}},"required":["v"]}}})",
       {"{\"v\":1}", "{\"v\":1,\"kids\":[{\"v\":2,\"kids\":[]}]}"},
       {"{\"v\":1,\"kids\":[{"},
       {"{\"kids\""}},
      {R"({"properties":{"a":{"type":"integer"}},"required":["a"],"anyOf":[{"properties":{"b":{"const":1}},
          "required":["b"]},{"properties":{"c":{"const":2}}}]})",
       {"{\"a\":1,\"b\":1}", "{\"a\":1}", "{\"a\":1,\"c\":2}"},
       {},
       {"{\"b\""}},
      {R"(true)", {"null"}, {}, {"x"}}};
  for (const Case& one : cases) {
    const auto matcher = matcher_of(json_schema_grammar(one.pattern, JsonSpace::none));
    check(one, *matcher);
  }
}

TEST_CASE("JSON with white space between its parts") {
  const auto matcher = matcher_of(json_schema_grammar(
      R"({"properties":{"a":{"type":"array","items":{"type":"integer"}},"b":{}}})",
      JsonSpace::some));
  check({"spaced",
         {"{\"a\": [1, 2], \"b\": null}", "{\n  \"a\":[\n    1\n  ]\n}", "{}", "{ }", "{\"a\":[]}"},
         {"{\n"},
         {"{\"a\" ", "  {", "{  \"", "{\n\n"}},
        *matcher);
}

TEST_CASE("what a schema cannot say is refused with its keyword and place") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"properties":{"x":{"uniqueItems":true}}})",
       "#/properties/x: keyword uniqueItems is supported for lists"},
      {R"({"type":"thing"})", "there is no type \"thing\""},
      {R"({"$ref":"#/$defs/a"})", "leads nowhere"},
      {R"({"$ref":"http://x"})", "is not supported"},
      {R"({"$ref":"#"})", "begins with itself"},
      {R"({"properties":{"a":{"$ref":"#"}},"required":["a"]})", "no text fits it"},
      {R"({"oneOf":[{"type":"integer"},{"type":"number"}]})", "a value may fit branches 0 and 1"},
      {R"({"allOf":[{"pattern":"a"},{"pattern":"b"}]})", "two different pattern"},
      {R"x({"type":"string","pattern":"(?!a)"})x", "in #/pattern"},
      {R"({"type":"string","format":"isbn"})", "format isbn is not supported"},
      {R"({"type":"number","multipleOf":-1})", "multipleOf is above 0"},
      {R"({"type":"integer","minimum":5,"maximum":4})", "no text fits it"},
      {R"({"minItems":-1})", "minItems is a whole number"},
      {R"({"a":)", "json_schema: line 1"},
      {R"([1])", "a schema is an object or a boolean"},
      {R"({"not":{}})", "no text fits it"},
      {R"({"required":["a"],"additionalProperties":false})", "which additionalProperties forbids"}};
  for (const auto& [schema, part] : cases) {
    const std::string told =
        refusal([&, s = schema] { return json_schema_grammar(s, JsonSpace::none); });
    INFO(schema << ": " << told);
    CHECK(says(told, part));
  }
}

TEST_CASE("a choice of many texts") {
  Grammar grammar;
  const Grammar::Rule root = grammar.add_rule("root");
  std::vector<std::string> list = {"yes", "yes sir", "no", "n\xC3\xA9"};
  for (int i = 0; i < 20000; ++i) list.push_back("item " + std::to_string(i));
  std::string longer;
  for (int i = 0; i < 500; ++i) list.push_back(longer += 'z');
  grammar.define(root, grammar.texts(list));
  const auto matcher = matcher_of(grammar);
  check({"choices",
         {"yes", "yes sir", "item 19999", "n\xC3\xA9", longer},
         {"yes ", "item "},
         {"item 20000", "yess"}},
        *matcher);
}
