/* Whatever a host does wrong is a status: NULL, closed and made-up handles, other kinds, wrong order, sizes
 * of structs, callbacks that call back, limits, fork. Nothing is written to its streams. */
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static pl_instance instance;
static pl_model model;
static pl_request request;

typedef struct {
  const char* name;
  pl_status wanted, found;
} misuse;

static void nulls(void) {
  char text[8];
  size_t n;
  int32_t id = 0;
  float f[1];
  pl_class class;
  pl_value value;
  pl_values values;
  pl_conversation talk;
  pl_prompt none = {sizeof none}, two = {sizeof two}, unsized = {0}, fine = {sizeof fine};
  two.text = "x", two.messages = "[]", unsized.text = "x", fine.text = "x";
  pl_event event = {0};
  pl_result result = {0};
  pl_step_report report = {0};
  pl_options options = {sizeof options}, flags = {sizeof flags}, sizeless = {0};
  options.threads = -1, flags.flags = 64;
  pl_instance other = 1;
  const char* texts[] = {NULL};
  const misuse table[] = {
      {"open without out", PL_ERROR_ARGUMENT, pl_open(NULL, NULL)},
      {"open with threads below 0", PL_ERROR_ARGUMENT, pl_open(&options, &other)},
      {"open with unknown flags", PL_ERROR_ARGUMENT, pl_open(&flags, &other)},
      {"open without size", PL_ERROR_ARGUMENT, pl_open(&sizeless, &other)},
      {"close 0", PL_OK, pl_close(0)},
      {"close made up", PL_ERROR_HANDLE, pl_close(12345)},
      {"close a model", PL_ERROR_HANDLE, pl_close(model)},
      {"release 0", PL_OK, pl_release(0)},
      {"release an instance", PL_ERROR_ARGUMENT, pl_release(instance)},
      {"release made up", PL_ERROR_HANDLE, pl_release(~(pl_handle)0)},
      {"load NULL", PL_ERROR_ARGUMENT, pl_load(instance, NULL, NULL, &other)},
      {"load without out", PL_ERROR_ARGUMENT, pl_load(instance, TALES, NULL, NULL)},
      {"load into a model", PL_ERROR_HANDLE, pl_load(request, TALES, NULL, &other)},
      {"load what is not there", PL_ERROR_FILE, pl_load(instance, "/no/such", NULL, &other)},
      {"load with a bad option", PL_ERROR_OPTION, pl_load(instance, TALES, "{\"comput\": 1}", &other)},
      {"load with options that are no JSON", PL_ERROR_FORMAT, pl_load(instance, TALES, "{", &other)},
      {"load with options that are no object", PL_ERROR_OPTION, pl_load(instance, TALES, "7", &other)},
      {"error text of nobody", PL_ERROR_HANDLE, pl_error_text(99, text, 8, NULL)},
      {"error text nowhere", PL_ERROR_SIZE, pl_error_text(instance, NULL, 0, NULL)},
      {"error text into NULL", PL_ERROR_ARGUMENT, pl_error_text(instance, NULL, 8, NULL)},
      {"cancel nobody", PL_ERROR_HANDLE, pl_cancel(0)},
      {"cancel nothing", PL_OK, pl_cancel(instance)},
      {"threads 0", PL_ERROR_ARGUMENT, pl_set_threads(instance, 0)},
      {"memory into NULL", PL_ERROR_ARGUMENT, pl_memory(instance, NULL)},
      {"a prompt of NULL", PL_ERROR_ARGUMENT, pl_generate(model, NULL, &other)},
      {"a prompt of nothing", PL_ERROR_ARGUMENT, pl_generate(model, &none, &other)},
      {"a prompt of two things", PL_ERROR_ARGUMENT, pl_submit(model, &two, &other)},
      {"a prompt without size", PL_ERROR_ARGUMENT, pl_submit(model, &unsized, &other)},
      {"submit to an instance", PL_ERROR_HANDLE, pl_submit(instance, &fine, &other)},
      {"submit without out", PL_ERROR_ARGUMENT, pl_submit(model, &fine, NULL)},
      {"step backwards", PL_ERROR_ARGUMENT, pl_step(instance, -1, NULL)},
      {"step with a report without size", PL_ERROR_ARGUMENT, pl_step(instance, 0, &report)},
      {"an event of NULL", PL_ERROR_ARGUMENT, pl_next_event(instance, NULL)},
      {"an event without size", PL_ERROR_ARGUMENT, pl_next_event(instance, &event)},
      {"a result without size", PL_ERROR_ARGUMENT, pl_request_result(request, &result)},
      {"a result of a model", PL_ERROR_HANDLE, pl_request_result(model, &(pl_result){sizeof(pl_result)})},
      {"encode NULL", PL_ERROR_ARGUMENT, pl_encode(model, NULL, 3, NULL, &id, 1, &n)},
      {"encode into NULL", PL_ERROR_ARGUMENT, pl_encode(model, "x", 1, NULL, NULL, 3, &n)},
      {"decode NULL", PL_ERROR_ARGUMENT, pl_decode(model, NULL, 2, text, 8, NULL)},
      {"decode what is no id", PL_ERROR_ARGUMENT, pl_decode(model, (int32_t[]){-5}, 1, text, 8, NULL)},
      {"chat about nothing", PL_ERROR_ARGUMENT, pl_chat(model, NULL, NULL, text, 8, NULL)},
      {"embed no texts", PL_ERROR_ARGUMENT, pl_embed(model, texts, NULL, 0, NULL, f, 1, &n)},
      {"embed NULL", PL_ERROR_ARGUMENT, pl_embed(model, texts, NULL, 1, NULL, f, 1, &n)},
      {"classify into NULL", PL_ERROR_ARGUMENT, pl_classify(model, (const char*[]){"x"}, NULL, 1, NULL, NULL)},
      {"classify with a model that writes", PL_ERROR_ARGUMENT, pl_classify(model, (const char*[]){"x"}, NULL, 1, NULL, &class)},
      {"run NULL", PL_ERROR_ARGUMENT, pl_run(instance, NULL, 0, NULL)},
      {"run a file that is not there", PL_ERROR_FILE, pl_run_file(instance, "/no/such.lua")},
      {"call NULL", PL_ERROR_ARGUMENT, pl_call(instance, NULL, NULL, 0, &values)},
      {"call with no arguments of some", PL_ERROR_ARGUMENT, pl_call(instance, "print", NULL, 2, &values)},
      {"call with a strange argument", PL_ERROR_ARGUMENT, pl_call(instance, "print", &(pl_value){.kind = 99}, 1, &values)},
      {"call with an object of nobody", PL_ERROR_HANDLE, pl_call(instance, "print", &(pl_value){.kind = PL_OBJECT, .object = 7}, 1, &values)},
      {"call what is not there", PL_ERROR_ARGUMENT, pl_call(instance, "no.such.function", NULL, 0, &values)},
      {"value of nobody", PL_ERROR_HANDLE, pl_value_at(0, 0, &value)},
      {"converse with a request", PL_ERROR_HANDLE, pl_converse(request, NULL, &talk)},
      {"say nothing", PL_ERROR_HANDLE, pl_say(model, "x", 1, &other)},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; ++i) {
    if (table[i].found != table[i].wanted) {
      ++failures;
      printf("FAILED: %s: %s, expected %s\n", table[i].name, pl_status_text(table[i].found), pl_status_text(table[i].wanted));
    }
  }
}

static int32_t calls_back(void* user, const char* text, size_t size) {
  (void)user, (void)text, (void)size;
  CHECK(pl_step(instance, 0, NULL) == PL_ERROR_STATE);
  CHECK(pl_close(instance) == PL_ERROR_STATE);
  return 1;
}

static int32_t cancels(void* user, const char* text, size_t size) {
  (void)user, (void)text, (void)size;
  CHECK(pl_cancel(instance) == PL_OK);
  return 0;
}

static void callbacks(void) {
  pl_prompt prompt = {sizeof prompt};
  pl_request made = 0;
  prompt.text = "Once", prompt.on_text = calls_back;
  STATUS(PL_OK, pl_generate(model, &prompt, &made));
  prompt.on_text = cancels, prompt.options = "{\"max_new_tokens\": 100}";
  STATUS(PL_ERROR_CANCELLED, pl_generate(model, &prompt, &made));
  CHECK(made == 0);
  prompt.on_text = NULL, prompt.options = "{\"max_new_tokens\": 2}";
  STATUS(PL_OK, pl_generate(model, &prompt, &made));
}

static void forks(void) {
  const pid_t child = fork();
  if (child == 0) {
    pl_instance other = 0;
    const int fine = pl_step(instance, 0, NULL) == PL_ERROR_FORKED && pl_open(NULL, &other) == PL_ERROR_FORKED &&
                     pl_cancel(instance) == PL_ERROR_FORKED && pl_close(instance) == PL_ERROR_FORKED;
    _exit(fine ? 0 : 1);
  }
  int status = 1;
  waitpid(child, &status, 0);
  CHECK(status == 0);
  STATUS(PL_OK, pl_step(instance, 0, NULL));
}

static void memory_limits(void) {
  char text[200] = "";
  pl_options small = {sizeof small};
  pl_instance other = 0;
  small.script_memory = 100000, small.error = text, small.error_capacity = sizeof text;
  CHECK(pl_open(&small, &other) == PL_ERROR_MEMORY && other == 0 && strlen(text) > 5);
  small.script_memory = 0, small.memory = 1000000;
  CHECK(pl_open(&small, &other) == PL_OK);
  pl_model big = 0;
  CHECK(pl_load(other, TALES, NULL, &big) == PL_ERROR_MEMORY && big == 0);
  CHECK(pl_close(other) == PL_OK);
}

/* Objects after their model, values after their instance, everything twice. */
static void any_order(void) {
  pl_instance one = 0, two = 0;
  pl_model m = 0;
  pl_request r = 0;
  pl_conversation talk = 0;
  pl_values values = 0;
  size_t n;
  CHECK(pl_open(NULL, &one) == PL_OK && pl_open(NULL, &two) == PL_OK);
  CHECK(pl_load(one, TALES, NULL, &m) == PL_OK);
  pl_prompt prompt = {sizeof prompt};
  prompt.text = "The";
  CHECK(pl_submit(m, &prompt, &r) == PL_OK && pl_converse(m, NULL, &talk) == PL_OK);
  CHECK(pl_run(one, "function f() return 'text' end", 0, NULL) == PL_OK && pl_call(one, "f", NULL, 0, &values) == PL_OK);
  CHECK(pl_step(one, 0, NULL) == PL_OK);
  CHECK(pl_release(m) == PL_OK && pl_release(m) == PL_ERROR_HANDLE);
  CHECK(pl_submit(m, &prompt, &r) == PL_ERROR_HANDLE);
  CHECK(pl_step(one, 0, NULL) == PL_OK);
  pl_request late = 0;
  CHECK(pl_say(talk, "x", 1, &late) != PL_OK);
  CHECK(pl_close(one) == PL_OK && pl_close(one) == PL_ERROR_HANDLE);
  CHECK(pl_value_count(values, &n) == PL_ERROR_HANDLE && pl_release(talk) == PL_ERROR_HANDLE);
  CHECK(pl_open(NULL, &one) == PL_OK); /* in a slot of its own generation */
  CHECK(pl_release(values) == PL_ERROR_HANDLE);
  CHECK(pl_close(two) == PL_OK && pl_close(one) == PL_OK);
}

int main(void) {
  CHECK(pl_open(NULL, &instance) == PL_OK);
  pl_prompt prompt = {sizeof prompt};
  prompt.text = "Once", prompt.options = "{\"max_new_tokens\": 2}";
  CHECK(pl_load(instance, TALES, NULL, &model) == PL_OK && pl_generate(model, &prompt, &request) == PL_OK);
  nulls();
  callbacks();
  forks();
  memory_limits();
  any_order();
  STATUS(PL_OK, pl_close(instance));
  CHECK(pl_version() == 0x000100 && strcmp(pl_version_text(), "0.1.0") == 0);
  CHECK(strcmp(pl_status_text(PL_ERROR_INTERNAL), "internal") == 0 && strcmp(pl_status_text(-3), "unknown") == 0);
  return finish("misuse");
}
