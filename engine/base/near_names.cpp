#include "engine/base/near_names.h"

#include <algorithm>
#include <numeric>

#include "engine/base/brought_words.h"

namespace perilune {

namespace {

constexpr std::size_t kMostListed = 12;

/// Letters and digits alone, small: "maxNewTokens" and "max-new-tokens" are one word.
std::string bare(std::string_view word) {
  std::string out;
  for (const char c : word) {
    if (c >= 'A' && c <= 'Z') {
      out += static_cast<char>(c - 'A' + 'a');
    } else if (c != '_' && c != '-' && c != ' ') {
      out += c;
    }
  }
  return out;
}

/// "MaxTokens", "max-tokens" → "max_tokens"; "torch.float16" → "float16".
std::string as_brought(std::string_view word) {
  if (word.substr(0, 6) == "torch.") word.remove_prefix(6);
  std::string out;
  for (std::size_t i = 0; i < word.size(); ++i) {
    const char c = word[i];
    const bool capital = c >= 'A' && c <= 'Z';
    const bool inner = capital && i > 0 && word[i - 1] >= 'a' && word[i - 1] <= 'z';
    if (inner) out += '_';
    out += capital ? static_cast<char>(c - 'A' + 'a') : c == '-' ? '_' : c;
  }
  return out;
}

const BroughtWord* brought(std::string_view word) {
  const std::string plain = as_brought(word);
  if (const BroughtWord* found = brought_word(plain)) return found;
  return brought_word(bare(word));
}

/// Letters to change, put in, take out or swap with their neighbour.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before, last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, change});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = last;
    last = row;
  }
  return last[b.size()];
}

/// The first of the word's names here that is among the candidates.
std::string by_meaning(std::string_view word, const std::vector<std::string>& candidates) {
  const BroughtWord* found = brought(word);
  if (found == nullptr) return "";
  std::string_view rest = found->names;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(' '), rest.size());
    const std::string_view name = rest.substr(0, end);
    if (std::find(candidates.begin(), candidates.end(), name) != candidates.end()) {
      return std::string(name);
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return "";
}

std::string by_letters(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string small = bare(word);
  std::size_t most = std::max<std::size_t>(2, word.size() / 3);
  if (small.size() <= 3) most = small.size() / 3;  // "add" is not "abs", "f8" not "u8"
  std::size_t best = most + 1;
  std::string found;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > 96) continue;
    if (bare(candidate) == small) return candidate;
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best) {
      best = distance;
      found = candidate;
    }
  }
  return found;
}

/// The only candidate that begins with the word, or has it as one of its parts ("beams"); of
/// several the one that begins all of them ("dev": device, device_map).
std::string by_part(std::string_view word, const std::vector<std::string>& candidates) {
  if (word.size() < 3) return "";
  std::string found;
  for (const std::string& candidate : candidates) {
    const std::string text = "_" + candidate + "_";
    const bool part = text.find("_" + std::string(word) + "_") != std::string::npos;
    if (!part && candidate.rfind(word, 0) != 0) continue;
    if (found.empty() || found.rfind(candidate, 0) == 0) {
      found = candidate;
    } else if (candidate.rfind(found, 0) != 0) {
      return "";
    }
  }
  return found;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string_view short_word = word.substr(0, 64);  // bounds the work on hostile input
  std::string found = by_meaning(short_word, candidates);
  if (!found.empty()) return found;
  const BroughtWord* known = brought(short_word);
  const bool said = known != nullptr && !known->advice.empty();  // better than a like spelling
  if (said) return "";
  found = by_letters(short_word, candidates);
  return found.empty() ? by_part(short_word, candidates) : found;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string found = nearest(word, candidates);
  const BroughtWord* known = brought(word.substr(0, 64));
  std::string said = found.empty() ? "" : "did you mean \"" + found + "\"?";
  if (known != nullptr && !known->advice.empty())
    said.append(said.empty() ? "" : " ") += known->advice;
  return said;
}

std::string unknown_name_hint(std::string_view word, const std::vector<std::string>& known,
                              std::string_view what, std::string_view op) {
  std::string said = did_you_mean(word, known);
  if (!said.empty()) return said;
  if (known.empty()) return "there are no " + std::string(what);
  if (known.size() > kMostListed) {
    return "there are " + std::to_string(known.size()) + " " + std::string(what) +
           ": perilune help " + std::string(op) + " lists them";
  }
  return std::string(what) + " are " + joined(known);
}

}  // namespace perilune
