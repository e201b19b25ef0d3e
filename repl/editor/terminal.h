// The terminal of standard input and output while a block is edited.
#pragma once

#include <termios.h>

#include <string>

#include "repl/editor/screen.h"

namespace perilune::repl {

enum class Input { bytes, quiet, resized, interrupted, end };

/// Keys arrive one by one, unseen, from begin() to end(). One at a time: it is the process's. A
/// signal that ends the program leaves the terminal as it was.
class Terminal {
 public:
  Terminal();
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  /// False: standard input is no terminal that can be set.
  bool begin();
  void end();
  /// Waits for input; `milliseconds` < 0: as long as it takes.
  Input read(std::string& bytes, int milliseconds);
  void write(const std::string& bytes) const;
  bool coloured() const { return coloured_; }

 private:
  bool coloured_;
  bool begun_ = false;
};

/// Of standard output; 80 by 24 where it does not say.
Size terminal_size();

/// Whether the terminal shows colours and the user has not said NO_COLOR.
bool wants_colour();

/// Whether keys can be edited: both ends are a terminal that moves its cursor.
bool can_edit();

/// The handler of SIGINT while lines are read: one that arrives before the terminal is set for
/// editing drops the line as well.
void note_interrupt(int signal);
/// Whether one was noted; forgets it.
bool take_interrupt();

}  // namespace perilune::repl
