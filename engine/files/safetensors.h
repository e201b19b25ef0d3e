// safetensors files: 8 bytes of length, a header in JSON, then the tensors' bytes end to end.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/files/byte_sink.h"
#include "engine/files/tensor_file.h"

namespace perilune {

/// The published limit on the JSON part.
inline constexpr std::uint64_t kMaxSafetensorsHeader = 100'000'000;

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;  // by position in the file
  std::map<std::string, std::string> metadata;
};

/// Whether a file that begins with `head` can be one: a length that is allowed, then JSON.
bool looks_like_safetensors(std::string_view head);

/// Length of the JSON part, from the file's first bytes (`prefix`, up to 8) and its size. Throws
/// Error(format) when the file is too short for it.
std::uint64_t safetensors_header_size(std::string_view prefix, std::uint64_t file_bytes,
                                      std::string_view file);

/// Everything the header `json` claims, checked against a file of `file_bytes` called `file`: known
/// types, sizes without overflow, byte ranges that match the sizes and cover the file exactly.
/// Throws Error(format) naming file, tensor and the numbers that disagree.
SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t file_bytes,
                                           std::string_view file);

/// Read as float32: [begin, end) of a StoredTensor counts those bytes.
inline constexpr std::string_view kStoredDouble = "F64";

/// "BF16" for bf16.
const char* safetensors_type(DType dtype);

/// Opens and validates `path`; `map` as for open_tensor_file. Throws Error(file | format).
std::shared_ptr<const TensorFile> open_safetensors(const std::string& path, bool map);

/// A tensor that is made while it is written.
struct TensorToWrite {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> sizes;
  std::uint64_t bytes = 0;  // all that `write` hands over
  std::function<void(const ByteSink& sink)> write;
};

/// Writes tensors as safetensors through a temporary file and rename; a failure leaves the old
/// file. Throws Error(argument) for names and metadata that cannot be, Error(file).
void write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                       const std::map<std::string, std::string>& metadata);
/// The same of tensors that are there.
void write_safetensors(const std::string& path,
                       const std::vector<std::pair<std::string, Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace perilune
