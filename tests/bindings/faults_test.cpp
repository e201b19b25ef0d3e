// What surrounds a host must not change what the library does: the environment, the locale.
#include <clocale>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/bindings/host.h"
#include "tests/catch.h"

using perilune_test::Host;

namespace {

/// A folder with a module that stands in for the library's own.
std::string folder_with_library() {
  const auto folder =
      std::filesystem::temp_directory_path() / ("perilune-faults-" + std::to_string(std::rand()));
  std::filesystem::create_directories(folder / "perilune" / "base");
  std::ofstream(folder / "perilune" / "base" / "byte_count.lua") << "return 'another library'";
  return folder.string();
}

constexpr const char* kModule = "type(require 'perilune.base.byte_count')";

}  // namespace

TEST_CASE("the environment does not replace a host's library; an option does") {
  const std::string folder = folder_with_library();
  setenv("PERILUNE_STDLIB", folder.c_str(), 1);
  {
    Host host;
    CHECK(host.eval(kModule) == "table");
    CHECK(host.eval("#core.stdlib() > 50") == "true");
  }
  unsetenv("PERILUNE_STDLIB");
  perilune::lua::StateOptions options;
  options.stdlib_folder = folder;
  Host host(options);
  CHECK(host.eval(kModule) == "string");
  CHECK(host.eval("#core.stdlib()") == "1");
  std::filesystem::remove_all(folder);
}

TEST_CASE("numbers in texts do not follow the host's locale") {
  const char* before = std::setlocale(LC_NUMERIC, nullptr);
  const std::string kept = before == nullptr ? "C" : before;
  bool found = false;
  for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "fr_FR.utf8", "de_DE"}) {
    found = found || std::setlocale(LC_NUMERIC, name) != nullptr;
  }
  Host host;
  CHECK(host.eval("core.tensor({ 1.5, 2.25 })").find("[1.5, 2.25]") != std::string::npos);
  CHECK(host.eval("core.json('[1.5]', 'x')[1] == 1.5") == "true");
  CHECK(host.eval("core.write_json({ 1.5 })") == "[1.5]");
  CHECK(host.run("pl.ones({ 1.5 })").find("1.5") != std::string::npos);
  std::setlocale(LC_NUMERIC, kept.c_str());
  if (!found) PERILUNE_SKIP("no locale with a decimal comma is installed");
}
