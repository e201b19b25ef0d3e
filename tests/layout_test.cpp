// The arrows of the design's layers, read from the sources: an include or a require that goes
// against them fails here. Also: where JSON, Lua and CUDA headers may be seen, file lengths, and
// that no entry of a kernel table is null.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/kernel_table.h"
#include "tests/catch.h"
#include "tests/layout_sources.h"

using layout::contains;
using layout::ends_with;
using layout::files;
using layout::joined;
using layout::kCppEnds;
using layout::read;
using layout::starts_with;
using layout::Strings;

namespace {

struct Layer {
  std::string folder;
  Strings includes;   // what it may include: files, or folders with a slash at the end
  Strings libraries;  // which of the guarded outside headers it may see
};

/// Outside headers that only some layers may know, by how their names begin.
struct Guarded {
  std::string library;
  Strings prefixes;
};

const std::vector<Guarded> kGuarded = {
    {"json", {"nlohmann/"}},
    {"lua", {"lua.h", "lua.hpp", "lualib.h", "lauxlib.h", "luajit.h"}},
    {"sentencepiece", {"sentencepiece"}},
    {"cuda", {"cuda", "cublas", "nccl", "curand", "cooperative_groups", "mma.h"}},
};

/// The layers, the most particular folder first.
const std::vector<Layer> kLayers = {
    {"kernels/cuda/", {"kernels/"}, {"cuda"}},
    {"kernels/", {"kernels/"}, {}},
    {"engine/", {"engine/", "kernels/"}, {"json"}},
    {"bindings/lua/", {"bindings/lua/", "engine/", "kernels/dtype.h"}, {"json", "lua"}},
    {"bindings/c/", {"bindings/c/", "bindings/lua/", "engine/base/"}, {"lua"}},
    {"repl/editor/", {"repl/editor/"}, {}},
    {"repl/",
     {"repl/", "bindings/lua/host/perilune_lua.h", "bindings/lua/host/embedded_stdlib.h"},
     {"lua"}},
};

/// Modules that stdlib/ and scripts/ may require besides perilune and its own.
const Strings kLuaModules = {"bit", "jit"};

/// Files that may be longer than kMostLines, each with the reason beside it.
const Strings kLongFiles = {};
constexpr std::size_t kManyLines = 400;
constexpr std::size_t kMostLines = 600;

const Layer* layer_of(const std::string& path) {
  for (const Layer& layer : kLayers)
    if (starts_with(path, layer.folder)) return &layer;
  return nullptr;
}

bool in_project(const std::string& header) {
  static const Strings folders = {"kernels/", "engine/",  "bindings/", "repl/",
                                  "stdlib/",  "scripts/", "tests/"};
  return std::any_of(folders.begin(), folders.end(),
                     [&](const std::string& folder) { return starts_with(header, folder); });
}

std::string library_of(const std::string& header) {
  for (const Guarded& guarded : kGuarded)
    for (const std::string& prefix : guarded.prefixes)
      if (starts_with(header, prefix)) return guarded.library;
  return "";
}

bool may_include(const Layer& layer, const std::string& header) {
  return std::any_of(layer.includes.begin(), layer.includes.end(), [&](const std::string& allowed) {
    return ends_with(allowed, "/") ? starts_with(header, allowed) : header == allowed;
  });
}

/// What is wrong with one include of one file; "" when nothing is.
std::string include_fault(const std::string& path, const std::string& header) {
  const Layer* layer = layer_of(path);
  if (layer == nullptr) return "";
  if (header.find("..") != std::string::npos) return "name a header from the project's root";
  if (in_project(header))
    return may_include(*layer, header) ? "" : layer->folder + " may not include it";
  const std::string library = library_of(header);
  if (library.empty()) return "";
  if (!contains(layer->libraries, library)) return layer->folder + " may not know of " + library;
  if (library == "json" && !ends_with(path, ".cpp")) return "JSON is for .cpp files only";
  return "";
}

/// The arrows that a C++ source breaks: "path:line: header: fault".
Strings include_faults(const std::string& path, const std::string& text) {
  static const std::regex pattern(R"re(^\s*#\s*include\s*["<]([^">]+)[">])re");
  Strings faults;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::smatch match;
    if (line.find("include") == std::string::npos || !std::regex_search(line, match, pattern))
      continue;
    const std::string fault = include_fault(path, match[1]);
    if (!fault.empty())
      faults.push_back(path + ":" + std::to_string(number) + ": " + match[1].str() + ": " + fault);
  }
  return faults;
}

/// The modules that a Lua source requires and may not: "path:line: module: fault".
Strings require_faults(const std::string& path, const std::string& text) {
  static const std::regex pattern(R"re(\brequire\s*\(?\s*["']([^"']+)["'])re");
  Strings faults;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    line = line.substr(0, line.find("--"));
    std::smatch match;
    if (line.find("require") == std::string::npos || !std::regex_search(line, match, pattern))
      continue;
    const std::string module = match[1];
    const bool core = module == "perilune.core" && !starts_with(path, "stdlib/");
    if (!core &&
        (module == "perilune" || starts_with(module, "perilune.") || contains(kLuaModules, module)))
      continue;
    faults.push_back(
        path + ":" + std::to_string(number) + ": " + module +
        (core ? ": only stdlib may require it" : ": only perilune and its own modules"));
  }
  return faults;
}

Strings faults_of(const std::string& path, const std::string& line) {
  return include_faults(path, "#pragma once\n" + line + "\n");
}

}  // namespace

TEST_CASE("the checker sees an include against the arrows") {
  CHECK(faults_of("kernels/cpu/a.cpp", "#include \"engine/tensor/tensor.h\"") ==
        Strings{"kernels/cpu/a.cpp:2: engine/tensor/tensor.h: kernels/ may not include it"});
  CHECK(faults_of("engine/a.h", "  #  include <bindings/lua/host/perilune_lua.h>").size() == 1);
  CHECK(faults_of("engine/a.cpp", "#include <lua.hpp>").size() == 1);
  CHECK(faults_of("engine/a.h", "#include <nlohmann/json.hpp>").size() == 1);
  CHECK(faults_of("engine/a.cpp", "#include <cuda_runtime.h>").size() == 1);
  CHECK(faults_of("kernels/cpu/a.cpp", "#include <nlohmann/json.hpp>").size() == 1);
  CHECK(faults_of("bindings/lua/a.cpp", "#include \"kernels/kernel_table.h\"").size() == 1);
  CHECK(faults_of("bindings/c/a.cpp", "#include \"engine/tensor/tensor.h\"").size() == 1);
  CHECK(faults_of("repl/a.cpp", "#include \"engine/device/context.h\"").size() == 1);
  CHECK(faults_of("repl/a.cpp", "#include \"../engine/device/context.h\"").size() == 1);
}

TEST_CASE("the checker lets includes along the arrows pass") {
  CHECK(faults_of("kernels/cpu/a.cpp", "#include \"kernels/dtype.h\"").empty());
  CHECK(faults_of("kernels/cuda/a.cu", "#include <cuda_runtime.h>").empty());
  CHECK(faults_of("engine/a.cpp", "#include <nlohmann/json.hpp>").empty());
  CHECK(faults_of("bindings/lua/a.cpp", "#include \"engine/tensor/tensor.h\"").empty());
  CHECK(faults_of("repl/a.cpp", "#include <histedit.h>").empty());
  CHECK(faults_of("engine/a.cpp", "// see #include \"repl/line.h\"").empty());
}

TEST_CASE("the checker sees a module that is not perilune's") {
  CHECK(require_faults("a.lua", "local s = require(\"socket\")").size() == 1);
  CHECK(require_faults("a.lua", "local s = require 'ffi'").size() == 1);
  CHECK(require_faults("a.lua", "local pl = require \"perilune\"").empty());
  CHECK(require_faults("a.lua", "local l = require \"perilune.models.llama\"").empty());
  CHECK(require_faults("stdlib/a.lua", "local c = require \"perilune.core\"").empty());
  CHECK(require_faults("scripts/a.lua", "local c = require \"perilune.core\"").size() == 1);
  CHECK(require_faults("a.lua", "-- require \"socket\"").empty());
}

TEST_CASE("includes follow the arrows") {
  const Strings sources = files({"kernels", "engine", "bindings", "repl"}, kCppEnds);
  REQUIRE(sources.size() > 20);  // otherwise this is not the project's root
  Strings faults;
  for (const std::string& path : sources)
    for (const std::string& fault : include_faults(path, read(path))) faults.push_back(fault);
  INFO("against the arrows:" << joined(faults));
  CHECK(faults.empty());
}

TEST_CASE("requires follow the arrows") {
  Strings faults;
  for (const std::string& path : files({"stdlib", "scripts"}, {".lua"}))
    for (const std::string& fault : require_faults(path, read(path))) faults.push_back(fault);
  INFO("against the arrows:" << joined(faults));
  CHECK(faults.empty());
}

TEST_CASE("files are not too long") {
  Strings ends = kCppEnds;
  ends.insert(ends.end(), {".lua", ".sh", ".cmake"});
  Strings too_long;
  for (const std::string& path :
       files({"kernels", "engine", "bindings", "repl", "stdlib", "scripts", "tests", "cmake"},
             ends)) {
    const std::string text = read(path);
    const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
    if (lines > kManyLines) std::cout << "long: " << path << ": " << lines << " lines\n";
    if (lines > kMostLines && !contains(kLongFiles, path)) too_long.push_back(path);
  }
  INFO("over " << kMostLines << " lines:" << joined(too_long));
  CHECK(too_long.empty());
}

TEST_CASE("the library writes to no stream of its host and never ends it") {
  static const std::regex pattern(
      R"re(\b(cerr|cout|clog|stderr|stdout|perror|abort|_exit)\b|[^nf]printf\s*\(|\b(puts|terminate|exit)\s*\()re");
  CHECK(std::regex_search("  std::cerr << x;", pattern));
  CHECK(std::regex_search("  printf(\"x\");", pattern));
  CHECK(std::regex_search("  std::abort();", pattern));
  CHECK_FALSE(std::regex_search("  std::snprintf(text, 3, \"x\");", pattern));
  Strings faults;
  for (const std::string& path : files({"engine", "kernels", "bindings"}, kCppEnds)) {
    if (starts_with(path, "kernels/cuda/emulator/"))
      continue;  // ends a process whose kernel is wrong
    std::istringstream lines(read(path));
    std::string line;
    for (int number = 1; std::getline(lines, line); ++number) {
      const std::string code = line.substr(0, line.find("//"));
      if (std::regex_search(code, pattern)) faults.push_back(path + ":" + std::to_string(number));
    }
  }
  INFO(joined(faults));
  CHECK(faults.empty());
}

TEST_CASE("no kernel table has an empty entry") {
  using perilune::kernels::KernelTable;
  constexpr std::size_t first = offsetof(KernelTable, packed_bytes);
  constexpr std::size_t count = (sizeof(KernelTable) - first) / sizeof(void (*)());
  int seen = 0;
  for (int i = 0; perilune::kernels::cpu_tier_name(i) != nullptr; ++i) {
    const char* tier = perilune::kernels::cpu_tier_name(i);
    const KernelTable* table = perilune::kernels::cpu_table(tier);
    if (table == nullptr) {
      std::cout << "skipped: tier " << tier << ": this processor lacks it\n";
      continue;
    }
    ++seen;
    CHECK(std::string(table->tier) == tier);
    std::array<std::uintptr_t, count> entries{};
    std::memcpy(entries.data(), reinterpret_cast<const unsigned char*>(table) + first,
                sizeof(entries));
    for (std::size_t entry = 0; entry < count; ++entry) {
      INFO("tier " << tier << ", entry " << entry << " of " << count);
      // A CPU reads rows where they are, and its logits are the sampler's.
      const std::size_t at = first + entry * sizeof(std::uintptr_t);
      const bool staging = at == offsetof(KernelTable, kv_rows_bytes) ||
                           at == offsetof(KernelTable, kv_rows_stage) ||
                           at == offsetof(KernelTable, choose);
      CHECK((entries[entry] != 0) != staging);
    }
  }
  CHECK(seen > 0);
  CHECK(perilune::kernels::cpu_table("no such tier") == nullptr);
}
