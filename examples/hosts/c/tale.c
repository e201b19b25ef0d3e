/* A tale, told piece by piece from a frame loop: cc tale.c $(pkg-config --cflags --libs perilune) */
#include <perilune.h>
#include <stdio.h>

static void log_line(void* user, int32_t level, const char* text) {
  fprintf(user, "%s: %s\n", level == PL_LOG_WARNING ? "warning" : "script", text);
}

static int failed(pl_instance instance, pl_status status) {
  char text[500] = "";
  if (status < PL_ERROR_ARGUMENT) return 0;
  pl_error_text(instance, text, sizeof text, NULL);
  fprintf(stderr, "tale: %s: %s\n", pl_status_text(status), text);
  return 1;
}

int main(int argc, char** argv) {
  pl_options options = {.size = sizeof options};
  options.log = log_line, options.user = stderr;
  pl_instance instance = 0;
  pl_model model = 0;
  pl_request request = 0;
  pl_prompt prompt = {.size = sizeof prompt};
  prompt.text = argc > 2 ? argv[2] : "Once upon a time";
  prompt.options = "{\"max_new_tokens\": 40, \"do_sample\": false}";
  if (failed(instance, pl_open(&options, &instance))) return 1;
  int wrong = failed(instance, pl_load(instance, argc > 1 ? argv[1] : "scripts/models/tales", NULL, &model)) ||
              failed(instance, pl_submit(model, &prompt, &request));
  char piece[256];
  pl_event event = {.size = sizeof event};
  event.text = piece, event.capacity = sizeof piece;
  for (pl_step_report report = {.size = sizeof report}; !wrong && !report.idle;) {
    wrong = failed(instance, pl_step(instance, 3, &report)); /* 3 ms of each frame */
    while (pl_next_event(instance, &event) == PL_OK) fputs(event.kind == PL_EVENT_TEXT ? piece : "\n", stdout);
  }
  return pl_close(instance) != PL_OK || wrong;
}
