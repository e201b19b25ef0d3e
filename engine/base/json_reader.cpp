// Parsing, through nlohmann's event interface: it does not recurse, and each event is checked here.
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/interrupt.h"
#include "engine/base/json.h"
#include "engine/base/json_value.h"
#include "engine/base/placeholder.h"

namespace perilune {

class JsonReader {
 public:
  JsonReader(std::string_view text, std::string_view file, const JsonLimits& limits)
      : text_(text), file_(file), limits_(limits) {}

  // The events. Returning false would stop the parser; errors are thrown instead.
  bool null() { return add(Json()); }
  bool boolean(bool value) { return add(Json(value)); }
  bool number_integer(std::int64_t value) { return add(Json(value)); }
  bool number_unsigned(std::uint64_t value) { return add(Json(static_cast<std::size_t>(value))); }
  bool number_float(double value, const std::string&) { return add(Json(value)); }
  bool string(std::string& value) { return add(Json(std::move(value))); }
  bool binary(std::vector<std::uint8_t>&) { return false; }  // not in JSON text
  bool key(std::string& name) {
    frames_.back().name = std::move(name);
    return true;
  }
  bool start_object(std::size_t) {
    enter();
    auto object = std::make_shared<Json::Object>();
    object->place = here();
    object->is_root = frames_.empty();
    frames_.push_back({});
    frames_.back().object = std::move(object);
    return true;
  }
  bool end_object() {
    Frame frame = leave();
    if (const Json::Member* twice = frame.object->index()) {
      fail(frame.object->place + ": the key " + write_json(Json(twice->first)) + " is there twice");
    }
    return keep(std::move(frame.object));
  }
  bool start_array(std::size_t) {
    enter();
    auto array = std::make_shared<Json::Array>();
    array->place = here();
    array->is_root = frames_.empty();
    frames_.push_back({});
    frames_.back().array = std::move(array);
    return true;
  }
  bool end_array() {
    Frame frame = leave();
    frame.array->items.shrink_to_fit();
    return keep(std::move(frame.array));
  }
  bool parse_error(std::size_t position, const std::string&, const std::exception& cause) {
    fail(line_and_column(position) + describe(position, cause) + path_note());
  }

  // The parser takes a NUL for the end of the text, whatever follows.
  void refuse_nul() const {
    const std::size_t at = text_.find('\0');
    if (at != std::string_view::npos) fail(line_and_column(at + 1) + "a NUL byte");
  }

  Json take() { return std::move(root_); }

 private:
  struct Frame {
    std::shared_ptr<Json::Array> array;
    std::shared_ptr<Json::Object> object;
    std::string name;  // the key whose value comes next
  };

  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(ErrorCode::format, "load", problem);
  }

  void enter() {
    if (static_cast<int>(frames_.size()) >= limits_.max_depth) {
      fail(file_ + ": nested more than " + std::to_string(limits_.max_depth) + " levels deep");
    }
    count();
  }

  Frame leave() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    return frame;
  }

  void count() {
    stop_if_interrupted("json");
    if (++values_ > limits_.max_values) {
      fail(file_ + ": more than " + std::to_string(limits_.max_values) + " values");
    }
  }

  bool add(Json value) {
    count();
    return attach(std::move(value));
  }

  template <typename Container>
  bool keep(std::shared_ptr<Container> container) {
    Json value;
    value.value_ = std::move(container);
    return attach(std::move(value));
  }

  bool attach(Json value) {
    if (frames_.empty()) {
      root_ = std::move(value);
    } else if (frames_.back().array != nullptr) {
      frames_.back().array->items.push_back(std::move(value));
    } else {
      frames_.back().object->members.emplace_back(std::move(frames_.back().name), std::move(value));
    }
    return true;
  }

  // The place of the value that comes next.
  std::string here() const {
    if (frames_.empty()) return file_;
    const Frame& frame = frames_.back();
    if (frame.array != nullptr) {
      return frame.array->place + (frame.array->is_root ? ": [" : "[") +
             std::to_string(frame.array->items.size()) + "]";
    }
    return frame.object->place + (frame.object->is_root ? ": " : ".") + frame.name;
  }

  std::string line_and_column(std::size_t position) const {
    const std::size_t end = std::min(position == 0 ? 0 : position - 1, text_.size());
    std::size_t line = 1, column = 1;
    for (std::size_t i = 0; i < end; ++i) {
      ++column;
      if (text_[i] == '\n') {
        ++line;
        column = 1;
      }
    }
    return file_ + ": line " + std::to_string(line) + ", column " + std::to_string(column) + ": ";
  }

  std::string describe(std::size_t position, const std::exception& cause) const {
    for (std::string_view word : {"NaN", "Infinity", "-Infinity"}) {
      const std::size_t from = position > word.size() ? position - word.size() : 0;
      const std::string_view near = text_.substr(std::min(from, text_.size()), 2 * word.size());
      if (near.find(word) != std::string_view::npos) {
        return std::string(word) + " is not a JSON value; write a number or null";
      }
    }
    if (text_.find_first_not_of(" \t\r\n") == std::string_view::npos) return "the file is empty";
    std::string what = cause.what();  // "[json.exception...] parse error at line ...: TEXT"
    for (std::string_view lead : {"] ", "column "}) {
      const std::size_t at = what.find(lead);
      if (at != std::string::npos) what.erase(0, at + lead.size());
    }
    const std::size_t colon = what.find(": ");
    if (colon != std::string::npos && colon < 12) what.erase(0, colon + 2);
    return what;
  }

  std::string path_note() const {
    if (frames_.empty()) return "";
    return " (at " + here().substr(std::min(here().size(), file_.size() + 2)) + ")";
  }

  std::string_view text_;
  std::string file_;
  JsonLimits limits_;
  std::vector<Frame> frames_;
  std::size_t values_ = 0;
  Json root_;
};

Json parse_json(std::string_view text, std::string_view file, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    throw Error(ErrorCode::format, "load",
                std::string(file) + ": " + std::to_string(text.size()) +
                    " bytes of JSON, at most " + std::to_string(limits.max_bytes) + " are read");
  }
  JsonReader reader(text, file, limits);
  reader.refuse_nul();
  nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
  return reader.take();
}

Json read_json(const std::string& path, const JsonLimits& limits) {
  const std::string text = read_file(path, limits.max_bytes);
  refuse_placeholder(text, path);
  return parse_json(text, base_name(path), limits);
}

}  // namespace perilune
