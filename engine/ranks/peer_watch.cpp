#include "engine/ranks/peer_watch.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace perilune {

Peer Peer::own() {
  Peer peer;
  peer.process = static_cast<int>(getpid());
  gethostname(peer.host, sizeof peer.host - 1);
  return peer;
}

PeerWatch::PeerWatch(const std::vector<Peer>& peers, int own) {
  for (std::size_t r = 0; r < peers.size(); ++r) {
    const Peer& peer = peers[r];
    const bool here = std::strcmp(peer.host, peers[static_cast<std::size_t>(own)].host) == 0;
    if (static_cast<int>(r) == own || !here) continue;
    // Linux 5.3; without it nobody is watched.
    const auto descriptor = static_cast<int>(syscall(SYS_pidfd_open, peer.process, 0));
    if (descriptor >= 0) watched_.push_back({static_cast<int>(r), peer.process, descriptor});
  }
}

PeerWatch::~PeerWatch() {
  for (const Watched& peer : watched_) close(peer.descriptor);
}

std::string PeerWatch::dead() const {
  for (const Watched& peer : watched_) {
    pollfd one{peer.descriptor, POLLIN, 0};
    if (poll(&one, 1, 0) != 1) continue;
    return "rank " + std::to_string(peer.rank) + " (process " + std::to_string(peer.process) +
           ") has died";
  }
  return "";
}

}  // namespace perilune
