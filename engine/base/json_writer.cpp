#include <charconv>
#include <cmath>

#include "engine/base/interrupt.h"
#include "engine/base/json.h"
#include "engine/base/utf8.h"

namespace perilune {
namespace {

class Writer {
 public:
  explicit Writer(int indent) : indent_(indent) {}

  void write(const Json& value) {
    stop_if_interrupted("json");
    switch (value.kind()) {
      case Json::Kind::null: out_ += "null"; break;
      case Json::Kind::boolean: out_ += value.as_boolean() ? "true" : "false"; break;
      case Json::Kind::integer: out_ += std::to_string(value.as_integer()); break;
      case Json::Kind::number: write_number(value.as_number()); break;
      case Json::Kind::string: write_string(value.as_string()); break;
      case Json::Kind::array: write_array(value); break;
      case Json::Kind::object: write_object(value); break;
    }
  }

  std::string take() { return std::move(out_); }

 private:
  void write_number(double value) {
    if (!std::isfinite(value)) {
      out_ += "null";
      return;
    }
    char digits[40];
    const auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
    const std::string_view text(digits, static_cast<std::size_t>(end - digits));
    out_ += text;
    if (text.find_first_of(".e") == std::string_view::npos) out_ += ".0";
  }

  void write_string(std::string_view text) {
    out_ += '"';
    while (!text.empty()) {
      const std::size_t length = utf8_character(text);
      if (length > 1) {
        out_ += text.substr(0, length);
      } else {
        write_byte(static_cast<unsigned char>(text[0]), length == 1);
      }
      text.remove_prefix(std::max<std::size_t>(length, 1));
    }
    out_ += '"';
  }

  void write_byte(unsigned char byte, bool valid) {
    constexpr std::string_view kHex = "0123456789abcdef";
    if (!valid) {
      out_ += "\xEF\xBF\xBD";  // a JSON text is UTF-8
    } else if (byte == '"' || byte == '\\') {
      (out_ += '\\') += static_cast<char>(byte);
    } else if (byte == '\n') {
      out_ += "\\n";
    } else if (byte == '\t') {
      out_ += "\\t";
    } else if (byte == '\r') {
      out_ += "\\r";
    } else if (byte < 0x20) {
      ((out_ += "\\u00") += kHex[byte >> 4]) += kHex[byte & 15];
    } else {
      out_ += static_cast<char>(byte);
    }
  }

  void new_line() {
    if (indent_ < 0) return;
    out_ += '\n';
    out_.append(static_cast<std::size_t>(indent_) * depth_, ' ');
  }

  void write_array(const Json& value) {
    out_ += '[';
    ++depth_;
    bool first = true;
    for (const Json& item : value.items()) {
      if (!first) out_ += indent_ < 0 ? ", " : ",";
      first = false;
      new_line();
      write(item);
    }
    --depth_;
    if (!first) new_line();
    out_ += ']';
  }

  void write_object(const Json& value) {
    out_ += '{';
    ++depth_;
    bool first = true;
    for (const auto& [name, item] : value.members()) {
      if (!first) out_ += indent_ < 0 ? ", " : ",";
      first = false;
      new_line();
      write_string(name);
      out_ += ": ";
      write(item);
    }
    --depth_;
    if (!first) new_line();
    out_ += '}';
  }

  int indent_;
  std::size_t depth_ = 0;
  std::string out_;
};

}  // namespace

std::string write_json(const Json& value, int indent) {
  Writer writer(indent);
  writer.write(value);
  return writer.take();
}

}  // namespace perilune
