// Whether the other ranks' processes are alive, asked of the system: a library that waits for a
// dead one waits for ever, or until somebody ends it.
#pragma once

#include <string>
#include <vector>

namespace perilune {

/// A rank's process, as it tells the others.
struct Peer {
  int process = 0;
  char host[128] = "";

  static Peer own();
};

/// Watches those that run on this machine; what is elsewhere is mpirun's to see.
class PeerWatch {
 public:
  /// `peers` by rank; `own` is left out.
  PeerWatch(const std::vector<Peer>& peers, int own);
  ~PeerWatch();
  PeerWatch(const PeerWatch&) = delete;
  PeerWatch& operator=(const PeerWatch&) = delete;

  /// "rank 2 (process 4711) has died", or "".
  std::string dead() const;

 private:
  struct Watched {
    int rank, process, descriptor;
  };
  std::vector<Watched> watched_;
};

}  // namespace perilune
