// What happened to requests, on its way to whoever asks: each event is delivered once, to one who
// asks for all or to one who asks for a request's own. Any thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace perilune {

struct Recipient;
using RecipientPointer = std::shared_ptr<Recipient>;

enum class EventKind { token, done, error, warning };
/// One thing that happened to a request. token: `id` (-1 for text that was held back until a
/// request was cancelled or failed) and the text it released, which may be empty; a request's token
/// texts joined are its sequence's text. error, warning: `text` is the message. done: `text` is the
/// finish reason; always a request's last event.
struct Event {
  std::uint64_t request = 0;
  EventKind kind = EventKind::token;
  std::int32_t id = -1;
  std::string text;
  std::uint64_t output_index = 0;
};

/// Undelivered events of one request; belongs to the Outbox, which locks it.
struct Mail {
  using Place = std::list<RecipientPointer>::iterator;
  struct Item {
    Event event;
    Place place;  // in the order of all; where `listed`
    bool listed = false;
  };
  std::vector<Item> items;
  std::size_t first = 0;  // items before it were delivered
};

class Outbox;

/// What events happen to: a request.
struct Recipient {
  std::shared_ptr<Outbox> outbox;  // where its events wait; null before submission
  Mail mail;                       // the outbox's
};

class Outbox {
 public:
  /// Events beyond this many undelivered ones push the oldest out.
  static constexpr std::size_t kMost = std::size_t{1} << 20;

  /// `all`: next() will be asked; else events lie with their requests alone.
  explicit Outbox(bool all, std::size_t most = kMost) : all_(all), most_(most) {}
  void put(const RecipientPointer& request, Event event);
  /// The oldest event of any request. False: there is none.
  bool next(RecipientPointer& request, Event& event);
  /// The oldest event of this one.
  bool next_of(Recipient& request, Event& event);
  /// A finished request's result was read: next() gives nothing more of it, and it is let go.
  void forget(Recipient& request);
  /// Nobody will ask for all any more: events lie with their requests alone, which are let go.
  void close();
  /// Undelivered ones that next() would give.
  std::size_t size() const;

 private:
  bool take(Mail& mail, Event& event);

  mutable std::mutex mutex_;
  bool all_;
  std::size_t most_;
  std::list<RecipientPointer> order_,
      spare_;  // one entry an event, oldest first; nodes to use again
};

}  // namespace perilune
