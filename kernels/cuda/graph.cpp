#include "kernels/cuda/graph.h"

#include <algorithm>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/stream.h"

namespace perilune::kernels::cuda {

bool GraphNode::same_form(const GraphNode& other) const {
  return kind == other.kind && function == other.function && offsets == other.offsets &&
         arguments.size() == other.arguments.size() && (kind != Kind::fill || bytes == other.bytes);
}

bool GraphNode::same_values(const GraphNode& other) const {
  return std::equal(grid, grid + 3, other.grid) && std::equal(block, block + 3, other.block) &&
         shared_bytes == other.shared_bytes && arguments == other.arguments && to == other.to &&
         from == other.from && bytes == other.bytes && byte == other.byte;
}

Graph::~Graph() {
  PluginError ignored{};
  if (started_) backend::wait(read_, ignored);
  if (built_ != nullptr) backend::free_graph(built_);
  if (read_ != nullptr) backend::free_event(read_);
  if (step_ != nullptr) backend::release_host(step_);
}

/// The device has read the step block that there is.
int Graph::make_step(PluginError& error) {
  if (step_ != nullptr && step_bytes_ >= step_wanted_) return kPluginDone;
  if (step_ != nullptr) backend::release_host(std::exchange(step_, nullptr));
  void* pinned = nullptr;
  const int status = backend::allocate_host(step_wanted_, &pinned, error);
  if (status != kPluginDone) return status;
  step_ = static_cast<unsigned char*>(pinned);
  step_bytes_ = step_wanted_;
  return kPluginDone;
}

int Graph::begin(PluginError& error) {
  int status = kPluginDone;
  if (read_ == nullptr) status = backend::make_event(&read_, error);
  if (status == kPluginDone && started_) status = backend::wait(read_, error);
  if (status != kPluginDone) return status;
  started_ = false;
  recorded_ = step_used_ = 0;
  return make_step(error);
}

GraphNode& Graph::fresh(GraphNode::Kind kind, const char* name) {
  next_node_.kind = kind;
  next_node_.name = name;
  next_node_.function = nullptr;
  std::fill_n(next_node_.grid, 3, 0u);
  std::fill_n(next_node_.block, 3, 0u);
  next_node_.shared_bytes = 0;
  next_node_.arguments.clear();
  next_node_.offsets.clear();
  next_node_.to = nullptr;
  next_node_.from = nullptr;
  next_node_.bytes = 0;
  next_node_.byte = 0;
  return next_node_;
}

/// Takes next_node_ in place of what stood there.
void Graph::add() {
  const std::size_t at = recorded_++;
  if (at == nodes_.size()) {
    nodes_.emplace_back();
    reformed_ = true;
  } else if (!nodes_[at].same_form(next_node_)) {
    reformed_ = true;
  } else if (nodes_[at].same_values(next_node_)) {
    return;
  } else if (!reformed_) {
    stale_.push_back(at);
  }
  std::swap(nodes_[at], next_node_);
}

bool Graph::add_copy_in(void* to, const void* host, std::size_t bytes) {
  constexpr std::size_t kAlignment = 64;
  if (bytes > step_bytes_ - step_used_) {
    step_wanted_ = std::min(kMostStepBytes, 2 * (step_used_ + bytes));
    return false;
  }
  unsigned char* const place = step_ + step_used_;
  std::memcpy(place, host, bytes);
  const std::size_t used = (step_used_ + bytes + kAlignment - 1) / kAlignment * kAlignment;
  step_used_ = std::min(step_bytes_, used);
  GraphNode& node = fresh(GraphNode::Kind::copy_in, "copy_in");
  node.to = to;
  node.from = place;
  node.bytes = bytes;
  add();
  return true;
}

void Graph::add_copy_inside(void* to, const void* from, std::size_t bytes) {
  GraphNode& node = fresh(GraphNode::Kind::copy_inside, "copy");
  node.to = to;
  node.from = from;
  node.bytes = bytes;
  add();
}

void Graph::add_fill(void* to, unsigned char byte, std::size_t bytes) {
  GraphNode& node = fresh(GraphNode::Kind::fill, "fill");
  node.to = to;
  node.byte = byte;
  node.bytes = bytes;
  add();
}

int Graph::bring_up_to_date(Stream& stream, PluginError& error) {
  if (recorded_ != nodes_.size()) {
    nodes_.resize(recorded_);
    reformed_ = true;
  }
  for (const std::size_t at : stale_) {
    if (reformed_ || forgets_) break;
    ++counts_.updates;
    // One that the driver does not take: all of it is made again.
    if (backend::update_graph(built_, at, nodes_[at], error) != kPluginDone) reformed_ = true;
  }
  stale_.clear();
  if (!reformed_) return kPluginDone;
  if (built_ != nullptr) backend::free_graph(std::exchange(built_, nullptr));
  ++counts_.builds;
  const int status = backend::build_graph(stream, nodes_, &built_, error);
  reformed_ = status != kPluginDone;
  return status;
}

int Graph::end(Stream& stream, PluginError& error) {
  if (recorded_ == 0) return kPluginDone;
  stream.last = "one of a graph";
  int status = bring_up_to_date(stream, error);
  if (status == kPluginPoisoned) return status;
  if (status != kPluginDone) return spill(stream, error);
  status = backend::start_graph(stream, *built_, nodes_, error);
  if (status == kPluginDone) status = backend::record(stream.handle, read_, error);
  started_ = status == kPluginDone;
  counts_.starts += started_ ? 1 : 0;
  spills_ = 0;
  return status;
}

int Graph::start_again(Stream& stream, PluginError& error) {
  return backend::start_graph(stream, *built_, nodes_, error);
}

int Graph::spill(Stream& stream, PluginError& error) {
  ++spills_;
  nodes_.resize(recorded_);
  for (const GraphNode& node : nodes_) {
    const int status = backend::start_node(stream, node, error);
    if (status != kPluginDone) return status;
  }
  const int status = backend::record(stream.handle, read_, error);
  started_ = status == kPluginDone;
  reformed_ = true;
  stale_.clear();
  return status;
}

PluginGraphCounts Graph::counts() const {
  PluginGraphCounts counts = counts_;
  for (const GraphNode& node : nodes_) {
    counts.kernels += node.kind == GraphNode::Kind::kernel ? 1 : 0;
    counts.copies += node.kind == GraphNode::Kind::kernel ? 0 : 1;
  }
  return counts;
}

}  // namespace perilune::kernels::cuda
