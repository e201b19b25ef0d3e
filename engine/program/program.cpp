#include "engine/program/program.h"

#include <algorithm>

#include "engine/ops/rope_op.h"

namespace perilune {

const int* Program::find_mark(const std::string& path) const {
  for (const auto& [name, value] : marks) {
    if (name == path) return &value;
  }
  return nullptr;
}

void Program::find_length_tables() {
  for (const ProgramNode& node : nodes) {
    const auto* table = dynamic_cast<const RopeTableOp*>(node.op.get());
    if (table != nullptr && table->depends_on_length()) length_tables.push_back(table);
  }
}

bool Program::same_keys(std::int64_t a, std::int64_t b) const {
  return std::all_of(length_tables.begin(), length_tables.end(),
                     [&](const RopeTableOp* table) { return table->same_table(a, b); });
}

std::int64_t Program::key_length(std::int64_t tokens) const {
  constexpr std::int64_t kEndless = std::int64_t{1} << 40;
  if (same_keys(1, tokens)) return 1;
  return same_keys(kEndless, tokens) ? kEndless : tokens;
}

bool Program::writes(KvKind kind) const {
  return std::any_of(kv_slots.begin(), kv_slots.end(),
                     [&](const KvSlotSpec& slot) { return slot.kind == kind; });
}

std::vector<std::string> Program::mark_paths() const {
  std::vector<std::string> paths;
  std::size_t lazy = 0;
  for (std::size_t i = 0; i <= marks.size(); ++i) {
    while (lazy < lazy_marks.size() && lazy_marks[lazy].after_mark <= i) {
      paths.push_back(lazy_marks[lazy++].path);
    }
    if (i < marks.size()) paths.push_back(marks[i].first);
  }
  return paths;
}

std::string Program::text() const {
  std::string text = entry + (head.empty() ? "" : " + head " + head) + "\n";
  const auto value_text = [&](int id) {
    const ProgramValue& value = values[static_cast<std::size_t>(id)];
    return value.input.empty() ? (value.constant.defined() ? "constant" : "%" + std::to_string(id))
                               : value.input;
  };
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const ProgramNode& node = nodes[i];
    text += std::to_string(i + 1) + "  " + node.op->describe() + " (";
    for (std::size_t j = 0; j < node.inputs.size(); ++j) {
      text += (j == 0 ? "" : ", ") + value_text(node.inputs[j]);
    }
    text += ") ->";
    for (const int id : node.outputs) {
      const TensorSpec& spec = values[static_cast<std::size_t>(id)].spec;
      text += " %" + std::to_string(id) + " " + (spec.without_storage ? "stored" : spec.text());
    }
    if (!node.where.empty()) text += "  in " + node.where;
    text += "\n";
  }
  return text;
}

}  // namespace perilune
