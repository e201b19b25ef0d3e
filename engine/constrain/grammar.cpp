#include "engine/constrain/grammar.h"

#include <algorithm>

#include "engine/base/error.h"

namespace perilune {

namespace {
constexpr std::size_t kMostNodes = std::size_t{1} << 20;
constexpr std::size_t kMostRules = std::size_t{1} << 16;
constexpr int kDeepest = 100;  // branches of texts inside branches
}  // namespace

Grammar::Expression Grammar::add(Node node) {
  if (nodes_.size() >= kMostNodes) {
    throw Error(ErrorCode::length, "grammar",
                "too large: more than " + std::to_string(kMostNodes) + " parts");
  }
  nodes_.push_back(std::move(node));
  return static_cast<Expression>(nodes_.size() - 1);
}

Grammar::Expression Grammar::text(std::string_view bytes) {
  Node node;
  node.text = bytes;
  return add(std::move(node));
}

Grammar::Expression Grammar::characters(const CharacterSet& set) {
  if (set.empty()) return nothing();
  Node node;
  node.kind = Kind::characters;
  node.set = set;
  return add(std::move(node));
}

Grammar::Expression Grammar::nothing() {
  Node node;
  node.kind = Kind::nothing;
  return add(std::move(node));
}

Grammar::Expression Grammar::sequence(std::vector<Expression> parts) {
  if (parts.size() == 1) return parts[0];
  Node node;
  node.kind = Kind::sequence;
  node.parts = std::move(parts);
  return add(std::move(node));
}

Grammar::Expression Grammar::choice(std::vector<Expression> parts) {
  if (parts.empty()) return nothing();
  if (parts.size() == 1) return parts[0];
  Node node;
  node.kind = Kind::choice;
  node.parts = std::move(parts);
  return add(std::move(node));
}

Grammar::Expression Grammar::repeat(Expression part, std::int64_t least, std::int64_t most) {
  if (least == 1 && most == 1) return part;
  Node node;
  node.kind = Kind::repeat;
  node.parts = {part};
  node.least = least;
  node.most = most;
  return add(std::move(node));
}

Grammar::Expression Grammar::call(Rule rule) {
  Node node;
  node.kind = Kind::rule;
  node.rule = rule;
  return add(std::move(node));
}

Grammar::Rule Grammar::add_rule(std::string name) {
  if (rules_.size() >= kMostRules) {
    throw Error(ErrorCode::length, "grammar",
                "too large: more than " + std::to_string(kMostRules) + " rules");
  }
  rules_.push_back({std::move(name), -1});
  return static_cast<Rule>(rules_.size() - 1);
}

Grammar::Expression Grammar::texts(std::vector<std::string> list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
  if (list.empty()) return nothing();
  return prefix_tree(list, 0, list.size(), 0, 0);
}

/// Of the sorted texts [first, last), which are the same up to byte `depth`. Past kDeepest branches
/// the texts stand side by side.
Grammar::Expression Grammar::prefix_tree(const std::vector<std::string>& list, std::size_t first,
                                         std::size_t last, std::size_t depth, int level) {
  const std::string& lowest = list[first];
  const std::string& highest = list[last - 1];
  std::size_t common = depth;
  while (common < lowest.size() && common < highest.size() && lowest[common] == highest[common]) {
    ++common;
  }
  if (last - first == 1) return text(std::string_view(lowest).substr(depth));
  std::vector<Expression> branches;
  if (level >= kDeepest) {
    for (std::size_t i = first; i < last; ++i) {
      branches.push_back(text(std::string_view(list[i]).substr(depth)));
    }
    return choice(std::move(branches));
  }
  std::size_t at = first;
  if (lowest.size() == common) {  // it ends where others go on
    branches.push_back(text(""));
    ++at;
  }
  while (at < last) {
    std::size_t end = at;
    while (end < last && list[end][common] == list[at][common]) ++end;
    branches.push_back(prefix_tree(list, at, end, common, level + 1));
    at = end;
  }
  return sequence(
      {text(std::string_view(lowest).substr(depth, common - depth)), choice(std::move(branches))});
}

}  // namespace perilune
