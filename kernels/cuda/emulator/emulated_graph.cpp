// Graphs in the emulator: a list of pieces of work that has its own values, as the driver's copy
// has. A start looks whether they are those of this pass, and afterwards nothing of the step block
// is left.
#include <cstring>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/cuda.h"

namespace perilune::kernels::cuda {

struct BuiltGraph {
  std::vector<GraphNode> nodes;
};

namespace backend {
namespace {

constexpr int kPoison = 0xa5;
constexpr int kFault = 1;

}  // namespace

int build_graph(Stream&, const std::vector<GraphNode>& nodes, BuiltGraph** built, PluginError&) {
  *built = new BuiltGraph{nodes};
  return kPluginDone;
}

int update_graph(BuiltGraph* built, std::size_t at, const GraphNode& node, PluginError&) {
  built->nodes[at] = node;
  return kPluginDone;
}

int start_graph(Stream& stream, BuiltGraph& built, const std::vector<GraphNode>& nodes,
                PluginError& error) {
  for (std::size_t i = 0; i < built.nodes.size(); ++i) {
    const GraphNode& node = built.nodes[i];
    const bool current = built.nodes.size() == nodes.size() && node.same_form(nodes[i]) &&
                         node.same_values(nodes[i]);
    if (!current) {
      fail(error, kPluginPoisoned, "graph: piece %zu (%s) would run with values of an earlier pass",
           i, node.name);
      record_failure(stream, kFault, error.text);
      return kPluginPoisoned;
    }
    const int status = start_node(stream, node, error);
    if (status != kPluginDone) return status;
  }
  for (const GraphNode& node : built.nodes) {
    if (node.kind != GraphNode::Kind::copy_in) continue;
    std::memset(const_cast<void*>(node.from), kPoison, node.bytes);
  }
  return kPluginDone;
}

void free_graph(BuiltGraph* built) {
  delete built;
}

int start_node(Stream& stream, const GraphNode& node, PluginError& error) {
  switch (node.kind) {
    case GraphNode::Kind::copy_in:
    case GraphNode::Kind::copy_inside:
      return copy_device(nullptr, node.to, node.from, node.bytes, error);
    case GraphNode::Kind::fill: return fill(nullptr, node.to, node.byte, node.bytes, error);
    case GraphNode::Kind::kernel: break;
  }
  if (stream.status != 0) return kPluginDone;  // told where the host next waits
  const LaunchConfig config = {dim3(node.grid[0], node.grid[1], node.grid[2]),
                               dim3(node.block[0], node.block[1], node.block[2]),
                               node.shared_bytes};
  emulator::run(stream, node.name, config, node.body);
  return kPluginDone;
}

}  // namespace backend
}  // namespace perilune::kernels::cuda
