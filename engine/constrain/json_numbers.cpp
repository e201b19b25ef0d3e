// Numbers between bounds, digit by digit.
#include <algorithm>

#include "engine/constrain/json_text.h"

namespace perilune {

namespace {

using Expression = Grammar::Expression;
constexpr std::size_t kMostDigits = 18;
constexpr std::int64_t kMostFraction = 17, kMostExponent = 2;
constexpr std::int64_t kGreatest = 999'999'999'999'999'999;

class Digits {
 public:
  explicit Digits(Grammar& grammar) : grammar_(grammar) {}

  Expression any(std::size_t count) {
    const auto times = static_cast<std::int64_t>(count);
    return grammar_.repeat(between('0', '9'), times, times);
  }
  Expression between(char low, char high) {
    return grammar_.characters({{static_cast<char32_t>(low), static_cast<char32_t>(high)}});
  }

  /// Numbers of as many digits as both have, from `low` to `high`.
  Expression range(const std::string& low, const std::string& high, std::size_t at = 0) {
    if (at == low.size()) return grammar_.text("");
    const std::size_t rest = low.size() - at - 1;
    if (low[at] == high[at]) {
      return grammar_.sequence({between(low[at], low[at]), range(low, high, at + 1)});
    }
    std::vector<Expression> ways{
        grammar_.sequence({between(low[at], low[at]), at_least(low, at + 1)}),
        grammar_.sequence({between(high[at], high[at]), at_most(high, at + 1)})};
    if (high[at] - low[at] > 1) {
      ways.push_back(grammar_.sequence(
          {between(static_cast<char>(low[at] + 1), static_cast<char>(high[at] - 1)), any(rest)}));
    }
    return grammar_.choice(std::move(ways));
  }

  /// Numbers from `low` to `high`, 0 or more, without leading zeros.
  Expression whole(std::int64_t low, std::int64_t high) {
    if (low > high) return grammar_.nothing();
    const std::string first = std::to_string(low), last = std::to_string(high);
    std::vector<Expression> ways;
    for (std::size_t length = first.size(); length <= last.size(); ++length) {
      const std::string from = length == first.size() ? first : "1" + std::string(length - 1, '0');
      const std::string to = length == last.size() ? last : std::string(length, '9');
      ways.push_back(range(from, to));
    }
    return grammar_.choice(std::move(ways));
  }

 private:
  Expression at_least(const std::string& low, std::size_t at) {
    if (at == low.size()) return grammar_.text("");
    std::vector<Expression> ways{
        grammar_.sequence({between(low[at], low[at]), at_least(low, at + 1)})};
    if (low[at] < '9') {
      ways.push_back(grammar_.sequence(
          {between(static_cast<char>(low[at] + 1), '9'), any(low.size() - at - 1)}));
    }
    return grammar_.choice(std::move(ways));
  }
  Expression at_most(const std::string& high, std::size_t at) {
    if (at == high.size()) return grammar_.text("");
    std::vector<Expression> ways{
        grammar_.sequence({between(high[at], high[at]), at_most(high, at + 1)})};
    if (high[at] > '0') {
      ways.push_back(grammar_.sequence(
          {between('0', static_cast<char>(high[at] - 1)), any(high.size() - at - 1)}));
    }
    return grammar_.choice(std::move(ways));
  }

  Grammar& grammar_;
};

/// Bounds of one sign: 0 <= least <= most.
struct Magnitudes {
  std::int64_t least = 0, most = kGreatest;
  bool above_least = false, below_most = false;
  bool empty() const { return least > most || (least == most && (above_least || below_most)); }
};

/// A fraction, of which at least one digit is not 0 where `some`.
Expression fraction(Grammar& grammar, bool some) {
  Digits digits(grammar);
  const Expression any = digits.between('0', '9');
  if (!some) {
    return grammar.optional(
        grammar.sequence({grammar.text("."), grammar.repeat(any, 1, kMostFraction)}));
  }
  return grammar.sequence({grammar.text("."), grammar.repeat(grammar.text("0"), 0, 8),
                           digits.between('1', '9'), grammar.repeat(any, 0, 8)});
}

Expression magnitude(Grammar& grammar, const Magnitudes& of) {
  Digits digits(grammar);
  std::vector<Expression> ways;
  const Expression zeros = grammar.optional(grammar.text(".0"));
  const std::string least = std::to_string(of.least), most = std::to_string(of.most);
  if (of.least < of.most) {
    ways.push_back(grammar.sequence({grammar.text(least), fraction(grammar, of.above_least)}));
    if (of.least + 1 < of.most) {
      ways.push_back(
          grammar.sequence({digits.whole(of.least + 1, of.most - 1), fraction(grammar, false)}));
    }
  }
  if (!of.below_most && !(of.least == of.most && of.above_least)) {
    ways.push_back(grammar.sequence({grammar.text(most), zeros}));
  }
  return grammar.choice(std::move(ways));
}

/// The bounds of what is 0 or more, and of what is below with its sign off.
std::pair<Magnitudes, Magnitudes> by_sign(const NumberBounds& bounds) {
  Magnitudes up, down;
  if (bounds.least) {
    up.above_least = *bounds.least == 0 && bounds.above_least;
    if (*bounds.least > 0) {
      up.least = *bounds.least;
      up.above_least = bounds.above_least;
    }
    if (*bounds.least >= 0) {
      down.most = -1;
    } else {
      down.most = std::min(kGreatest, -std::max(*bounds.least, -kGreatest));
      down.below_most = bounds.above_least;
    }
  }
  if (bounds.most) {
    if (*bounds.most < 0) {
      up.most = -1;
      down.least = -std::max(*bounds.most, -kGreatest);
      down.above_least = bounds.below_most;
    } else {
      up.most = std::min(*bounds.most, kGreatest);
      up.below_most = bounds.below_most;
      down.above_least = true;  // -0 is 0
    }
  } else {
    down.above_least = true;
  }
  return {up, down};
}

}  // namespace

Grammar::Expression JsonText::integer(const NumberBounds& bounds) {
  Digits digits(grammar_);
  auto [up, down] = by_sign(bounds);
  for (Magnitudes* one : {&up, &down}) {
    if (one->above_least) ++one->least;
    if (one->below_most) --one->most;
  }
  std::vector<Expression> ways;
  if (up.least <= up.most) ways.push_back(digits.whole(up.least, up.most));
  if (down.least <= down.most) {
    ways.push_back(grammar_.sequence({grammar_.text("-"), digits.whole(down.least, down.most)}));
  }
  return grammar_.choice(std::move(ways));
}

Grammar::Expression JsonText::number(const NumberBounds& bounds) {
  Digits digits(grammar_);
  if (!bounds.least && !bounds.most) {
    const Expression exponent =
        grammar_.sequence({grammar_.characters({{'E', 'E'}, {'e', 'e'}}),
                           grammar_.optional(grammar_.characters({{'+', '+'}, {'-', '-'}})),
                           grammar_.repeat(digits.between('0', '9'), 1, kMostExponent)});
    return grammar_.sequence(
        {grammar_.optional(grammar_.text("-")),
         grammar_.choice(
             {grammar_.text("0"),
              grammar_.sequence({digits.between('1', '9'),
                                 grammar_.repeat(digits.between('0', '9'), 0,
                                                 static_cast<std::int64_t>(kMostDigits) - 1)})}),
         fraction(grammar_, false), grammar_.optional(exponent)});
  }
  const auto [up, down] = by_sign(bounds);
  std::vector<Expression> ways;
  if (!up.empty()) ways.push_back(magnitude(grammar_, up));
  if (!down.empty()) {
    ways.push_back(grammar_.sequence({grammar_.text("-"), magnitude(grammar_, down)}));
  }
  return grammar_.choice(std::move(ways));
}

}  // namespace perilune
