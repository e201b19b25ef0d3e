// SHA-256 (FIPS 180-4), for files that were fetched.
#pragma once

#include <string>

namespace perilune {

/// 64 hexadecimal digits of the regular file at `path`. Throws Error(file) naming `op`.
std::string sha256_of_file(const std::string& path, const std::string& op);

}  // namespace perilune
