// Multiples of a number, digit by digit.
#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "engine/base/error.h"
#include "engine/constrain/json_magnitudes.h"
#include "engine/constrain/json_text.h"

namespace perilune {

namespace {

using Expression = Grammar::Expression;

bool is_zero(const Decimal& number) {
  return number.whole == 0 && number.fraction.empty();
}

/// Multiples of `step` / 10^`places`, by what is left of the digits so far.
class Multiples {
 public:
  Multiples(Grammar& grammar, std::int64_t step, std::size_t places, bool whole)
      : grammar_(grammar), step_(step), places_(places), whole_(whole) {}

  Expression read(const Magnitudes& of) {
    if (of.empty()) return grammar_.nothing();
    if (of.limited) return grammar_.texts(listed(of.least, of.above_least, of.most, of.below_most));
    if (is_zero(of.least)) return longer(0, of.above_least);
    // Those with as many digits as the bound one by one, longer ones by their digits.
    const std::size_t digits = std::to_string(of.least.whole).size();
    std::int64_t end = 1;
    for (std::size_t i = 0; i < digits; ++i) end *= 10;
    return grammar_.choice(
        {grammar_.texts(listed(of.least, of.above_least, {false, end, ""}, true)),
         longer(digits, false)});
  }

 private:
  static constexpr std::size_t kMost = 20000;

  [[noreturn]] static void too_many() {
    throw Error(ErrorCode::length, "json_schema",
                "more than " + std::to_string(kMost) + " multiples, or states to find them by")
        .hint("a coarser step, or bounds that lie closer");
  }

  /// The number times 10^places, and whether digits were cut off.
  std::pair<std::int64_t, bool> scaled(const Decimal& number) const {
    std::int64_t value = number.whole;
    if (number.whole > kGreatest / 100) too_many();
    for (std::size_t i = 0; i < places_; ++i) {
      value = value * 10 + (i < number.fraction.size() ? number.fraction[i] - '0' : 0);
      if (value > kGreatest) too_many();
    }
    return {value, number.fraction.size() > places_};
  }

  std::vector<std::string> listed(const Decimal& least, bool above, const Decimal& most,
                                  bool below) const {
    const auto [low, cut_low] = scaled(least);
    const auto [high, cut_high] = scaled(most);
    const std::int64_t from = (low + ((above || cut_low) ? 1 : 0) + step_ - 1) / step_;
    const std::int64_t to = (high - ((below && !cut_high) ? 1 : 0)) / step_;
    if (to - from >= static_cast<std::int64_t>(kMost)) too_many();
    std::vector<std::string> texts;
    for (std::int64_t i = from; i <= to && high > 0; ++i) texts.push_back(text_of(i * step_));
    if (from == 0 && high == 0 && !below) texts.emplace_back("0");
    return texts;
  }

  std::string text_of(std::int64_t value) const {
    std::string digits = std::to_string(value);
    if (places_ == 0) return digits;
    if (digits.size() <= places_) digits.insert(0, places_ + 1 - digits.size(), '0');
    digits.insert(digits.size() - places_, ".");
    while (digits.back() == '0') digits.pop_back();
    if (digits.back() == '.') digits.pop_back();
    return digits;
  }

  /// All multiples with more than `digits` before the point; without 0 where `above`.
  Expression longer(std::size_t digits, bool above) {
    digits_ = digits;
    above_ = above;
    if (static_cast<std::size_t>(step_) * (digits + places_ + 2) * 2 > kMost) too_many();
    std::vector<Expression> ways;
    if (digits == 0) {
      ways.push_back(grammar_.sequence({grammar_.text("0"), fraction(0, 0, true, true)}));
    }
    for (std::int64_t d = 1; d <= 9; ++d) {
      ways.push_back(grammar_.sequence({digit(d), before(d % step_, 1)}));
    }
    return grammar_.choice(std::move(ways));
  }

  Expression digit(std::int64_t d) {
    return grammar_.text(std::string(1, static_cast<char>('0' + d)));
  }

  /// After `read` digits before the point that leave `rest`.
  Expression before(std::int64_t rest, std::size_t read) {
    read = std::min(read, digits_ + 1);
    const auto [found, fresh] = before_.try_emplace({rest, read}, -1);
    if (!fresh) return grammar_.call(found->second);
    const Grammar::Rule rule = grammar_.add_rule("multiple");
    before_[{rest, read}] = rule;
    std::vector<Expression> ways;
    if (read > digits_) ways.push_back(fraction(rest, 0, false, true));
    for (std::int64_t d = 0; d <= 9; ++d) {
      ways.push_back(grammar_.sequence({digit(d), before((rest * 10 + d) % step_, read + 1)}));
    }
    grammar_.define(rule, grammar_.choice(std::move(ways)));
    return grammar_.call(rule);
  }

  bool ends(std::int64_t rest, std::size_t done, bool zero) const {
    for (std::size_t i = done; i < places_; ++i) rest = rest * 10 % step_;
    return rest == 0 && !(zero && above_);
  }

  /// After `done` digits behind the point; `zero`: all so far were 0; `point`: it is still to come.
  Expression fraction(std::int64_t rest, std::size_t done, bool zero, bool point) {
    std::vector<Expression> ways;
    if (ends(rest, done, zero)) {
      ways.push_back(grammar_.text(""));
      if (point && places_ == 0 && !whole_) ways.push_back(grammar_.text(".0"));
    }
    if (done == places_) return grammar_.choice(std::move(ways));
    const auto [found, fresh] = after_.try_emplace({rest, done, zero}, -1);
    if (fresh) {
      found->second = grammar_.add_rule("multiple");
      std::vector<Expression> digits;
      for (std::int64_t d = 0; d <= 9; ++d) {
        digits.push_back(grammar_.sequence(
            {digit(d), fraction((rest * 10 + d) % step_, done + 1, zero && d == 0, false)}));
      }
      grammar_.define(after_[{rest, done, zero}], grammar_.choice(std::move(digits)));
    }
    const Expression more = grammar_.call(after_[{rest, done, zero}]);
    ways.push_back(point ? grammar_.sequence({grammar_.text("."), more}) : more);
    return grammar_.choice(std::move(ways));
  }

  Grammar& grammar_;
  std::int64_t step_;
  std::size_t places_, digits_ = 0;
  bool whole_, above_ = false;
  std::map<std::pair<std::int64_t, std::size_t>, Grammar::Rule> before_;
  std::map<std::tuple<std::int64_t, std::size_t, bool>, Grammar::Rule> after_;
};

}  // namespace

Grammar::Expression JsonText::multiple(const Decimal& step, const NumberBounds& bounds,
                                       bool whole) {
  std::size_t places = step.fraction.size();
  if (places > 9 || step.whole > 100000) {
    throw Error(ErrorCode::length, "json_schema", "a step of too many digits");
  }
  std::int64_t every = step.whole, unit = 1;
  for (const char digit : step.fraction) {
    every = every * 10 + (digit - '0');
    unit *= 10;
  }
  if (whole) {  // of its multiples those that are whole
    every /= std::gcd(every, unit);
    places = 0;
  }
  const auto [up, down] = by_sign(bounds);
  std::vector<Expression> ways;
  for (const Magnitudes* one : {&up, &down}) {
    const Expression magnitudes = Multiples(grammar_, every, places, whole).read(*one);
    if (grammar_.node(magnitudes).kind == Grammar::Kind::nothing) continue;
    ways.push_back(one == &up ? magnitudes : grammar_.sequence({grammar_.text("-"), magnitudes}));
  }
  return grammar_.choice(std::move(ways));
}

}  // namespace perilune
