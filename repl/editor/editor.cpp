#include "repl/editor/editor.h"

#include <algorithm>
#include <utility>

#include "repl/editor/text.h"

namespace perilune::repl {
namespace {

constexpr std::size_t kStep = 2;  // of indentation

std::string common_start(const std::vector<std::string>& words) {
  std::string start = words.front();
  for (const std::string& word : words) {
    std::size_t same = 0;
    while (same < start.size() && same < word.size() && start[same] == word[same]) ++same;
    start.resize(same);
  }
  // Not half a character.
  std::size_t whole = 0;
  while (whole < start.size()) {
    const std::size_t next = next_character(words.front(), whole);
    if (next > start.size()) break;
    whole = next;
  }
  start.resize(whole);
  return start;
}

std::size_t indentation_of(std::string_view line) {
  return std::min(line.find_first_not_of(' '), line.size());
}

std::string_view trimmed(std::string_view line) {
  const std::size_t first = line.find_first_not_of(" \t");
  if (first == std::string_view::npos) return "";
  return line.substr(first, line.find_last_not_of(" \t") - first + 1);
}

bool opens_block(std::string_view line) {
  line = trimmed(line);
  for (const char* end : {"then", "do", "else", "repeat", "{", "(", ","}) {
    if (line.ends_with(end)) return *end != ',';
  }
  const std::size_t function = line.rfind("function");
  return function != std::string_view::npos && line.ends_with(")") &&
         line.find("end", function) == std::string_view::npos;
}

bool closes_block(std::string_view line) {
  line = trimmed(line);
  return line == "end" || line == "else" || line == "elseif" || line == "until" || line == "}" ||
         line == ")" || line == "})";
}

}  // namespace

void Editor::start(const std::string& prompt) {
  history_.refresh();
  prompt_ = prompt;
  buffer_.clear();
  hint_.clear();
  hinted_.clear();
  place_ = history_.entries().size();
  draft_.clear();
  search_ = {};
  menu_ = {};
  chosen_ = std::string::npos;
  indented_at_ = std::string::npos;
}

Outcome Editor::press(const Key& key, bool more) {
  if (search_.active) return press_in_search(key, more);
  const bool completing = key.command == Command::complete || key.command == Command::complete_back;
  const bool selected = chosen_ != std::string::npos;
  if (!completing) {
    menu_ = {};
    chosen_ = std::string::npos;
  }
  Outcome outcome = Outcome::edits;
  switch (key.command) {
    case Command::interrupt: return Outcome::interrupted;
    case Command::suspend: return Outcome::suspend;
    case Command::clear_screen: return Outcome::clear_screen;
    case Command::end_or_erase: outcome = press_end(); break;
    case Command::enter:
      // Enter on a chosen word takes the word; the next one runs the block.
      if (!selected) outcome = press_enter(more);
      break;
    case Command::text: press_text(key, more); break;
    case Command::paste: {
      std::string text = key.text;
      while (!text.empty() && text.back() == '\n') text.pop_back();
      buffer_.insert(text);
      break;
    }
    case Command::complete:
    case Command::complete_back: complete(key.command == Command::complete_back); break;
    case Command::search_older:
    case Command::search_newer: begin_search(key.command == Command::search_newer); break;
    default: edit(key.command);
  }
  if (outcome == Outcome::edits && !more) refresh_hint();
  return outcome;
}

Outcome Editor::press_enter(bool more) {
  if (!listener_.finished || listener_.finished(buffer_.text())) return Outcome::line;
  new_line(!more);
  return Outcome::edits;
}

// Ctrl-D: leaves where nothing is typed, drops a block that goes on, else erases.
Outcome Editor::press_end() {
  if (buffer_.text().empty()) return Outcome::end;
  const bool at_end = buffer_.cursor() == buffer_.text().size();
  if (at_end && buffer_.text().find('\n') != std::string::npos) return Outcome::interrupted;
  buffer_.erase_character();
  return Outcome::edits;
}

void Editor::press_text(const Key& key, bool more) {
  buffer_.insert(key.text, true);
  if (!more) dedent();
}

void Editor::new_line(bool indented) {
  const std::size_t start = buffer_.line_start(buffer_.cursor());
  const std::string_view line =
      std::string_view(buffer_.text()).substr(start, buffer_.cursor() - start);
  std::size_t indentation = indentation_of(line);
  if (opens_block(line)) indentation += kStep;
  if (!indented) indentation = 0;
  buffer_.insert("\n" + std::string(indentation, ' '));
  indented_at_ = indentation > 0 ? buffer_.line_start(buffer_.cursor()) : std::string::npos;
}

// `end` goes a step back on a line that Enter has indented, once.
void Editor::dedent() {
  const std::size_t start = buffer_.line_start(buffer_.cursor());
  if (start != indented_at_ || buffer_.cursor() != buffer_.line_end(start)) return;
  const std::string line = buffer_.text().substr(start, buffer_.cursor() - start);
  if (!closes_block(line) || indentation_of(line) < kStep) return;
  const std::size_t cursor = buffer_.cursor() - kStep;
  buffer_.erase(start, start + kStep);
  buffer_.move_to(cursor);
  indented_at_ = std::string::npos;
}

void Editor::edit(Command command) {
  const std::size_t cursor = buffer_.cursor();
  const std::size_t start = buffer_.line_start(cursor);
  const std::size_t end = buffer_.line_end(cursor);
  switch (command) {
    case Command::new_line: new_line(true); break;
    case Command::backspace: buffer_.backspace(); break;
    case Command::erase: buffer_.erase_character(); break;
    case Command::kill_line_end:
      buffer_.kill(cursor, end > cursor ? end : std::min(end + 1, buffer_.text().size()));
      break;
    case Command::kill_line_start:
      buffer_.kill(start < cursor || cursor == 0 ? start : cursor - 1, cursor);
      break;
    case Command::kill_word_left: buffer_.kill(buffer_.word_left(), cursor); break;
    case Command::kill_word_right: buffer_.kill(cursor, buffer_.word_right()); break;
    case Command::yank: buffer_.yank(); break;
    case Command::transpose: buffer_.transpose(); break;
    case Command::undo: buffer_.undo(); break;
    case Command::older: older(); break;
    case Command::newer: newer(); break;
    default: move(command);
  }
}

void Editor::move(Command command) {
  const std::size_t cursor = buffer_.cursor();
  switch (command) {
    case Command::left: buffer_.left(); break;
    case Command::right: buffer_.right(); break;
    case Command::word_left: buffer_.move_to(buffer_.word_left()); break;
    case Command::word_right: buffer_.move_to(buffer_.word_right()); break;
    case Command::line_start: buffer_.move_to(buffer_.line_start(cursor)); break;
    case Command::line_end: buffer_.move_to(buffer_.line_end(cursor)); break;
    case Command::text_start: buffer_.move_to(0); break;
    case Command::text_end: buffer_.move_to(buffer_.text().size()); break;
    case Command::up:
      if (!buffer_.up()) older();
      break;
    case Command::down:
      if (!buffer_.down()) newer();
      break;
    default: buffer_.end_run();
  }
}

// ---------------------------------------------------------------- completion

void Editor::complete(bool back) {
  const std::size_t cursor = buffer_.cursor();
  if (!menu_.words.empty()) {
    const std::size_t count = menu_.words.size();
    const std::size_t first = back ? count - 1 : 0;
    choose(chosen_ == std::string::npos ? first : (chosen_ + (back ? count - 1 : 1)) % count);
    return;
  }
  const std::size_t start = buffer_.line_start(cursor);
  const std::string before = buffer_.text().substr(0, cursor);
  if (trimmed(std::string_view(before).substr(start)).empty()) {  // indentation
    if (!back) buffer_.insert(std::string(kStep, ' '));
    return;
  }
  if (!listener_.complete) return;
  const Completion found = listener_.complete(before);
  if (found.words.empty() || found.start > cursor) return;
  const std::string typed = before.substr(found.start);
  std::string text = common_start(found.words);
  if (text.compare(0, typed.size(), typed) != 0) text = typed;
  const bool single = found.words.size() == 1;
  if (single) text = found.words.front() + found.suffix;
  if (text != typed) {
    buffer_.erase(found.start, cursor);
    buffer_.insert(text);
  }
  if (single || text.size() > typed.size()) return;
  menu_ = found;
  menu_end_ = cursor;
}

void Editor::choose(std::size_t word) {
  chosen_ = word;
  buffer_.erase(menu_.start, menu_end_);
  buffer_.move_to(menu_.start);
  buffer_.insert(menu_.words[word]);
  menu_end_ = buffer_.cursor();
}

void Editor::refresh_hint() {
  if (!listener_.hint) return;
  const std::string before = buffer_.text().substr(0, buffer_.cursor());
  if (before == hinted_) return;
  hinted_ = before;
  hint_ = listener_.hint(before);
}

// ---------------------------------------------------------------- history

void Editor::recall(std::size_t entry) {
  place_ = entry;
  buffer_.replace(entry < history_.entries().size() ? history_.entries()[entry].text : draft_);
}

// The entry before that starts as what was typed, and is not what stands there.
void Editor::older() {
  const auto& entries = history_.entries();
  if (place_ >= entries.size()) draft_ = buffer_.text();
  for (std::size_t i = std::min(place_, entries.size()); i-- > 0;) {
    if (entries[i].elsewhere || entries[i].text.compare(0, draft_.size(), draft_) != 0) continue;
    if (entries[i].text == buffer_.text()) continue;
    return recall(i);
  }
}

void Editor::newer() {
  const auto& entries = history_.entries();
  if (place_ >= entries.size()) return;
  for (std::size_t i = place_ + 1; i < entries.size(); ++i) {
    if (entries[i].elsewhere || entries[i].text.compare(0, draft_.size(), draft_) != 0) continue;
    if (entries[i].text == buffer_.text()) continue;
    return recall(i);
  }
  recall(entries.size());
}

void Editor::begin_search(bool newer) {
  history_.refresh();
  place_ = std::max(place_, history_.entries().size());
  search_ = {};
  search_.active = true;
  search_.text = buffer_.text();
  search_.cursor = buffer_.cursor();
  search_.entry = newer ? 0 : history_.entries().size();
}

// Looks from `from` on, that one included. What is found becomes the text.
bool Editor::find(std::size_t from, bool newer) {
  const auto& entries = history_.entries();
  for (std::size_t i = from; i < entries.size(); newer ? ++i : --i) {
    const std::size_t at = entries[i].text.rfind(search_.query);
    if (at != std::string::npos && entries[i].text != buffer_.text()) {
      search_.entry = i;
      search_.at = at;
      search_.failed = false;
      buffer_.replace(entries[i].text, at);
      return true;
    }
    if (i == 0 && !newer) break;
  }
  return false;
}

void Editor::end_search(bool keep) {
  search_.active = false;
  if (!keep)
    buffer_.replace(search_.text, search_.cursor);
  else if (search_.entry < history_.entries().size())
    place_ = search_.entry;
  draft_.clear();
}

Outcome Editor::press_in_search(const Key& key, bool more) {
  const std::size_t newest = history_.entries().size() - 1;  // wraps where there is none: not found
  switch (key.command) {
    case Command::text:
    case Command::paste: {
      search_.query += key.text;
      const bool here = search_.entry <= newest && newest != std::string::npos &&
                        history_.entries()[search_.entry].text == buffer_.text() &&
                        buffer_.text().find(search_.query) != std::string::npos;
      if (here) {
        search_.at = buffer_.text().rfind(search_.query);
        buffer_.move_to(search_.at);
      } else {
        search_.failed = !find(std::min(search_.entry, newest), false);
      }
      return Outcome::edits;
    }
    case Command::backspace:
      if (!search_.query.empty()) {
        search_.query.resize(previous_character(search_.query, search_.query.size()));
      }
      buffer_.replace(search_.text, search_.cursor);
      search_.entry = history_.entries().size();
      search_.failed = !search_.query.empty() && !find(newest, false);
      return Outcome::edits;
    case Command::search_older:
      search_.failed =
          search_.query.empty() ? false : !find(std::min(search_.entry, newest + 1) - 1, false);
      return Outcome::edits;
    case Command::search_newer:
      search_.failed = search_.query.empty() ? false : !find(search_.entry + 1, true);
      return Outcome::edits;
    case Command::cancel:
    case Command::interrupt: end_search(false); return Outcome::edits;
    default: end_search(true); return press(key, more);
  }
}

// ---------------------------------------------------------------- what is seen

View Editor::view(bool done) const {
  View view{prompt_, buffer_.text(),   styles_of(buffer_.text()), buffer_.cursor(), "",
            {},      std::string::npos};
  if (done) {
    view.cursor = view.text.size();
    return view;
  }
  if (search_.active) {
    view.prompt =
        std::string(search_.failed ? "(not found)" : "(search)") + " '" + search_.query + "': ";
    const bool found =
        !search_.failed && view.text.compare(view.cursor, search_.query.size(), search_.query) == 0;
    for (std::size_t i = 0; found && i < search_.query.size(); ++i) {
      view.styles[view.cursor + i] = Style::match;
    }
    return view;
  }
  const auto [bracket, partner] = matching_brackets(view.text, view.styles, view.cursor);
  if (bracket != std::string::npos) {
    const bool closing = std::string_view(")]}").find(view.text[bracket]) != std::string_view::npos;
    if (partner != std::string::npos) {
      view.styles[bracket] = view.styles[partner] = Style::match;
    } else if (closing) {  // an opening one may yet get its partner
      view.styles[bracket] = Style::wrong;
    }
  }
  view.hint = hint_;
  view.words = menu_.words;
  view.chosen = chosen_;
  return view;
}

}  // namespace perilune::repl
