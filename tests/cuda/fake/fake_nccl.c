/* NCCL (libnccl.so.2) for ranks whose GPUs are fake ones (fake_gpu.h): their memory is the host's, so that parts go by way of
 * shared memory. FAKE_NCCL=refuse: ranks do not come together; FAKE_NCCL=fail: the third gather fails. */
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { success = 0, system_error = 2, invalid_usage = 5, most_ranks = 8, room = 1 << 20 };

typedef struct { char bytes[128]; } unique_id;

struct shared {
  atomic_int arrived, turn;
  unsigned char parts[most_ranks][room];
};

struct communicator {
  struct shared* shared;
  int ranks, rank, calls;
  char name[128];
};

static int asked(const char* what) {
  const char* value = getenv("FAKE_NCCL");
  return value != NULL && strcmp(value, what) == 0;
}

/* All ranks come here before one goes on; some seconds at most. */
static int meet(struct communicator* with) {
  struct shared* shared = with->shared;
  const int turn = atomic_load(&shared->turn);
  if (atomic_fetch_add(&shared->arrived, 1) + 1 == with->ranks) {
    atomic_store(&shared->arrived, 0);
    atomic_fetch_add(&shared->turn, 1);
    return success;
  }
  const time_t until = time(NULL) + 30;
  while (atomic_load(&shared->turn) == turn) {
    if (time(NULL) > until) return system_error;
    sched_yield();
  }
  return success;
}

int ncclGetVersion(int* version) { return *version = 29999, success; }

const char* ncclGetErrorString(int status) { return status == invalid_usage ? "invalid usage" : "a fault that was planned"; }

int ncclGetUniqueId(unique_id* id) {
  static int made = 0;
  snprintf(id->bytes, sizeof id->bytes, "/perilune-fake-nccl-%d-%d", (int)getpid(), ++made);
  return success;
}

int ncclCommInitRank(void** out, int ranks, unique_id id, int rank) {
  if (asked("refuse") || ranks > most_ranks) return invalid_usage;
  struct communicator* made = calloc(1, sizeof *made);
  made->ranks = ranks, made->rank = rank;
  memcpy(made->name, id.bytes, sizeof made->name);
  const int file = shm_open(made->name, O_CREAT | O_RDWR, 0600);
  if (file < 0 || ftruncate(file, sizeof(struct shared)) != 0) return system_error;
  made->shared = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (made->shared == MAP_FAILED) return system_error;
  *out = made;
  const int status = meet(made);
  shm_unlink(made->name); /* all have it open */
  return status;
}

int ncclAllGather(const void* part, void* all, size_t count, int type, void* communicator, void* stream) {
  struct communicator* with = communicator;
  (void)stream;
  if (type != 1) return invalid_usage;
  if (asked("fail") && ++with->calls == 3) return system_error;
  for (size_t at = 0; at < count; at += room) {
    const size_t bytes = count - at < room ? count - at : room;
    memcpy(with->shared->parts[with->rank], (const char*)part + at, bytes);
    int status = meet(with);
    if (status != success) return status;
    for (int r = 0; r < with->ranks; ++r) memcpy((char*)all + (size_t)r * count + at, with->shared->parts[r], bytes);
    status = meet(with);
    if (status != success) return status;
  }
  return success;
}

int ncclCommDestroy(void* communicator) {
  struct communicator* with = communicator;
  munmap(with->shared, sizeof(struct shared));
  free(with);
  return success;
}

int ncclCommAbort(void* communicator) { return ncclCommDestroy(communicator); }
