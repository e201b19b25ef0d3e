#include "engine/serving/outbox.h"

namespace perilune {

void Outbox::put(const RecipientPointer& request, Event event) {
  const std::lock_guard lock(mutex_);
  Mail& mail = request->mail;
  Mail::Item item{std::move(event), {}, all_};
  if (all_) {
    if (order_.size() >= most_) {
      Event oldest;
      const RecipientPointer owner = order_.front();
      take(owner->mail, oldest);
    }
    if (spare_.empty()) {
      order_.push_back(request);
    } else {
      order_.splice(order_.end(), spare_, spare_.begin());
      order_.back() = request;
    }
    item.place = std::prev(order_.end());
  }
  mail.items.push_back(std::move(item));
}

/// The first item of `mail`, out of the order of all too.
bool Outbox::take(Mail& mail, Event& event) {
  if (mail.first == mail.items.size()) return false;
  Mail::Item& item = mail.items[mail.first++];
  event = std::move(item.event);
  if (item.listed) {
    item.place->reset();
    spare_.splice(spare_.begin(), order_, item.place);
  }
  if (mail.first == mail.items.size()) {
    mail.items.clear();
    mail.first = 0;
  }
  return true;
}

bool Outbox::next(RecipientPointer& request, Event& event) {
  const std::lock_guard lock(mutex_);
  if (order_.empty()) return false;
  request = order_.front();
  return take(request->mail, event);
}

bool Outbox::next_of(Recipient& request, Event& event) {
  const std::lock_guard lock(mutex_);
  return take(request.mail, event);
}

void Outbox::forget(Recipient& request) {
  std::list<RecipientPointer>
      gone;  // dies after the lock: it may hold the request's last reference
  const std::lock_guard lock(mutex_);
  for (std::size_t i = request.mail.first; i < request.mail.items.size(); ++i) {
    Mail::Item& item = request.mail.items[i];
    if (!item.listed) continue;
    item.listed = false;
    gone.splice(gone.end(), order_, item.place);
  }
}

void Outbox::close() {
  std::list<RecipientPointer> gone;
  const std::lock_guard lock(mutex_);
  all_ = false;
  gone.swap(order_);
  for (const RecipientPointer& request : gone) {
    for (Mail::Item& item : request->mail.items) item.listed = false;
  }
}

std::size_t Outbox::size() const {
  const std::lock_guard lock(mutex_);
  return order_.size();
}

}  // namespace perilune
