// Numbers between bounds, digit by digit.
#include <algorithm>

#include "engine/constrain/json_magnitudes.h"
#include "engine/constrain/json_text.h"

namespace perilune {

namespace {

using Expression = Grammar::Expression;
constexpr std::size_t kMostDigits = 18;
constexpr std::int64_t kMostFraction = 17, kMostExponent = 2;

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

/// What may stand after the point of numbers whose whole part is that of a bound: a lower one, an
/// upper one, or both.
class Fractions {
 public:
  Fractions(Grammar& grammar, const std::string* low, bool above, const std::string* high,
            bool below)
      : grammar_(grammar),
        above_(above),
        below_(below),
        low_here_(low != nullptr),
        high_here_(high != nullptr) {
    if (low != nullptr) low_ = *low;
    if (high != nullptr) high_ = *high;
    digits_ = std::max(low_.size(), high_.size());
    low_.resize(digits_, '0');
    high_.resize(digits_, '0');
  }

  /// With the point, or nothing where that is one, too.
  Expression read() {
    std::vector<Expression> ways;
    if (may_end(0, low_here_, high_here_)) ways.push_back(grammar_.text(""));
    const Expression more = from(0, low_here_, high_here_, false);
    if (grammar_.node(more).kind != Grammar::Kind::nothing) {
      ways.push_back(grammar_.sequence({grammar_.text("."), more}));
    }
    return grammar_.choice(std::move(ways));
  }

 private:
  static bool zeros(const std::string& digits, std::size_t from) {
    return digits.find_first_not_of('0', from) == std::string::npos;
  }
  bool may_end(std::size_t at, bool low, bool high) const {
    return !(low && (above_ || !zeros(low_, at))) && !(high && below_ && zeros(high_, at));
  }
  Expression digit(char first, char last) { return Digits(grammar_).between(first, last); }
  Expression any(std::size_t done, std::int64_t least) {
    const auto left = kMostFraction - static_cast<std::int64_t>(done);
    return grammar_.repeat(digit('0', '9'), least, std::max(left, least));
  }
  /// After all digits of the bounds.
  Expression behind(bool low, bool high, bool ends) {
    const std::int64_t least = ends ? 0 : 1;
    if (high && (below_ || (low && above_))) return grammar_.nothing();
    if (high) return grammar_.repeat(digit('0', '0'), least, 9);
    if (!low || !above_) return any(digits_, least);
    return grammar_.sequence(
        {grammar_.repeat(digit('0', '0'), 0, 8), digit('1', '9'), any(digits_ + 9, 0)});
  }
  /// The digits from `at` on; `low`, `high`: those before are the bound's own.
  Expression from(std::size_t at, bool low, bool high, bool ends) {
    if (at == digits_) return behind(low, high, ends);
    std::vector<Expression> ways;
    if (ends && may_end(at, low, high)) ways.push_back(grammar_.text(""));
    const char first = low ? low_[at] : '0', last = high ? high_[at] : '9';
    const bool both = low && high && first == last;
    const auto add = [&](char from_digit, char to_digit, Expression rest) {
      if (from_digit > to_digit || grammar_.node(rest).kind == Grammar::Kind::nothing) return;
      ways.push_back(grammar_.sequence({digit(from_digit, to_digit), rest}));
    };
    if (first > last) return grammar_.choice(std::move(ways));
    if (low) add(first, first, from(at + 1, true, both, true));
    if (high && !both) add(last, last, from(at + 1, false, true, true));
    const char inner_first = low ? static_cast<char>(first + 1) : first;
    const char inner_last = high ? static_cast<char>(last - 1) : last;
    if (!both) add(inner_first, inner_last, any(at + 1, 0));
    return grammar_.choice(std::move(ways));
  }

  Grammar& grammar_;
  bool above_, below_, low_here_, high_here_;
  std::size_t digits_ = 0;
  std::string low_, high_;
};

Expression any_fraction(Grammar& grammar) {
  return Fractions(grammar, nullptr, false, nullptr, false).read();
}

Expression magnitude(Grammar& grammar, const Magnitudes& of) {
  Digits digits(grammar);
  std::vector<Expression> ways;
  const auto add = [&](std::int64_t whole, Expression fraction) {
    if (grammar.node(fraction).kind == Grammar::Kind::nothing) return;
    ways.push_back(grammar.sequence({grammar.text(std::to_string(whole)), fraction}));
  };
  const std::string *low = &of.least.fraction, *high = &of.most.fraction;
  if (of.least.whole == of.most.whole) {
    add(of.least.whole, Fractions(grammar, low, of.above_least, high, of.below_most).read());
    return grammar.choice(std::move(ways));
  }
  add(of.least.whole, Fractions(grammar, low, of.above_least, nullptr, false).read());
  if (of.least.whole + 1 < of.most.whole) {
    ways.push_back(grammar.sequence(
        {digits.whole(of.least.whole + 1, of.most.whole - 1), any_fraction(grammar)}));
  }
  add(of.most.whole, Fractions(grammar, nullptr, false, high, of.below_most).read());
  return grammar.choice(std::move(ways));
}

/// Whole numbers inside: those that a fraction of a bound leaves.
std::pair<std::int64_t, std::int64_t> whole_range(const Magnitudes& of) {
  const bool up = !of.least.fraction.empty() || of.above_least;
  const bool down = of.most.fraction.empty() && of.below_most;
  return {of.least.whole + (up ? 1 : 0), of.most.whole - (down ? 1 : 0)};
}

Decimal unsigned_of(Decimal number) {
  number.negative = false;
  if (number.whole > kGreatest) number = {false, kGreatest, ""};
  return number;
}

}  // namespace

std::pair<Magnitudes, Magnitudes> by_sign(const NumberBounds& bounds) {
  Magnitudes up, down;
  down.above_least = true;  // -0 is 0
  if (bounds.least && !bounds.least->negative) {
    up.least = unsigned_of(*bounds.least);
    up.above_least = bounds.above_least;
    down.none = true;
  } else if (bounds.least) {
    down.most = unsigned_of(*bounds.least);
    down.below_most = bounds.above_least;
    down.limited = true;
  }
  if (bounds.most && bounds.most->negative) {
    up.none = true;
    down.least = unsigned_of(*bounds.most);
    down.above_least = bounds.below_most;
  } else if (bounds.most) {
    up.most = unsigned_of(*bounds.most);
    up.below_most = bounds.below_most;
    up.limited = true;
  }
  return {up, down};
}

Grammar::Expression JsonText::integer(const NumberBounds& bounds) {
  Digits digits(grammar_);
  const auto [up, down] = by_sign(bounds);
  std::vector<Expression> ways;
  for (const Magnitudes* one : {&up, &down}) {
    const auto [low, high] = whole_range(*one);
    if (one->none || low > high) continue;
    const Expression magnitudes = digits.whole(low, high);
    ways.push_back(one == &up ? magnitudes : grammar_.sequence({grammar_.text("-"), magnitudes}));
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
         any_fraction(grammar_), grammar_.optional(exponent)});
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
