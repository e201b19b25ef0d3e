// The work of a pass as one piece that a device is given in one call: a CUDA graph, or in the
// emulator a list that is run. It is recorded anew for each pass, by the same calls that would
// start the work one by one; what differs from the last time is brought up to date in the device's
// copy. So no address can be one of an earlier pass, and what is new costs one call of the driver.
// What the host copies in lies in the graph's own pinned piece, the step block, until the device
// has read it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#ifdef PERILUNE_EMULATOR
#include <functional>
#include <tuple>
#endif

#include "kernels/plugin.h"

namespace perilune::kernels::cuda {

struct Stream;

/// One piece of work; it comes after the one before.
struct GraphNode {
  enum class Kind : std::uint8_t { kernel, copy_in, copy_inside, fill };
  Kind kind = Kind::kernel;
  unsigned char byte = 0;  // of a fill
  const char* name = "";
  // A kernel; arguments are values, each at its offset.
  const void* function = nullptr;
  unsigned grid[3] = {}, block[3] = {};
  std::size_t shared_bytes = 0;
  std::vector<unsigned char> arguments;
  std::vector<std::size_t> offsets;
  // A copy or a fill; `from` of a copy_in lies in the graph's step block.
  void* to = nullptr;
  const void* from = nullptr;
  std::size_t bytes = 0;
#ifdef PERILUNE_EMULATOR
  std::function<void()> body;
#endif

  bool same_form(const GraphNode& other) const;
  bool same_values(const GraphNode& other) const;

  template <class Value>
  void put(Value value) {
    static_assert(std::is_trivially_copyable_v<Value>);
#if __has_builtin(__builtin_clear_padding)
    __builtin_clear_padding(&value);  // else what lies there by chance would be an update
#endif
    const std::size_t at =
        (arguments.size() + alignof(Value) - 1) / alignof(Value) * alignof(Value);
    arguments.resize(at + sizeof(Value), 0);
    std::memcpy(arguments.data() + at, &value, sizeof(Value));
    offsets.push_back(at);
  }
};

/// What a backend makes of the nodes.
struct BuiltGraph;

class Graph {
 public:
  /// Bytes of the step block at first, and at most: it grows where a pass had more to copy.
  static constexpr std::size_t kStepBytes = std::size_t{64} << 10,
                               kMostStepBytes = std::size_t{8} << 20;

  Graph() = default;
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  /// Waits until the device has read the step block of the last start.
  int begin(PluginError& error);
  /// Starts what was recorded since begin().
  int end(Stream& stream, PluginError& error);
  /// What cannot be part of a graph comes next: what was recorded is started piece by piece, and
  /// the rest of the pass is started as it comes.
  int spill(Stream& stream, PluginError& error);
  /// False after several passes one after the other that ended in a spill().
  bool fits() const { return spills_ < kMostSpills; }

  template <class... Parameters, class... Arguments>
  void add_kernel(const char* name, const unsigned (&grid)[3], const unsigned (&block)[3],
                  std::size_t shared_bytes, void (*kernel)(Parameters...),
                  Arguments&&... arguments) {
    GraphNode& node = fresh(GraphNode::Kind::kernel, name);
    node.function = reinterpret_cast<const void*>(kernel);
    std::memcpy(node.grid, grid, sizeof grid);
    std::memcpy(node.block, block, sizeof block);
    node.shared_bytes = shared_bytes;
    (node.put<Parameters>(static_cast<Parameters>(arguments)), ...);
#ifdef PERILUNE_EMULATOR
    node.body = [kernel, values = std::tuple<Parameters...>(arguments...)] {
      std::apply(kernel, values);
    };
#endif
    add();
  }
  /// False: the step block is full.
  bool add_copy_in(void* to, const void* host, std::size_t bytes);
  void add_copy_inside(void* to, const void* from, std::size_t bytes);
  void add_fill(void* to, unsigned char byte, std::size_t bytes);

  PluginGraphCounts counts() const;
  const std::vector<GraphNode>& nodes() const {
    return nodes_;
  }
  /// For tests: the device's copy keeps what it had, as it would if an update were forgotten.
  void forget_updates() {
    forgets_ = true;
  }
  /// For tests: the device's copy once more, as a graph that nobody records anew would start.
  int start_again(Stream& stream, PluginError& error);

 private:
  static constexpr int kMostSpills = 3;

  int make_step(PluginError& error);
  GraphNode& fresh(GraphNode::Kind kind, const char* name);
  void add();
  int bring_up_to_date(Stream& stream, PluginError& error);

  std::vector<GraphNode> nodes_;
  GraphNode next_node_;             // the one that is being recorded
  std::size_t recorded_ = 0;        // of nodes_, since begin()
  std::vector<std::size_t> stale_;  // nodes that the device's copy has other values of
  bool reformed_ = true;            // the device's copy has another form
  bool forgets_ = false;
  int spills_ = 0;                 // since the last pass that started as one piece
  unsigned char* step_ = nullptr;  // pinned
  std::size_t step_bytes_ = 0, step_used_ = 0, step_wanted_ = kStepBytes;
  void* read_ = nullptr;  // event: the device has read the step block
  bool started_ = false;
  BuiltGraph* built_ = nullptr;
  PluginGraphCounts counts_{};
};

}  // namespace perilune::kernels::cuda
