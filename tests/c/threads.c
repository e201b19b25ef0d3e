/* Two threads call one instance at random while a third cancels; another instance works beside. After all of it
 * the answer is the one from before, to the byte. PERILUNE_CALLS: how many calls a thread makes,
 * PERILUNE_CANCELS: how many answers and scripts are cancelled first. */
#include <pthread.h>
#include <time.h>

#include "check.h"

static pl_instance instance;
static pl_model model, small; /* of cancels and answers, of random calls */
static _Atomic int over;
static long calls_left = 3000;

static const char* options = "{\"max_new_tokens\": 12, \"do_sample\": false}";

static unsigned next_random(unsigned* state) { return (*state = *state * 1664525u + 1013904223u) >> 8; }

static void answer(char* text) {
  pl_prompt prompt = {sizeof prompt};
  pl_request request = 0;
  prompt.text = "Once upon a time", prompt.options = options;
  STATUS(PL_OK, pl_generate(model, &prompt, &request));
  STATUS(PL_OK, pl_request_text(request, text, 200, NULL));
  STATUS(PL_OK, pl_release(request));
}

/* Only what cancelling may do comes back. */
static void expect(pl_status status, pl_status also) {
  if (status != PL_OK && status != PL_ERROR_CANCELLED && status != also) {
    char text[300] = "";
    pl_error_text(instance, text, sizeof text, NULL);
    printf("FAILED: %s: %s\n", pl_status_text(status), text);
    ++failures;
  }
}

static void* callers(void* data) {
  unsigned state = *(unsigned*)data;
  pl_prompt prompt = {sizeof prompt};
  prompt.text = "The", prompt.options = options;
  pl_request held = 0;
  char text[200], piece[100];
  for (long i = 0; i < calls_left; ++i) {
    pl_event event = {sizeof event};
    event.text = piece, event.capacity = sizeof piece;
    pl_result result = {sizeof result};
    int32_t ids[32];
    /* Mostly the quick ones: of 256 calls 10 step, 2 ask anew, and now and then everything is collected. */
    const unsigned choice = next_random(&state) % 256;
    if (choice < 2) {
      expect(pl_release(held), PL_OK), held = 0, expect(pl_submit(small, &prompt, &held), PL_OK);
    } else if (choice < 12) {
      expect(pl_step(instance, next_random(&state) % 3, NULL), PL_OK);
    } else if (choice < 16) {
      expect(pl_encode(small, "Once", 4, NULL, ids, 32, NULL), PL_OK);
    } else if (choice < 17) {
      expect(pl_run(instance, next_random(&state) % 16 == 0 ? "collectgarbage()" : "collectgarbage 'step'", 0, NULL), PL_OK);
    } else if (choice < 18) {
      expect(pl_request_cancel(held), PL_ERROR_HANDLE);
    } else if (choice < 110) {
      expect(pl_request_text(held, text, sizeof text, NULL), PL_ERROR_HANDLE);
    } else if (choice < 180) {
      expect(pl_request_result(held, &result), PL_ERROR_HANDLE);
    } else {
      expect(pl_next_event(instance, &event), PL_EMPTY);
    }
  }
  expect(pl_release(held), PL_OK);
  return NULL;
}

static void* cancelling(void* data) {
  unsigned state = *(unsigned*)data;
  while (!over) {
    const struct timespec pause = {0, (long)(next_random(&state) % 20000000)};
    nanosleep(&pause, NULL);
    if (pl_cancel(instance) != PL_OK) ++failures;
  }
  return NULL;
}

static void* another(void* data) {
  (void)data;
  pl_instance own = 0;
  pl_model tales = 0;
  while (!over) {
    if (pl_open(NULL, &own) != PL_OK || pl_load(own, TALES, NULL, &tales) != PL_OK || pl_close(own) != PL_OK) ++failures;
  }
  return NULL;
}

/* A long answer and an endless script end soon after a cancel, and what comes next is right. */
static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static _Atomic double cancelled_at;
static _Atomic int cancelled;
static void* cancel_later(void* data) {
  const struct timespec pause = {0, *(long*)data};
  nanosleep(&pause, NULL);
  cancelled_at = seconds();
  while (!cancelled) { /* one that comes before the call does nothing */
    const struct timespec moment = {0, 2000000};
    pl_cancel(instance);
    nanosleep(&moment, NULL);
  }
  return NULL;
}

static int by_value(const void* a, const void* b) { return (*(const double*)a > *(const double*)b) - (*(const double*)a < *(const double*)b); }

static void cancels_in_time(const char* before) {
  const int cancels = getenv("PERILUNE_CANCELS") ? atoi(getenv("PERILUNE_CANCELS")) : 12;
  double* waits = calloc((size_t)cancels, sizeof *waits);
  int counted = 0;
  unsigned state = 7;
  for (int i = 0; i < cancels; ++i) {
    long wait = (long)(next_random(&state) % 30000000);
    pthread_t thread;
    pthread_create(&thread, NULL, cancel_later, &wait);
    pl_status status;
    cancelled = 0;
    if (i % 3 == 0) {
      status = pl_run(instance, "while true do pcall(function() while true do end end) end", 0, "endless");
    } else {
      pl_prompt prompt = {sizeof prompt};
      pl_request request = 0;
      prompt.text = "The", prompt.options = "{\"max_new_tokens\": 400}";
      if (i % 3 == 1) prompt.options = "{\"max_new_tokens\": 400}";
      do {
        status = pl_generate(model, &prompt, &request);
        pl_release(request);
        if (i % 3 == 2) break;
      } while (status == PL_OK);
    }
    const double took = seconds() - cancelled_at;
    cancelled = 1;
    pthread_join(thread, NULL);
    if (i % 3 != 2) CHECK(status == PL_ERROR_CANCELLED);
    if (i % 3 != 2) waits[counted++] = took;
    char after[200];
    answer(after);
    CHECK(strcmp(before, after) == 0);
  }
  qsort(waits, (size_t)counted, sizeof *waits, by_value);
  printf("%d cancelled: half within %.1f ms, 99 of 100 within %.1f ms, all within %.1f ms\n", counted, waits[counted / 2] * 1e3,
         waits[counted * 99 / 100] * 1e3, waits[counted - 1] * 1e3);
  CHECK(waits[counted - 1] < 2);
  free(waits);
}

int main(void) {
  if (getenv("PERILUNE_CALLS")) calls_left = atol(getenv("PERILUNE_CALLS"));
  CHECK(pl_open(NULL, &instance) == PL_OK && pl_load(instance, TALES, "{\"compute\": \"f32\"}", &model) == PL_OK);
  CHECK(pl_load(instance, "tests/golden/gpt2-plain", NULL, &small) == PL_OK);
  char before[200], after[200];
  answer(before);
  cancels_in_time(before);
  unsigned seeds[] = {1, 2, 3};
  pthread_t threads[4];
  pthread_create(&threads[0], NULL, callers, &seeds[0]);
  pthread_create(&threads[1], NULL, callers, &seeds[1]);
  pthread_create(&threads[2], NULL, cancelling, &seeds[2]);
  pthread_create(&threads[3], NULL, another, NULL);
  pthread_join(threads[0], NULL);
  pthread_join(threads[1], NULL);
  printf("%ld random calls\n", 2 * calls_left);
  over = 1;
  pthread_join(threads[2], NULL);
  pthread_join(threads[3], NULL);
  answer(after);
  CHECK(strcmp(before, after) == 0);
  STATUS(PL_OK, pl_close(instance));
  return finish("threads");
}
