// What tests of every area share: a folder that goes with the test, and what an error said.
#pragma once

#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "engine/base/error.h"

namespace perilune_test {

/// A new folder, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::random_device random;
    do {
      path_ = std::filesystem::temp_directory_path() /
              ("perilune-test-" + std::to_string(random()) + std::to_string(random()));
    } while (!std::filesystem::create_directory(path_));
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string path() const { return path_.string(); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  /// Both give the path of the new file; a copy keeps its name.
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return file(name);
  }
  std::string copy(const std::string& from) const {
    const auto name = std::filesystem::path(from).filename();
    std::filesystem::copy_file(from, path_ / name);
    return file(name.string());
  }

 private:
  std::filesystem::path path_;
};

/// The message of the error that `function` throws, or "no error".
template <typename Function>
std::string message_of(Function&& function) {
  try {
    function();
  } catch (const perilune::Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace perilune_test
