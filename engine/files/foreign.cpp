#include "engine/files/foreign.h"

#include <algorithm>

#include "engine/base/placeholder.h"
#include "engine/files/tensor_file.h"

namespace perilune {
namespace {

constexpr const char* kDownload = kDownloadAgain;
constexpr const char* kUnpack = "unpack it first";
constexpr const char* kConvert =
    "convert it where it came from, with save_pretrained(folder, safe_serialization=True)";

struct Beginning {
  std::string_view bytes;
  const char* kind;
  const char* hint;
};

using namespace std::string_view_literals;

constexpr Beginning kBeginnings[] = {
    {"oid sha256:"sv, "a part of a Git LFS pointer", kDownload},
    {"\x1f\x8b"sv, "a gzip archive", kUnpack},
    {"BZh"sv, "a bzip2 archive", kUnpack},
    {"\xfd"
     "7zXZ\0"sv,
     "an xz archive", kUnpack},
    {"\x28\xb5\x2f\xfd"sv, "a zstd archive", kUnpack},
    {"7z\xbc\xaf\x27\x1c"sv, "a 7z archive", kUnpack},
    {"Rar!\x1a\x07"sv, "a rar archive", kUnpack},
    {"\x89HDF\r\n\x1a\n"sv, "an HDF5 file (Keras, TensorFlow)", kConvert},
    {"\x93NUMPY"sv, "a NumPy array", kConvert},
    {"lmgg"sv, "a file of ggml's first format, before GGUF", "convert the model to GGUF again"},
    {"fmgg"sv, "a file of ggml's old format ggmf, before GGUF", "convert the model to GGUF again"},
    {"tjgg"sv, "a file of ggml's old format ggjt, before GGUF", "convert the model to GGUF again"},
    {"algg"sv, "an adapter of ggml's old format ggla", "convert the model to GGUF again"},
    {"GGUF"sv, "a GGUF file", "give its own path, or name it …gguf in a folder of its own"},
    {"\x7f"
     "ELF"sv,
     "a program", kDownload},
    {"%PDF-"sv, "a PDF document", kDownload},
    {"\x89PNG\r\n\x1a\n"sv, "a PNG picture", kDownload},
};

bool is_text(std::string_view head) {
  return !head.empty() && std::all_of(head.begin(), head.end(), [](char c) {
    return (c >= 0x20 && c < 0x7f) || c == '\n' || c == '\r' || c == '\t';
  });
}

/// An error of a server, or other text. Weights begin with a length, whose last bytes are
/// 0.
std::optional<ForeignFile> text_file(std::string_view head) {
  constexpr std::string_view kMark = "\xef\xbb\xbf";
  if (head.starts_with(kMark)) head.remove_prefix(kMark.size());
  if (!is_text(head.substr(0, 64))) return std::nullopt;
  const std::size_t first = std::min(head.find_first_not_of(" \r\n\t"), head.size());
  const std::string_view text = head.substr(first);
  if (text.starts_with("<")) return ForeignFile{"an XML or HTML text", kDownload};
  if (text.starts_with("{") || text.starts_with("[")) return ForeignFile{"a JSON text", kDownload};
  return ForeignFile{"a text", kDownload};
}

bool is_pickle_name(std::string_view name) {
  return std::any_of(std::begin(kPickleEndings), std::end(kPickleEndings),
                     [&](std::string_view ending) { return name.ends_with(ending); });
}

/// A zip archive is PyTorch's where its first entry is …/data.pkl, or its name says so.
ForeignFile zip_file(std::string_view head, std::string_view name) {
  const bool numpy = name.ends_with(".npz");
  if (!numpy && (is_pickle_name(name) || head.find("data.pkl") != std::string_view::npos)) {
    return {"a pickled file, which is never read", kPickleHint};
  }
  if (numpy) return {"an archive of NumPy arrays", kConvert};
  return {"a zip archive", kUnpack};
}

/// A pickle of protocol 2 to 5: its marker, then no length of a header.
bool is_pickle(std::string_view head) {
  if (head.size() < 4 || head[0] != '\x80' || head[1] < 2 || head[1] > 5) return false;
  constexpr std::string_view kFirst = "}](cX\x95\x8a\x8c";  // of the objects people store
  return kFirst.find(head[2]) != std::string_view::npos;
}

}  // namespace

std::optional<ForeignFile> foreign_file(std::string_view head, std::string_view name) {
  if (head.empty()) return ForeignFile{"an empty file", kDownload};
  if (auto other = placeholder(head)) return ForeignFile{other->kind, other->hint};
  if (head.starts_with("PK\x03\x04")) return zip_file(head, name);
  if (is_pickle(head)) return ForeignFile{"a pickled file, which is never read", kPickleHint};
  for (const Beginning& known : kBeginnings) {
    if (head.starts_with(known.bytes)) return ForeignFile{known.kind, known.hint};
  }
  if (head.size() > 262 && head.substr(257, 5) == "ustar") {
    return ForeignFile{"a tar archive", kUnpack};
  }
  if (std::all_of(head.begin(), head.end(), [](char c) { return c == 0; })) {
    return ForeignFile{"a file of zeros", "the download ended before the data came: repeat it"};
  }
  return text_file(head);
}

}  // namespace perilune
