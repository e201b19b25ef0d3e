// Graphs of the CUDA runtime: made of nodes rather than captured, so that what stays legal while
// one is recorded is up to us, and single nodes are brought up to date.
#include <cuda_runtime.h>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/cuda_error.h"
#include "kernels/cuda/stream.h"

namespace perilune::kernels::cuda {

struct BuiltGraph {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t started = nullptr;
  std::vector<cudaGraphNode_t> nodes;
};

namespace backend {
namespace {

int checked(cudaError_t status, const char* what, PluginError& error) {
  if (status == cudaSuccess) return kPluginDone;
  cudaGetLastError();
  if (status == cudaErrorMemoryAllocation) {
    return fail(error, kPluginMemory, "%s: out of device memory", what);
  }
  return fail(error, poisons(status) ? kPluginPoisoned : kPluginFailed, "%s: %s (%s)", what,
              cudaGetErrorString(status), cudaGetErrorName(status));
}

/// Where each argument of a kernel lies.
std::vector<void*> pointers_of(const GraphNode& node) {
  std::vector<void*> pointers;
  for (const std::size_t at : node.offsets) {
    pointers.push_back(const_cast<unsigned char*>(node.arguments.data()) + at);
  }
  return pointers;
}

cudaKernelNodeParams kernel_of(const GraphNode& node, std::vector<void*>& arguments) {
  cudaKernelNodeParams kernel{};
  kernel.func = const_cast<void*>(node.function);
  kernel.gridDim = dim3(node.grid[0], node.grid[1], node.grid[2]);
  kernel.blockDim = dim3(node.block[0], node.block[1], node.block[2]);
  kernel.sharedMemBytes = static_cast<unsigned>(node.shared_bytes);
  kernel.kernelParams = arguments.data();
  return kernel;
}

cudaMemsetParams fill_of(const GraphNode& node) {
  cudaMemsetParams fill{};
  fill.dst = node.to;
  fill.value = node.byte;
  fill.elementSize = 1;
  fill.width = node.bytes;
  fill.height = 1;
  return fill;
}

cudaMemcpyKind direction(const GraphNode& node) {
  return node.kind == GraphNode::Kind::copy_in ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToDevice;
}

cudaError_t add_node(BuiltGraph& built, const GraphNode& node) {
  const cudaGraphNode_t* const before = built.nodes.empty() ? nullptr : &built.nodes.back();
  const std::size_t count = built.nodes.empty() ? 0 : 1;
  cudaGraphNode_t made = nullptr;
  cudaError_t status = cudaSuccess;
  if (node.kind == GraphNode::Kind::kernel) {
    std::vector<void*> arguments = pointers_of(node);
    const cudaKernelNodeParams kernel = kernel_of(node, arguments);
    status = cudaGraphAddKernelNode(&made, built.graph, before, count, &kernel);
  } else if (node.kind == GraphNode::Kind::fill) {
    const cudaMemsetParams fill = fill_of(node);
    status = cudaGraphAddMemsetNode(&made, built.graph, before, count, &fill);
  } else {
    status = cudaGraphAddMemcpyNode1D(&made, built.graph, before, count, node.to, node.from,
                                      node.bytes, direction(node));
  }
  if (status == cudaSuccess) built.nodes.push_back(made);
  return status;
}

}  // namespace

int build_graph(Stream&, const std::vector<GraphNode>& nodes, BuiltGraph** built,
                PluginError& error) {
  auto* made = new BuiltGraph;
  made->nodes.reserve(nodes.size());
  cudaError_t status = cudaGraphCreate(&made->graph, 0);
  for (const GraphNode& node : nodes) {
    if (status != cudaSuccess) break;
    status = add_node(*made, node);
  }
  if (status == cudaSuccess) status = cudaGraphInstantiate(&made->started, made->graph, 0);
  if (status != cudaSuccess) {
    free_graph(made);
    return checked(status, "making a graph", error);
  }
  *built = made;
  return kPluginDone;
}

int update_graph(BuiltGraph* built, std::size_t at, const GraphNode& node, PluginError& error) {
  const cudaGraphNode_t known = built->nodes[at];
  cudaError_t status = cudaSuccess;
  if (node.kind == GraphNode::Kind::kernel) {
    std::vector<void*> arguments = pointers_of(node);
    const cudaKernelNodeParams kernel = kernel_of(node, arguments);
    status = cudaGraphExecKernelNodeSetParams(built->started, known, &kernel);
  } else if (node.kind == GraphNode::Kind::fill) {
    const cudaMemsetParams fill = fill_of(node);
    status = cudaGraphExecMemsetNodeSetParams(built->started, known, &fill);
  } else {
    status = cudaGraphExecMemcpyNodeSetParams1D(built->started, known, node.to, node.from,
                                                node.bytes, direction(node));
  }
  return checked(status, "bringing a graph up to date", error);
}

int start_graph(Stream& stream, BuiltGraph& built, const std::vector<GraphNode>&,
                PluginError& error) {
  return checked(cudaGraphLaunch(built.started, static_cast<cudaStream_t>(stream.handle)),
                 "starting a graph", error);
}

void free_graph(BuiltGraph* built) {
  if (built->started != nullptr) cudaGraphExecDestroy(built->started);
  if (built->graph != nullptr) cudaGraphDestroy(built->graph);
  delete built;
}

int start_node(Stream& stream, const GraphNode& node, PluginError& error) {
  if (node.kind == GraphNode::Kind::fill) {
    return fill(stream.handle, node.to, node.byte, node.bytes, error);
  }
  if (node.kind == GraphNode::Kind::copy_in) {
    return copy_in(stream.handle, node.to, node.from, node.bytes, error);
  }
  if (node.kind == GraphNode::Kind::copy_inside) {
    return copy_device(stream.handle, node.to, node.from, node.bytes, error);
  }
  std::vector<void*> arguments = pointers_of(node);
  const cudaKernelNodeParams kernel = kernel_of(node, arguments);
  return checked(cudaLaunchKernel(kernel.func, kernel.gridDim, kernel.blockDim, kernel.kernelParams,
                                  kernel.sharedMemBytes, static_cast<cudaStream_t>(stream.handle)),
                 node.name, error);
}

}  // namespace backend
}  // namespace perilune::kernels::cuda
