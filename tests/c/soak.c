/* Many requests, one after the other, of each way to ask: memory does not grow with them. PERILUNE_REQUESTS: how
 * many (a million in the campaign). */
#include <time.h>

#include "check.h"

static long resident_bytes(void) {
  long size = 0, pages = 0;
  FILE* file = fopen("/proc/self/statm", "r");
  if (file != NULL && fscanf(file, "%ld %ld", &size, &pages) != 2) pages = 0;
  if (file != NULL) fclose(file);
  return pages * 4096;
}

static pl_instance instance;
static pl_model model;

static void submitted(const pl_prompt* prompt, char* text, size_t capacity) {
  pl_request request = 0;
  pl_step_report report = {sizeof report};
  pl_event event = {sizeof event};
  char piece[64];
  int done = 0;
  event.text = piece, event.capacity = sizeof piece;
  STATUS(PL_OK, pl_submit(model, prompt, &request));
  while (!report.idle) STATUS(PL_OK, pl_step(instance, 1, &report));
  while (pl_next_event(instance, &event) == PL_OK) done += event.kind == PL_EVENT_DONE && event.request == request;
  CHECK(done == 1);
  STATUS(PL_OK, pl_request_text(request, text, capacity, NULL));
  STATUS(PL_OK, pl_release(request));
}

static void talked(void) {
  pl_conversation talk = 0;
  pl_request request = 0;
  pl_step_report report = {sizeof report};
  STATUS(PL_OK, pl_converse(model, "{\"max_new_tokens\": 1}", &talk));
  STATUS(PL_OK, pl_say(talk, "Hi", 0, &request));
  while (!report.idle) STATUS(PL_OK, pl_step(instance, 0, &report));
  STATUS(PL_OK, pl_release(request));
  STATUS(PL_OK, pl_release(talk));
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { kUsual = 300 }; /* their memory is another matter */
#else
enum { kUsual = 4000 };
#endif

int main(void) {
  const long requests = getenv("PERILUNE_REQUESTS") ? atol(getenv("PERILUNE_REQUESTS")) : kUsual;
  const long begin = requests / 10 > 2000 ? requests / 10 : requests / 2; /* caches and queues have their size */
  pl_options options = {sizeof options};
  options.threads = 1;
  STATUS(PL_OK, pl_open(&options, &instance));
  STATUS(PL_OK, pl_load(instance, "tests/golden/gpt2-plain", NULL, &model));
  pl_prompt prompt = {sizeof prompt};
  char first[200] = "", text[200];
  long early = 0, most = 0;
  const time_t start = time(NULL);
  for (long i = 0; i < requests && failures == 0; ++i) {
    prompt.text = i % 3 == 0 ? "Once upon" : "The";
    prompt.options = i % 2 == 0 ? "{\"max_new_tokens\": 2, \"do_sample\": false}" : "{\"max_new_tokens\": 2, \"seed\": 3}";
    if (i % 5 == 4) {
      pl_request request = 0;
      STATUS(PL_OK, pl_generate(model, &prompt, &request));
      STATUS(PL_OK, pl_release(request));
    } else if (i % 5 == 3) {
      talked();
    } else {
      submitted(&prompt, text, sizeof text);
      if (i == 0) strcpy(first, text);
      if (i % 30 == 0) CHECK(strcmp(first, text) == 0); /* the same prompt and options as the first */
    }
    if (i == begin) early = resident_bytes();
    if (i > begin && i % 1024 == 0 && resident_bytes() > most) most = resident_bytes();
  }
  if (resident_bytes() > most) most = resident_bytes();
  printf("%ld requests in %ld s, resident %.1f MB after %ld, grown by %.2f MiB at most since\n", requests,
         (long)(time(NULL) - start), (double)early / 1e6, begin, (double)(most - early) / (1 << 20));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  CHECK(requests < kUsual || most - early < 1 << 20);
#endif
  STATUS(PL_OK, pl_close(instance));
  return finish("soak");
}
