/* A host's floating-point modes: rounding, flushed denormals, traps. No answer depends on them, on threads of ours, of
 * the host's, or on a worker; they are as before after each call; and a host that traps lives. */
#define _GNU_SOURCE
#include <fenv.h>
#include <pthread.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include "check.h"

enum { plain, flushed, upward, downward, cut, trapping, modes };

static int mode_of_threads = plain; /* of the host's own */

static void set_mode(int mode) {
  fesetenv(FE_DFL_ENV);
#ifdef __SSE__
  if (mode == flushed) _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
  if (mode == upward) fesetround(FE_UPWARD);
  if (mode == downward) fesetround(FE_DOWNWARD);
  if (mode == cut) fesetround(FE_TOWARDZERO);
  if (mode == trapping) feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW);
}

static int is_mode(int mode) {
  static const int rounding[modes] = {FE_TONEAREST, FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, FE_TONEAREST};
#ifdef __SSE__
  if (((_mm_getcsr() & 0x8040) != 0) != (mode == flushed)) return 0;
#endif
  return fegetround() == rounding[mode] && (fegetexcept() != 0) == (mode == trapping);
}

static void parallel_for(void* user, int64_t tasks, void (*task)(void* state, int64_t index), void* state) {
  (void)user;
  fenv_t before;
  fegetenv(&before);
  set_mode(mode_of_threads);
  for (int64_t i = tasks; i-- > 0;) task(state, i);
  if (!is_mode(mode_of_threads)) ++failures;
  fesetenv(&before);
}

static char logged[400];
static void log_text(void* user, int32_t level, const char* text) {
  (void)user;
  if (level == PL_LOG_INFO) snprintf(logged, sizeof logged, "%s", text);
}

static const char* script =
    "local pl = require 'perilune'\n"
    "print(0.1 + 0.2, tonumber '0.3', ('%.3g'):format(2 / 3), 1e308 * 10, pl.json.encode(pl.json.decode '[0.1, 1e-310, 7]'))";

/* What a host sees: written text, a vector, a script's numbers. */
static void look(int mode, uint32_t flags, int own_threads, char* seen, size_t room) {
  pl_options options = {sizeof options};
  options.flags = flags, options.threads = 2, options.log = log_text;
  if (own_threads) options.parallel_for = parallel_for, mode_of_threads = mode;
  pl_instance instance = 0;
  pl_model tales = 0, reviews = 0;
  pl_request request = 0;
  pl_prompt prompt = {sizeof prompt};
  prompt.text = "Once upon a time", prompt.options = "{\"max_new_tokens\": 24, \"temperature\": 0.9, \"seed\": 3}";
  set_mode(mode);
  STATUS(PL_OK, pl_open(&options, &instance));
  STATUS(PL_OK, pl_load(instance, TALES, NULL, &tales));
  STATUS(PL_OK, pl_load(instance, REVIEWS, NULL, &reviews));
  STATUS(PL_OK, pl_submit(tales, &prompt, &request));
  pl_step_report report = {sizeof report};
  while (!report.idle) STATUS(PL_OK, pl_step(instance, 5, &report));
  char text[400] = "";
  STATUS(PL_OK, pl_request_text(request, text, sizeof text, NULL));
  const char* review[] = {"a wonderful evening, warm and funny"};
  pl_class class = {0};
  STATUS(PL_OK, pl_classify(reviews, review, NULL, 1, NULL, &class));
  STATUS(PL_OK, pl_run(instance, script, 0, "numbers"));
  CHECK(is_mode(mode));
  STATUS(PL_OK, pl_close(instance));
  CHECK(is_mode(mode));
  set_mode(plain);
  snprintf(seen, room, "%s|%d %.9g|%s", text, class.id, class.score, logged);
}

int main(void) {
  static char first[1200], other[1200];
  look(plain, 0, 0, first, sizeof first);
  CHECK(strlen(first) > 80);
  for (int mode = plain; mode < modes; ++mode) {
    for (int way = 0; way < 3; ++way) {
      look(mode, way == 1 ? PL_WORKER : 0, way == 2, other, sizeof other);
      if (strcmp(first, other) != 0) ++failures, printf("FAILED: mode %d, way %d:\n%s\n%s\n", mode, way, first, other);
    }
  }
  return finish("floating_point");
}
