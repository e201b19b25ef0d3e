#include "engine/base/json.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <sstream>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "tests/catch.h"
#include "tests/support.h"

using perilune::Error;
using perilune::ErrorCode;
using perilune::Json;
using perilune::parse_json;
using perilune::write_json;
using perilune_test::message_of;

namespace {

std::string parse_message(const std::string& text) {
  return message_of([&] { parse_json(text, "config.json"); });
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a value of every kind is read") {
  const Json json = parse_json(
      R"({"null": null, "yes": true, "count": -12, "big": 9223372036854775807, "eps": 1e-5,)"
      R"( "name": "a\u00e9\n", "list": [1, [2]], "inner": {"x": 1}})",
      "config.json");
  CHECK(json.size() == 8);
  CHECK(json.get("null").is_null());
  CHECK(json.boolean("yes"));
  CHECK(json.integer("count") == -12);
  CHECK(json.integer("big") == std::numeric_limits<std::int64_t>::max());
  CHECK(json.number("eps") == 1e-5);
  CHECK(json.number("count") == -12.0);
  CHECK(json.string("name") == "a\xC3\xA9\n");
  CHECK(json.get("list").at(1).at(0).as_integer() == 2);
  CHECK(json.get("inner").integer("x") == 1);
  CHECK(json.members()[2].first == "count");
}

TEST_CASE("a checked member names its place") {
  const Json json = parse_json(
      R"({"num_hidden_layers": 1.5, "whole": 1.0, "rope": {"factor": "8"}, "ids": [1, 2.5],)"
      R"( "none": null, "huge": 1e30})",
      "config.json");
  CHECK(message_of([&] { json.integer("num_hidden_layers"); }) ==
        "load: config.json: num_hidden_layers: expected an integer, got 1.5");
  CHECK(contains(message_of([&] { json.integer("whole"); }), "expected an integer, got 1.0"));
  CHECK(contains(message_of([&] { json.integer("huge"); }), "expected an integer, got 1e+30"));
  CHECK(contains(message_of([&] { json.get("rope").number("factor"); }),
                 "config.json: rope.factor: expected a number, got \"8\""));
  CHECK(
      contains(message_of([&] { json.integers("ids"); }), "config.json: ids[1]: expected an int"));
  CHECK(contains(message_of([&] { json.string("num_hidden_layer"); }),
                 "no key \"num_hidden_layer\"; did you mean \"num_hidden_layers\"?"));
  CHECK(contains(message_of([&] { json.get("ids").at(2); }), "ids[2]: the list ends after 2"));
  CHECK(json.integer("none", 7) == 7);
  CHECK(json.integer("absent", 8) == 8);
  CHECK(json.string("absent", "x") == "x");
  CHECK(contains(message_of([&] { json.integer("num_hidden_layers", 7); }), "expected an integer"));
  CHECK(contains(message_of([&] { json.boolean("none"); }), "expected true or false, got null"));
}

TEST_CASE("what is not JSON is refused with its place") {
  struct Case {
    const char* text;
    const char* part;
  };
  const std::vector<Case> cases = {
      {"", "the file is empty"},
      {" \n ", "the file is empty"},
      {"{\"a\": 1,\n \"b\": NaN}", "line 2"},
      {"{\"a\": 1,\n \"b\": NaN}", "NaN is not a JSON value"},
      {"{\"rope\": {\"factor\": Infinity}}", "Infinity is not a JSON value"},
      {"{\"rope\": {\"factor\": Infinity}}", "(at rope.factor)"},
      {"[-Infinity]", "not a JSON value"},
      {"{\"a\": 1, \"a\": 2}", "the key \"a\" is there twice"},
      {"{\"x\": {\"b\": 1, \"a\": 1, \"b\": 2}}", "config.json: x: the key \"b\" is there twice"},
      {"{\"a\": 1} x", "config.json: line 1"},
      {"[1, 2", "config.json: line 1"},
      {"\"\xC3\x28\"", "config.json: line 1"},
      {"\"\\ud800\"", "config.json: line 1"},
      {"[1e999]", "config.json: line 1"},
      {"// comment\n1", "config.json: line 1"},
      {"[1,]", "config.json: line 1, column 4"},
  };
  for (const Case& c : cases) {
    INFO(c.text);
    const std::string message = parse_message(c.text);
    INFO(message);
    CHECK(contains(message, c.part));
  }
  CHECK(contains(parse_message(std::string("[1]\0 rubbish", 12)), "column 4: a NUL byte"));
}

TEST_CASE("many keys: duplicates are found, members too") {
  std::string text = "{";
  for (int i = 0; i < 1000; ++i) {
    text += "\"key" + std::to_string(i * 7919 % 1000) + "\": " + std::to_string(i) + ",";
  }
  const Json json = parse_json(text + "\"last\": 0}", "vocab.json");
  CHECK(json.integer("key919") == 1);
  CHECK(json.find("key1000") == nullptr);
  CHECK(contains(message_of([&] { parse_json(text + "\"key500\": 0}", "vocab.json"); }),
                 "\"key500\" is there twice"));
}

TEST_CASE("hostile sizes end in an error") {
  const std::string deep(100000, '[');
  CHECK(contains(parse_message(deep), "nested more than 64 levels"));
  CHECK(contains(parse_message(deep + std::string(100000, ']')), "nested more than 64 levels"));
  std::string objects;
  for (int i = 0; i < 100000; ++i) objects += "{\"a\":";
  CHECK(contains(parse_message(objects), "nested more than 64 levels"));
  CHECK_NOTHROW(parse_json(std::string(64, '[') + std::string(64, ']'), "a"));
  CHECK_THROWS_AS(parse_json(std::string(65, '[') + std::string(65, ']'), "a"), Error);
  perilune::JsonLimits limits;
  limits.max_bytes = 10;
  CHECK(contains(message_of([&] { parse_json("[1,2,3,4,5,6]", "a", limits); }), "at most 10"));
  limits.max_bytes = 100;
  limits.max_values = 3;
  CHECK(contains(message_of([&] { parse_json("[1,2,3]", "a", limits); }), "more than 3 values"));
}

TEST_CASE("written JSON reads back as the same value") {
  const char* text =
      R"({"a":[1,-2.5,1e-300,0.1,true,null,"x\"\\\n\u0001é"],"b":{},"c":[],"d":3.0})";
  const Json json = parse_json(text, "a");
  for (const int indent : {-1, 0, 2}) {
    const Json again = parse_json(write_json(json, indent), "b");
    CHECK(again == json);
    CHECK(again.get("d").kind() == Json::Kind::number);
  }
  CHECK(write_json(parse_json("{\"a\": [1, 2]}", "a")) == "{\"a\": [1, 2]}");
  CHECK(write_json(parse_json("{\"a\": [1]}", "a"), 2) == "{\n  \"a\": [\n    1\n  ]\n}");
  CHECK(write_json(Json(std::numeric_limits<double>::quiet_NaN())) == "null");
  CHECK(write_json(Json("\xFF")) == "\"\xEF\xBF\xBD\"");
}

TEST_CASE("copies do not see each other's changes") {
  Json first = Json::object();
  first.set("a", 1).set("b", "two");
  Json second = first;
  second.set("a", 5);
  second.set("c", Json::array().push(1).push(2.5));
  CHECK(first.integer("a") == 1);
  CHECK(second.integer("a") == 5);
  CHECK(first.size() == 2);
  CHECK(second.get("c").size() == 2);
  CHECK_FALSE(first == second);
}

TEST_CASE("read_file says why it cannot") {
  const perilune_test::TemporaryFolder folder;
  const std::string path = folder.write("a.json", "[1, 2]");
  CHECK(perilune::read_file(path, 100) == "[1, 2]");
  CHECK(perilune::read_json(path).size() == 2);
  CHECK(contains(message_of([&] { perilune::read_file(path, 5); }), "at most 5"));
  CHECK(contains(message_of([&] { perilune::read_file(folder.path(), 5); }), "is a folder"));
  CHECK(contains(message_of([&] { perilune::read_file(path + "x", 5); }), "No such file"));
  CHECK(contains(message_of([&] { perilune::read_file("/dev/null", 5); }), "not a regular file"));
  CHECK(perilune::base_name("a/b/c.json") == "c.json");
  CHECK(perilune::join_path("a/", "b") == "a/b");
}

TEST_CASE("the JSON test suite") {
  namespace fs = std::filesystem;
  const fs::path folder = "../shared/data/corpora/json-test-suite/test_parsing";
  if (!fs::is_directory(folder)) PERILUNE_SKIP("../shared/data is not there");
  int accepted = 0, refused = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    INFO(name);
    const std::string text = perilune::read_file(entry.path().string(), 1 << 24);
    const std::string message = message_of([&] { parse_json(text, name); });
    const bool accepts = message == "no error";
    if (name[0] == 'n') {
      CHECK_FALSE(accepts);
      ++refused;
    } else if (name[0] == 'y' && name.find("duplicated_key") != std::string::npos) {
      CHECK(contains(message, "is there twice"));
    } else if (name[0] == 'y') {
      CHECK(accepts);
      if (accepts)
        CHECK(parse_json(write_json(parse_json(text, name)), name) == parse_json(text, name));
      ++accepted;
    }
  }
  CHECK(accepted > 80);
  CHECK(refused > 180);
}
