#include "engine/weights/views.h"

#include <algorithm>

#include "engine/base/error.h"

namespace perilune {
namespace {

/// Matches from `pattern` on, appending captures; stars do not cross dots.
bool match_rest(std::string_view pattern, std::string_view name,
                std::vector<std::string>& captures) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == name;
  if (name.substr(0, star) != pattern.substr(0, star)) return false;
  name.remove_prefix(star);
  pattern.remove_prefix(star + 1);
  const std::size_t component = std::min(name.find('.'), name.size());
  for (std::size_t length = component; length > 0; --length) {
    captures.emplace_back(name.substr(0, length));
    if (match_rest(pattern, name.substr(length), captures)) return true;
    captures.pop_back();
  }
  return false;
}

/// A leading star stands for any number of components, "*." also for none.
bool match_deep(std::string_view rest, std::string_view name, std::vector<std::string>& captures) {
  if (rest.starts_with('.')) {
    captures.emplace_back();
    if (match_rest(rest.substr(1), name, captures)) return true;
    captures.pop_back();
  }
  for (std::size_t length = 0; length <= name.size(); ++length) {
    captures.emplace_back(name.substr(0, length));
    if (match_rest(rest, name.substr(length), captures)) return true;
    captures.pop_back();
  }
  return false;
}

/// The last component where it is one that belongs to a module.
std::string_view module_suffix(std::string_view name) {
  for (const std::string_view suffix : {".weight", ".bias"}) {
    if (name.ends_with(suffix) && name.size() > suffix.size()) return suffix;
  }
  return {};
}

Error does_not_fit(const StoredView& view, std::string problem, const WeightView& rule) {
  Error error(ErrorCode::format, "load", "tensor \"" + view.stored_name + "\" " + problem);
  error.operand("stored", dtype_name(view.dtype) + sizes_text(view.sizes))
      .where("view \"" + rule.pattern + "\"")
      .where(view.file->path());
  return error;
}

Error wrong_view(const WeightView& rule, std::string problem) {
  return Error(ErrorCode::argument, "load", "view \"" + rule.pattern + "\": " + std::move(problem));
}

std::int64_t axis_size(const WeightView& rule, const std::string& axis,
                       const CheckpointOptions& options) {
  const auto found = options.axes.find(axis);
  if (found != options.axes.end() && found->second > 0) return found->second;
  throw wrong_view(rule, "the family gives axis \"" + axis + "\" no size")
      .hint("add it to the axes that config returns");
}

/// Rows of each part, in order, from named axes or as equal shares.
std::vector<std::int64_t> part_rows(const WeightView& rule, const StoredView& view,
                                    const CheckpointOptions& options) {
  const std::int64_t outputs = view.sizes[0];
  const auto parts = static_cast<std::int64_t>(rule.split.size());
  const auto named = std::count_if(rule.split.begin(), rule.split.end(),
                                   [](const SplitPart& part) { return !part.axes.empty(); });
  if (named == 0) {
    if (outputs % parts != 0) {
      throw does_not_fit(view,
                         "has " + std::to_string(outputs) + " outputs, which do not split into " +
                             std::to_string(parts) + " equal parts",
                         rule);
    }
    return std::vector<std::int64_t>(rule.split.size(), outputs / parts);
  }
  if (named != parts) throw wrong_view(rule, "either all parts of a split name axes or none does");
  std::vector<std::int64_t> rows;
  std::optional<std::int64_t> total = 0;
  std::string words;
  for (const SplitPart& part : rule.split) {
    std::optional<std::int64_t> size = 1;
    for (const std::string& axis : part.axes) {
      if (size) size = checked_multiply(*size, axis_size(rule, axis, options));
    }
    if (size && total) total = checked_add(*total, *size);
    if (!size || !total) throw wrong_view(rule, "sizes too large to count");
    rows.push_back(*size);
    words += (words.empty() ? "" : " + ") + part.name + " " + std::to_string(*size);
  }
  if (*total != outputs) {
    throw does_not_fit(view,
                       "has " + std::to_string(outputs) + " outputs, the config's parts are " +
                           words + " = " + std::to_string(*total),
                       rule);
  }
  return rows;
}

/// Cuts the outputs (axis 0). Interleaved parts repeat for each entry of the axis `per`.
std::vector<StoredView> split_rows(const WeightView& rule, const StoredView& view,
                                   const CheckpointOptions& options) {
  if (view.sizes.empty()) throw does_not_fit(view, "has no axis to split", rule);
  if (view.group_rows != 0) throw wrong_view(rule, "a split by axis cannot be split again");
  const std::vector<std::int64_t> rows = part_rows(rule, view, options);
  const std::int64_t groups = rule.per.empty() ? 1 : axis_size(rule, rule.per, options);
  std::vector<StoredView> parts;
  std::int64_t first = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] % groups != 0) {
      throw does_not_fit(view,
                         "has " + std::to_string(rows[i]) + " outputs of \"" + rule.split[i].name +
                             "\", which do not divide over " + std::to_string(groups) + " of " +
                             rule.per,
                         rule);
    }
    StoredView part = view;
    part.sizes[0] = rows[i];
    part.offset += first * view.strides[0];
    if (groups > 1) {
      part.group_rows = rows[i] / groups;
      part.group_stride = view.sizes[0] / groups * view.strides[0];
    }
    first += rows[i] / groups;
    parts.push_back(std::move(part));
  }
  return parts;
}

struct Match {
  const WeightView* rule = nullptr;
  std::vector<std::string> captures;
  std::string_view suffix;  // of the name, when the rule fits the module
};

/// The one rule that fits `name` itself or its module and is not among `done`.
Match find_rule(std::string_view name, const CheckpointOptions& options,
                const std::vector<const WeightView*>& done) {
  Match match;
  for (const WeightView& rule : options.views) {
    if (std::find(done.begin(), done.end(), &rule) != done.end()) continue;
    auto captures = match_captures(rule.pattern, name);
    std::string_view suffix;
    if (!captures) {
      suffix = module_suffix(name);
      if (suffix.empty()) continue;
      captures = match_captures(rule.pattern, name.substr(0, name.size() - suffix.size()));
      if (!captures) continue;
    }
    if (match.rule != nullptr) {
      throw wrong_view(rule, "tensor \"" + std::string(name) + "\" also fits view \"" +
                                 match.rule->pattern + "\"")
          .hint("a name may fit one view: make the patterns more precise");
    }
    match = {&rule, std::move(*captures), suffix};
  }
  return match;
}

void transpose(const Match& match, StoredView& view) {
  if (view.outputs_first) return;
  if (view.sizes.size() == 2) {
    std::swap(view.sizes[0], view.sizes[1]);
    std::swap(view.strides[0], view.strides[1]);
  } else if (match.suffix != ".bias") {
    throw does_not_fit(view,
                       "has " + std::to_string(view.sizes.size()) + " axes, transposing needs 2",
                       *match.rule);
  }
}

}  // namespace

std::optional<std::vector<std::string>> match_captures(std::string_view pattern,
                                                       std::string_view name) {
  std::vector<std::string> captures;
  const bool fits = pattern.starts_with('*') ? match_deep(pattern.substr(1), name, captures)
                                             : match_rest(pattern, name, captures);
  if (!fits) return std::nullopt;
  return captures;
}

bool matches_pattern(std::string_view pattern, std::string_view name) {
  return match_captures(pattern, name).has_value();
}

std::string fill_pattern(std::string_view pattern, const std::vector<std::string>& captures) {
  std::string filled;
  std::size_t next = 0;
  for (const char c : pattern) {
    if (c == '*' && next < captures.size()) {
      filled += captures[next++];
    } else if (c == '.' && filled.empty()) {
      continue;  // a leading star that stood for nothing
    } else {
      filled += c;
    }
  }
  return filled;
}

std::string strip_prefix(const std::string& name, const std::vector<std::string>& prefixes) {
  std::size_t longest = 0;
  for (const std::string& prefix : prefixes) {
    if (name.size() > prefix.size() && name.starts_with(prefix)) {
      longest = std::max(longest, prefix.size());
    }
  }
  return name.substr(longest);
}

void apply_row_rules(NamedView& named, const CheckpointOptions& options) {
  const std::string_view suffix = module_suffix(named.name);
  const auto module = std::string_view(named.name).substr(0, named.name.size() - suffix.size());
  StoredView& view = named.view;
  for (const HeadPermutation& rule : options.permutations) {
    if (suffix.empty() || !matches_pattern(rule.pattern, module)) continue;
    const WeightView as_view{rule.pattern, "", false, {}, ""};
    const std::int64_t heads = axis_size(as_view, rule.axis, options);
    if (view.group_rows != 0 || view.head_rows != 0) {
      throw wrong_view(as_view, "rows that were split by axis or permuted cannot be permuted");
    }
    if (view.sizes.empty() || view.sizes[0] % (2 * heads) != 0) {
      throw does_not_fit(
          view,
          "does not divide into pairs of rows for " + std::to_string(heads) + " of " + rule.axis,
          as_view);
    }
    view.head_rows = view.sizes[0] / heads;
  }
  for (const WeightOffset& rule : options.offsets) {
    if (suffix == ".weight" && matches_pattern(rule.pattern, module)) {
      view.offset_value += rule.value;
    }
  }
}

std::vector<NamedView> apply_views(const std::string& name, const StoredView& whole,
                                   const CheckpointOptions& options) {
  NamedView current{name, whole};
  std::vector<const WeightView*> done;
  for (;;) {
    const Match match = find_rule(current.name, options, done);
    if (match.rule == nullptr) return {std::move(current)};
    const WeightView& rule = *match.rule;
    done.push_back(&rule);
    const std::string suffix(match.suffix);
    std::string module = current.name.substr(0, current.name.size() - suffix.size());
    if (!rule.rename.empty()) module = fill_pattern(rule.rename, match.captures);
    if (rule.transpose) transpose(match, current.view);
    if (rule.split.empty()) {
      current.name = module + suffix;
      continue;
    }
    const std::vector<StoredView> parts = split_rows(rule, current.view, options);
    std::vector<NamedView> children;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      children.push_back({module + "." + rule.split[i].name + suffix, parts[i]});
    }
    return children;
  }
}

}  // namespace perilune
