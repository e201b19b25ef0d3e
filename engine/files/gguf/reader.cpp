// Reading and checking the head of a GGUF file.
#include <algorithm>
#include <bit>

#include "engine/base/error.h"
#include "engine/base/input_file.h"
#include "engine/base/shape.h"
#include "engine/files/gguf/head.h"

namespace perilune {
namespace {

constexpr std::uint64_t kChunk = std::uint64_t{1} << 20;  // read at once
constexpr std::uint64_t kMaxKeys = std::uint64_t{1} << 16;
constexpr std::uint64_t kMaxTensors = std::uint64_t{1} << 18;
constexpr std::uint64_t kMaxKeyBytes = 65535;        // the specification's
constexpr std::uint64_t kMaxTensorNameBytes = 1024;  // patterns are matched against names
constexpr std::uint32_t kMaxRank = 8;                // the specification says 4, for now
constexpr int kMaxNesting = 4;
constexpr std::uint32_t kMaxAlignment = std::uint32_t{1} << 30;

std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 64)) {
    out += static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7F ? '?' : c;
  }
  return "\"" + out + (text.size() > 64 ? "...\"" : "\"");
}

}  // namespace

class GgufReader {
 public:
  explicit GgufReader(GgufFile& file) : file_(file) {}

  void read() {
    read_start();
    const std::uint64_t tensors = count("tensors", 24, kMaxTensors);
    const std::uint64_t keys = count("keys", 13, kMaxKeys);
    for (std::uint64_t i = 0; i < keys; ++i) read_pair(i);
    for (std::size_t i = 0; i < file_.keys_.size(); ++i) {
      if (!file_.key_index_.emplace(file_.keys_[i], i).second) {
        fail("key " + shown(file_.keys_[i]) + " is there twice");
      }
    }
    read_alignment();
    for (std::uint64_t i = 0; i < tensors; ++i) read_tensor(i);
    place_tensors();
  }

 private:
  [[noreturn]] void fail(const std::string& problem, const char* hint = nullptr) const {
    Error error(ErrorCode::format, "load", file_.path_ + ": " + problem);
    if (hint != nullptr) error.hint(hint);
    throw error;
  }

  // Makes sure that `bytes` more are in head_.
  void need(std::uint64_t bytes, const std::string& what) {
    const std::uint64_t left = file_.size_ - at_;
    if (bytes > left) {
      fail(what + " takes " + std::to_string(bytes) + " bytes at byte " + std::to_string(at_) +
               ", the file ends at " + std::to_string(file_.size_),
           "the file was cut short, or is damaged: copy or download it again");
    }
    const std::uint64_t until = at_ + bytes;
    if (until <= file_.head_.size()) return;
    if (until > kMaxGgufMetadata) {
      fail(what + " ends beyond " + std::to_string(kMaxGgufMetadata) +
           " bytes, more than the head of a file may have");
    }
    fill(std::min(file_.size_, std::max(until, file_.head_.size() + kChunk)));
  }

  void fill(std::uint64_t until) {
    const std::size_t done = file_.head_.size();
    file_.head_.resize(static_cast<std::size_t>(until));
    file_.file_->read(done, file_.head_.size() - done, file_.head_.data() + done);
  }

  std::uint64_t number(int bytes, const std::string& what) {
    need(static_cast<std::uint64_t>(bytes), what);
    std::uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; --i) {
      value = value << 8 | static_cast<unsigned char>(file_.head_[at_ + static_cast<unsigned>(i)]);
    }
    at_ += static_cast<unsigned>(bytes);
    return value;
  }

  std::string_view text(const std::string& what, std::uint64_t limit) {
    const std::uint64_t length = number(8, what);
    if (length > limit) {
      fail(what + " has " + std::to_string(length) + " bytes, at most " + std::to_string(limit) +
           " are allowed");
    }
    need(length, what);
    at_ += length;
    return std::string_view(file_.head_).substr(at_ - length, length);
  }

  std::uint64_t count(const char* of, std::uint64_t smallest, std::uint64_t limit) {
    const std::uint64_t value = number(8, std::string("the number of ") + of);
    if (value > limit || value > (file_.size_ - at_) / smallest) {
      fail("the head claims " + std::to_string(value) + " " + of + ", the file has " +
           std::to_string(file_.size_) + " bytes, and at most " + std::to_string(limit) +
           " are allowed");
    }
    return value;
  }

  void read_start() {
    need(8, "the head");
    if (file_.head_.compare(0, 4, "GGUF") != 0) {
      fail("no GGUF file: it begins with " + shown(std::string_view(file_.head_).substr(0, 4)));
    }
    at_ = 4;
    const auto version = static_cast<std::uint32_t>(number(4, "the version"));
    file_.version_ = version;
    if (version == 2 || version == 3) return;
    std::string problem = file_.path_ + ": GGUF version " + std::to_string(version);
    const char* hint = "versions 2 and 3 are read";
    if ((version & 0xFFFF) == 0 && version != 0) {
      problem = file_.path_ + ": a big-endian GGUF file; little-endian ones are read";
      hint = "convert it where it came from";
    } else if (version == 1) {
      problem += ", which held 32-bit counts and was withdrawn";
    }
    throw Error(ErrorCode::unsupported, "load", problem).hint(hint);
  }

  GgufType type(const std::string& what) {
    const std::uint64_t value = number(4, what);
    if (value > static_cast<std::uint64_t>(GgufType::f64)) {
      fail(what + " has value type " + std::to_string(value) + ", which there is not");
    }
    return static_cast<GgufType>(value);
  }

  void read_pair(std::uint64_t index) {
    const std::string key(text("key " + std::to_string(index), kMaxKeyBytes));
    const bool plain = std::all_of(key.begin(), key.end(), [](char c) { return c > 0x20; });
    if (key.empty() || !plain) {
      fail("key " + std::to_string(index) + " is " + shown(key) +
           ", expected printed ASCII characters");
    }
    const std::string what = "key " + shown(key);
    GgufFile::Value value;
    value.type = type(what);
    if (value.type == GgufType::array) {
      value.element = type(what);
      value.count = number(8, what);
    }
    value.first = at_;
    if (value.type == GgufType::array) {
      skip_elements(value.element, value.count, what, 1);
    } else {
      skip(value.type, what);
    }
    value.bytes = at_ - value.first;
    file_.keys_.push_back(key);
    file_.values_.push_back(value);
  }

  void skip(GgufType type, const std::string& what) {
    if (type == GgufType::string) {
      text(what, file_.size_);
      return;
    }
    const std::uint64_t bytes = gguf_type_bytes(type);
    need(bytes, what);
    if (type == GgufType::boolean && static_cast<unsigned char>(file_.head_[at_]) > 1) {
      fail(what + " is boolean " + std::to_string(static_cast<unsigned char>(file_.head_[at_])));
    }
    at_ += bytes;
  }

  void skip_elements(GgufType element, std::uint64_t count, const std::string& what, int depth) {
    const std::uint64_t smallest = element == GgufType::array    ? 12
                                   : element == GgufType::string ? 8
                                                                 : gguf_type_bytes(element);
    if (count > (file_.size_ - at_) / smallest) {
      fail(what + " claims " + std::to_string(count) + " elements of " + gguf_type_name(element) +
               " at byte " + std::to_string(at_) + ", the file ends at " +
               std::to_string(file_.size_),
           "the file was cut short, or is damaged: copy or download it again");
    }
    if (element == GgufType::array) {
      if (depth == kMaxNesting) {
        fail(what + " nests arrays more than " + std::to_string(kMaxNesting) + " deep");
      }
      for (std::uint64_t i = 0; i < count; ++i) {
        const GgufType inner = type(what);
        skip_elements(inner, number(8, what), what, depth + 1);
      }
    } else if (element == GgufType::string || element == GgufType::boolean) {
      for (std::uint64_t i = 0; i < count; ++i) skip(element, what);
    } else {
      need(count * smallest, what);
      at_ += count * smallest;
    }
  }

  void read_alignment() {
    constexpr std::string_view kKey = "general.alignment";
    if (!file_.has(kKey)) return;
    const std::int64_t value = file_.integer(kKey);
    if (value < 1 || value > kMaxAlignment ||
        !std::has_single_bit(static_cast<std::uint64_t>(value))) {
      fail("general.alignment is " + std::to_string(value) + ", expected a power of two up to " +
           std::to_string(kMaxAlignment));
    }
    file_.alignment_ = static_cast<std::uint32_t>(value);
  }

  void read_tensor(std::uint64_t index) {
    GgufTensor tensor;
    tensor.name = text("the name of tensor " + std::to_string(index), kMaxTensorNameBytes);
    const std::string what = "tensor " + shown(tensor.name);
    if (tensor.name.empty()) fail("tensor " + std::to_string(index) + " has no name");
    const auto rank = static_cast<std::uint32_t>(number(4, what));
    if (rank > kMaxRank) {
      fail(what + " has " + std::to_string(rank) + " axes, at most " + std::to_string(kMaxRank) +
           " are allowed");
    }
    tensor.sizes.resize(rank);
    for (std::uint32_t i = rank; i-- > 0;) {
      tensor.sizes[i] = static_cast<std::int64_t>(number(8, what));
    }
    tensor.type_number = static_cast<std::uint32_t>(number(4, what));
    tensor.type = gguf_tensor_type(tensor.type_number);
    tensor.begin = number(8, what);  // from the start of the data, for now
    if (tensor.begin % file_.alignment_ != 0) {
      fail(what + " begins at byte " + std::to_string(tensor.begin) +
           " of the data, which is no multiple of the alignment, " +
           std::to_string(file_.alignment_));
    }
    tensor.end = tensor.begin;
    file_.tensors_.push_back(std::move(tensor));
  }

  // The bytes that a tensor takes, or an error.
  std::uint64_t bytes_of(const GgufTensor& tensor) const {
    std::optional<std::int64_t> elements = 1;
    for (const std::int64_t size : tensor.sizes) {
      if (size < 0 || !elements) {
        elements = std::nullopt;
        break;
      }
      elements = checked_multiply(*elements, size);
    }
    if (!elements) fail("tensor " + describe(tensor) + " has impossible sizes");
    if (tensor.type == nullptr) return 0;
    const std::int64_t row = tensor.sizes.empty() ? 1 : tensor.sizes.back();
    if (row % tensor.type->block != 0) {
      fail("tensor " + describe(tensor) + ": rows of " + std::to_string(row) +
           " are no whole number of blocks of " + std::to_string(tensor.type->block));
    }
    const auto bytes = checked_multiply(*elements / tensor.type->block, tensor.type->bytes);
    if (!bytes) fail("tensor " + describe(tensor) + " has impossible sizes");
    return static_cast<std::uint64_t>(*bytes);
  }

  void place_tensors() {
    const std::uint64_t alignment = file_.alignment_;
    // A file whose tensors are all empty may end before the padding does.
    const std::uint64_t data = std::min(file_.size_, (at_ + alignment - 1) / alignment * alignment);
    const std::uint64_t room = file_.size_ - data;
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < file_.tensors_.size(); ++i) {
      GgufTensor& tensor = file_.tensors_[i];
      if (!file_.tensor_index_.emplace(tensor.name, i).second) {
        fail("tensor " + shown(tensor.name) + " is there twice");
      }
      const std::uint64_t bytes = bytes_of(tensor);
      if (tensor.begin > room || bytes > room - tensor.begin) {
        fail("tensor " + describe(tensor) + " takes " + std::to_string(bytes) + " bytes at byte " +
                 std::to_string(tensor.begin) + " of the data, which has " + std::to_string(room),
             "the file was cut short: copy or download it again");
      }
      tensor.begin += data;
      tensor.end = tensor.begin + bytes;
      if (bytes != 0) order.push_back(i);
    }
    std::sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
      return file_.tensors_[a].begin < file_.tensors_[b].begin;
    });
    for (std::size_t i = 1; i < order.size(); ++i) {
      const GgufTensor &before = file_.tensors_[order[i - 1]], &tensor = file_.tensors_[order[i]];
      if (tensor.begin < before.end) {
        fail("tensor " + describe(tensor) + " begins at byte " + std::to_string(tensor.begin) +
             ", inside " + describe(before) + ", which ends at " + std::to_string(before.end));
      }
    }
  }

  GgufFile& file_;
  std::uint64_t at_ = 0;
};

std::shared_ptr<const GgufFile> GgufFile::open(const std::string& path, bool map) {
  std::shared_ptr<GgufFile> file(new GgufFile);
  file->path_ = path;
  file->file_ = std::make_unique<InputFile>(path);
  file->size_ = file->file_->size();
  GgufReader(*file).read();
  if (map) file->file_->map();
  return file;
}

std::shared_ptr<const GgufFile> GgufFile::parse(std::string_view bytes, const std::string& name) {
  std::shared_ptr<GgufFile> file(new GgufFile);
  file->path_ = name;
  file->head_ = bytes;
  file->size_ = bytes.size();
  GgufReader(*file).read();
  return file;
}

}  // namespace perilune
