#include "kernels/cuda/emulator/order.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>

namespace perilune::kernels::cuda::emulator {
namespace {

struct Setting {
  Order order = Order::forward;
  std::mt19937 random{1};

  Setting() {
    const char* asked = std::getenv("PERILUNE_EMULATOR_ORDER");
    const std::string text = asked == nullptr ? "" : asked;
    if (text == "reverse") order = Order::reverse;
    if (text.rfind("shuffled", 0) != 0) return;
    order = Order::shuffled;
    if (text.size() > 9) random.seed(static_cast<std::uint32_t>(std::atoi(text.c_str() + 9)));
  }
};

thread_local Setting setting;

}  // namespace

void set_order(Order order, std::uint32_t seed) {
  setting.order = order;
  setting.random.seed(seed);
}

void arrange(std::vector<int>& numbers) {
  if (setting.order == Order::shuffled) {
    for (std::size_t i = numbers.size(); i > 1; --i) {
      std::swap(numbers[i - 1], numbers[setting.random() % i]);
    }
    return;
  }
  std::sort(numbers.begin(), numbers.end());
  if (setting.order == Order::reverse) std::reverse(numbers.begin(), numbers.end());
}

}  // namespace perilune::kernels::cuda::emulator
