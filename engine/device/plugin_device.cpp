#include "engine/device/plugin_device.h"

#include <dlfcn.h>
#include <link.h>

#include <cstdlib>
#include <exception>
#include <filesystem>
#include <system_error>
#include <vector>

#include "engine/base/error.h"

namespace perilune {
namespace {

using kernels::PluginError;
using kernels::PluginTable;

/// The folder of the file that holds this code, links resolved; "" where that is not known.
std::string own_folder() {
  Dl_info info{};
  link_map* file = nullptr;
  if (dladdr1(reinterpret_cast<const void*>(&own_folder), &info, reinterpret_cast<void**>(&file),
              RTLD_DL_LINKMAP) == 0) {
    return "";
  }
  // A program is not named: what it was called says nothing when PATH was searched for it.
  const bool program = file == nullptr || file->l_name == nullptr || *file->l_name == '\0';
  std::error_code failed;
  const auto path = std::filesystem::canonical(program ? "/proc/self/exe" : file->l_name, failed);
  return failed ? "" : path.parent_path().string();
}

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

std::vector<std::string> places(const std::string& file) {
  std::vector<std::string> paths;
  if (is_set("PERILUNE_PLUGINS")) {
    paths.push_back(std::string(std::getenv("PERILUNE_PLUGINS")) + "/" + file);
  }
  if (const std::string folder = own_folder(); !folder.empty()) {
    paths.push_back(folder + "/" + file);
    paths.push_back(folder + "/../" + file);  // test programs lie one folder below
    // Installed: beside the library in a folder of their own, seen from it and from the program.
    paths.push_back(folder + "/perilune/" + file);
    paths.push_back(folder + "/../../perilune/" + file);  // seen from lua/5.1/perilune.so
    paths.push_back(folder + "/" PERILUNE_PLUGIN_FOLDER "/" + file);
  }
  paths.push_back(file);
  return paths;
}

/// Null with the reason: another version, another layout of the tables.
const PluginTable* table_of(void* library, const std::string& file, std::string& why_not) {
  using Entry = const PluginTable* (*)(std::uint32_t);
  const auto entry = reinterpret_cast<Entry>(dlsym(library, "perilune_plugin"));
  const PluginTable* table = entry == nullptr ? nullptr : entry(kernels::kPluginVersion);
  if (table != nullptr && table->version == kernels::kPluginVersion &&
      table->table_bytes == sizeof(PluginTable) &&
      table->kernel_table_bytes == sizeof(kernels::KernelTable)) {
    return table;
  }
  why_not =
      file + " was found and was built for another version of the engine (its table of calls is";
  why_not +=
      " not version " + std::to_string(kernels::kPluginVersion) + "): build it with this engine";
  return nullptr;
}

const PluginTable* open_library(const std::string& name, std::string& why_not) {
  const std::string file = "libperilune_" + name + ".so";
  const std::string folder = is_set("PERILUNE_PLUGINS") ? "in PERILUNE_PLUGINS, " : std::string();
  why_not = file + " was looked for " + folder +
            "beside the program and among the system's libraries, and was not found";
  for (const std::string& path : places(file)) {
    // Kept to itself: its CUDA runtime must not answer for a host's own.
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library != nullptr) return table_of(library, path, why_not);
    const char* text = dlerror();
    const std::string problem = text == nullptr ? "" : text;
    // Another file that is not there is one that the plug-in needs.
    const bool missing =
        problem.starts_with(path + ":") && (problem.find("No such file") != std::string::npos ||
                                            problem.find("Not a directory") != std::string::npos);
    if (path != file && !missing) why_not = std::string(file).append(" does not load: " + problem);
  }
  return nullptr;
}

DeviceKind kind_of(const PluginTable& table) {
  return std::string(table.kind) == "cuda" ? DeviceKind::cuda : DeviceKind::emulator;
}

}  // namespace

std::string plugin_device_name(const std::string& kind, int index) {
  return kind == "cuda" ? kind + ":" + std::to_string(index) : kind;
}

std::shared_ptr<const Plugin> Plugin::load(const std::string& name, std::string& why_not) {
  const PluginTable* table = open_library(name, why_not);
  return table == nullptr ? nullptr : std::shared_ptr<const Plugin>(new Plugin(table));
}

int Plugin::device_count(std::string& why_not) const {
  PluginError error{};
  const int count = table_->device_count(&error);
  if (count <= 0) why_not = error.text;
  return count;
}

PluginDevice::PluginDevice(std::shared_ptr<const Plugin> plugin, int index)
    : plugin_(std::move(plugin)),
      kind_(kind_of(plugin_->table())),
      name_(plugin_device_name(plugin_->table().kind, index)) {}

std::shared_ptr<PluginDevice> PluginDevice::open(std::shared_ptr<const Plugin> plugin, int index,
                                                 std::size_t budget) {
  std::shared_ptr<PluginDevice> device(new PluginDevice(std::move(plugin), index));
  const PluginTable& table = device->plugin_->table();
  PluginError error{};
  kernels::PluginDeviceInfo info{};
  int status = table.device_info(index, &info, &error);
  if (status == kernels::kPluginDone) status = table.open(index, budget, &device->device_, &error);
  if (status != kernels::kPluginDone) {
    throw Error(ErrorCode::device, "device", device->name_ + " does not open: " + error.text)
        .hint("use device=\"cpu\"");
  }
  device->model_ = info.name;
  device->kernels_ = table.kernels(device->device_);
  return device;
}

PluginDevice::~PluginDevice() {
  if (device_ != nullptr) plugin_->table().close(device_);
}

void PluginDevice::check(int status, const char* what, const PluginError& error) {
  if (status == kernels::kPluginDone) return;
  if (status == kernels::kPluginMemory) {
    throw Error(ErrorCode::memory, what, error.text)
        .where("device memory (" + name_ + ")")
        .hint(
            memory().budget != 0
                ? "free tensors, use shorter rows or fewer at once, or give a larger budget"
                : "free tensors, use shorter rows or fewer at once: the device has no more memory");
  }
  Error problem(ErrorCode::device, what, error.text);
  problem.where(name_);
  if (status == kernels::kPluginPoisoned) {
    problem.hint("the device cannot be used any more: load the model again in a new process");
  }
  throw problem;
}

kernels::Launch PluginDevice::launch() const {
  kernels::Launch launch;
  launch.stream = plugin_->table().stream(device_);
  return launch;
}

void* PluginDevice::allocate(std::size_t bytes) {
  PluginError error{};
  void* pointer = nullptr;
  check(plugin_->table().allocate(device_, bytes, &pointer, &error), "allocate", error);
  return pointer;
}

void PluginDevice::release(void* pointer, std::size_t) noexcept {
  if (pointer != nullptr) plugin_->table().release(device_, pointer);
}

void PluginDevice::copy_in(void* device, const void* host, std::size_t bytes) {
  PluginError error{};
  copies_in_ += 1;
  bytes_in_ += bytes;
  check(plugin_->table().copy_in(device_, device, host, bytes, &error), "copy", error);
}

void PluginDevice::copy_out(void* host, const void* device, std::size_t bytes) {
  PluginError error{};
  copies_out_ += 1;
  bytes_out_ += bytes;
  check(plugin_->table().copy_out(device_, host, device, bytes, &error), "copy", error);
}

void PluginDevice::copy_inside(void* to, const void* from, std::size_t bytes) {
  PluginError error{};
  check(plugin_->table().copy_device(device_, to, from, bytes, &error), "copy", error);
}

void PluginDevice::fill(void* to, unsigned char byte, std::size_t bytes) {
  PluginError error{};
  check(plugin_->table().fill(device_, to, byte, bytes, &error), "fill", error);
}

void PluginDevice::on_stream(const std::function<void(void* stream)>& work) {
  struct Call {
    const std::function<void(void* stream)>& work;
    std::exception_ptr thrown;
  } call{work, nullptr};
  const auto run = [](void* data, void* stream, PluginError*) {
    auto& self = *static_cast<Call*>(data);
    try {
      self.work(stream);
    } catch (...) {
      self.thrown = std::current_exception();
    }
    return int{kernels::kPluginDone};
  };
  PluginError error{};
  check(plugin_->table().on_stream(device_, run, &call, &error), "run", error);
  if (call.thrown) std::rethrow_exception(call.thrown);
}

class PluginDevice::Event final : public DeviceEvent {
 public:
  explicit Event(PluginDevice& device) : device_(device) {
    PluginError error{};
    device.check(table().event_create(device.device_, &event_, &error), "event", error);
  }
  ~Event() override { table().event_destroy(device_.device_, event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record() override {
    PluginError error{};
    device_.check(table().event_record(device_.device_, event_, &error), "event", error);
  }
  bool done() override {
    PluginError error{};
    const int status = table().event_query(device_.device_, event_, &error);
    if (status == kernels::kPluginPending) return false;
    device_.check(status, "run", error);
    return true;
  }
  void wait() override {
    PluginError error{};
    device_.check(table().event_wait(device_.device_, event_, &error), "run", error);
  }

 private:
  const PluginTable& table() const { return device_.plugin_->table(); }

  PluginDevice& device_;
  kernels::PluginEvent* event_ = nullptr;
};

class PluginDevice::Graph final : public DeviceGraph {
 public:
  explicit Graph(PluginDevice& device) : device_(device) {}
  ~Graph() override { table().graph_destroy(device_.device_, graph_); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  bool begin() override {
    if (graph_ != nullptr && table().graph_fits(device_.device_, graph_) == 0) return false;
    PluginError error{};
    const int status = table().graph_begin(device_.device_, &graph_, &error);
    // No pinned memory, or another thread records: it goes without.
    if (status == kernels::kPluginMemory || status == kernels::kPluginPending) return false;
    device_.check(status, "run", error);
    return true;
  }
  void end() override {
    PluginError error{};
    const int status = table().graph_end(device_.device_, graph_, &error);
    count();
    device_.check(status, "run", error);
  }
  void abandon() noexcept override {
    if (graph_ != nullptr) table().graph_abandon(device_.device_, graph_);
  }

 private:
  const PluginTable& table() const { return device_.plugin_->table(); }
  void count() {
    kernels::PluginGraphCounts now{};
    table().graph_counts(device_.device_, graph_, &now);
    device_.graph_starts_ += now.starts - counted_.starts;
    device_.graph_builds_ += now.builds - counted_.builds;
    device_.graph_updates_ += now.updates - counted_.updates;
    counted_ = now;
  }

  PluginDevice& device_;
  kernels::PluginGraph* graph_ = nullptr;
  kernels::PluginGraphCounts counted_{};
};

std::unique_ptr<DeviceGraph> PluginDevice::make_graph() {
  const char* asked = std::getenv("PERILUNE_CUDA_GRAPHS");
  if (asked != nullptr && std::string_view(asked) == "off") return nullptr;
  return std::make_unique<Graph>(*this);
}

std::unique_ptr<DeviceEvent> PluginDevice::make_event() {
  return std::make_unique<Event>(*this);
}

void PluginDevice::synchronize() {
  PluginError error{};
  check(plugin_->table().synchronize(device_, &error), "synchronize", error);
}

DeviceMemory PluginDevice::memory() const {
  kernels::PluginMemory known{};
  plugin_->table().memory(device_, &known);
  DeviceMemory memory;
  memory.total = known.total;
  memory.free = known.free + known.cached;  // what is kept for reuse can be had
  memory.used = known.used;
  memory.peak = known.peak;
  memory.budget = known.budget;
  return memory;
}

std::string PluginDevice::health() const {
  PluginError error{};
  const int status = plugin_->table().health(device_, &error);
  return status == kernels::kPluginDone ? "" : error.text;
}

std::uint64_t PluginDevice::launches() const {
  return plugin_->table().launches(device_);
}

DeviceTraffic PluginDevice::traffic() const {
  return {copies_in_,    bytes_in_,     copies_out_,   bytes_out_,
          graph_starts_, graph_builds_, graph_updates_};
}

}  // namespace perilune
