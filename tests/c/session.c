/* A session of a plain C host: each function does what its header says. */
#define _GNU_SOURCE
#include <sched.h>
#include <time.h>

#include "check.h"

static int32_t count_pieces(void* user, const char* text, size_t size) {
  if (strlen(text) != size) ++failures;
  return ++*(int*)user == 3; /* ends the answer after the third */
}

static char said[200]; /* the answer that others are compared with */

static void generating(pl_instance instance, pl_model model) {
  pl_prompt prompt = {sizeof prompt};
  prompt.text = "Once upon a time";
  prompt.options = "{\"max_new_tokens\": 8, \"do_sample\": false}";
  pl_request request = 0, again = 0;
  STATUS(PL_OK, pl_generate(model, &prompt, &request));
  pl_result result = {sizeof result};
  STATUS(PL_OK, pl_request_result(request, &result));
  CHECK(result.finish == PL_LENGTH && result.new_tokens == 8 && result.prompt_tokens > 1);
  char text[200], other[200];
  size_t size = 0;
  STATUS(PL_OK, pl_request_text(request, NULL, 0, &size));
  STATUS(PL_ERROR_SIZE, pl_request_text(request, text, size, NULL));
  STATUS(PL_OK, pl_request_text(request, text, size + 1, NULL));
  CHECK(strlen(text) == size && strncmp(text, ", a", 3) == 0);
  strcpy(said, text);

  /* Submitted and stepped, the same text comes in pieces. */
  STATUS(PL_OK, pl_submit(model, &prompt, &again));
  pl_step_report report = {sizeof report};
  char joined[200] = "", piece[64];
  int done = 0;
  for (int i = 0; i < 1000 && !report.idle; ++i) STATUS(PL_OK, pl_step(instance, 3, &report));
  pl_event event = {sizeof event};
  event.text = piece, event.capacity = sizeof piece;
  while (pl_next_event(instance, &event) == PL_OK) {
    CHECK(event.request == again);
    if (event.kind == PL_EVENT_TEXT) strcat(joined, piece);
    if (event.kind == PL_EVENT_DONE) ++done;
  }
  CHECK(done == 1 && strcmp(joined, text) == 0);
  STATUS(PL_OK, pl_request_text(again, other, sizeof other, NULL));
  CHECK(strcmp(other, text) == 0);
  STATUS(PL_EMPTY, pl_next_event(instance, &event));

  /* A piece that does not fit stays. */
  pl_request third = 0;
  STATUS(PL_OK, pl_submit(model, &prompt, &third));
  for (report.idle = 0; !report.idle;) STATUS(PL_OK, pl_step(instance, 0, &report));
  event.capacity = 1;
  STATUS(PL_ERROR_SIZE, pl_next_event(instance, &event));
  CHECK(event.text_size >= 1);
  event.capacity = sizeof piece;
  STATUS(PL_OK, pl_next_event(instance, &event));
  STATUS(PL_OK, pl_release(third));

  int pieces = 0;
  pl_prompt stopping = prompt;
  stopping.on_text = count_pieces, stopping.user = &pieces;
  pl_request fourth = 0;
  STATUS(PL_OK, pl_generate(model, &stopping, &fourth));
  STATUS(PL_OK, pl_request_result(fourth, &result));
  CHECK(pieces == 3 && result.finish == PL_CANCELLED && result.new_tokens < 8);

  /* A request that is cancelled keeps what it has. */
  pl_request fifth = 0;
  STATUS(PL_OK, pl_submit(model, &prompt, &fifth));
  STATUS(PL_OK, pl_step(instance, 0, NULL));
  STATUS(PL_OK, pl_request_cancel(fifth));
  for (report.idle = 0; !report.idle;) STATUS(PL_OK, pl_step(instance, 0, &report));
  STATUS(PL_OK, pl_request_result(fifth, &result));
  CHECK(result.finish == PL_CANCELLED);
}

static void texts(pl_instance instance, pl_model model) {
  int32_t ids[64];
  size_t count = 0, size = 0;
  char text[64];
  STATUS(PL_OK, pl_encode(model, "Once upon a time", 16, NULL, ids, 64, &count));
  CHECK(count == 5);
  STATUS(PL_ERROR_SIZE, pl_encode(model, "Once upon a time", 16, NULL, ids, 2, &count));
  STATUS(PL_OK, pl_decode(model, ids, 5, text, sizeof text, &size));
  CHECK(strcmp(text, "Once upon a time") == 0);
  pl_prompt prompt = {sizeof prompt};
  prompt.ids = ids, prompt.id_count = 5, prompt.options = "{\"max_new_tokens\": 1}";
  pl_request request = 0;
  STATUS(PL_OK, pl_generate(model, &prompt, &request));
  STATUS(PL_ERROR_OPTION, pl_encode(model, "x", 1, "{\"speciall\": true}", ids, 64, &count));
  pl_error_text(instance, text, sizeof text, NULL);
  CHECK(strstr(text, "special") != NULL);
}

static void classes(pl_instance instance) {
  pl_model reviews = 0;
  STATUS(PL_OK, pl_load(instance, REVIEWS, "{\"compute\": \"f32\"}", &reviews));
  const char* list[] = {"A great place.", "An awful place."};
  pl_class best[2];
  char label[32];
  STATUS(PL_OK, pl_classify(reviews, list, NULL, 2, NULL, best));
  CHECK(best[0].id == 1 && best[1].id == 0 && best[0].score > 0.5f && best[0].score <= 1.0f);
  STATUS(PL_OK, pl_label(reviews, best[0].id, label, sizeof label, NULL));
  CHECK(strcmp(label, "POSITIVE") == 0);
  STATUS(PL_ERROR_ARGUMENT, pl_label(reviews, 7, label, sizeof label, NULL));
  size_t width = 0;
  STATUS(PL_OK, pl_embed(reviews, list, NULL, 1, NULL, NULL, 0, &width));
  CHECK(width > 0 && width < 4096);
  float* vectors = malloc(2 * width * sizeof(float));
  STATUS(PL_ERROR_SIZE, pl_embed(reviews, list, NULL, 2, NULL, vectors, width, NULL));
  STATUS(PL_OK, pl_embed(reviews, list, NULL, 2, NULL, vectors, 2 * width, NULL));
  CHECK(memcmp(vectors, vectors + width, width * sizeof(float)) != 0);
  free(vectors);
}

static void talking(pl_instance instance, pl_model model) {
  char path[] = "/tmp/perilune-talk-XXXXXX";
  CHECK(mkstemp(path) >= 0);
  pl_conversation talk = 0, later = 0;
  pl_request answer = 0, early = 0;
  STATUS(PL_OK, pl_converse(model, "{\"max_new_tokens\": 6, \"do_sample\": false}", &talk));
  STATUS(PL_OK, pl_say(talk, "Once upon a time", 0, &answer));
  STATUS(PL_ERROR_STATE, pl_say(talk, "there was", 0, &early));
  CHECK(early == 0);
  pl_step_report report = {sizeof report};
  while (!report.idle) STATUS(PL_OK, pl_step(instance, 0, &report));
  STATUS(PL_OK, pl_save(talk, path));
  STATUS(PL_OK, pl_restore(model, path, &later));
  char first[200], second[200];
  pl_conversation both[] = {talk, later};
  char* answers[] = {first, second};
  for (int i = 0; i < 2; ++i) {
    STATUS(PL_OK, pl_say(both[i], "And then", 0, &answer));
    for (report.idle = 0; !report.idle;) STATUS(PL_OK, pl_step(instance, 0, &report));
    STATUS(PL_OK, pl_request_text(answer, answers[i], 200, NULL));
  }
  CHECK(strlen(first) > 0 && strcmp(first, second) == 0);
  STATUS(PL_ERROR_FILE, pl_restore(model, "/no/such/file", &later));
  STATUS(PL_ERROR_FORMAT, pl_restore(model, REVIEWS "/config.json", &later));
  remove(path);
}

/* Keys and values are saved with what was said, and the next answer is the same. */
static void talking_with_cache(pl_instance instance, pl_model model) {
  char path[] = "/tmp/perilune-talk-XXXXXX", beside[64];
  CHECK(mkstemp(path) >= 0);
  snprintf(beside, sizeof beside, "%s.cache", path);
  const char* options = "{\"max_new_tokens\": 6, \"do_sample\": false, \"save_cache\": true}";
  pl_conversation talk = 0, later = 0, plain = 0;
  pl_request answer = 0;
  STATUS(PL_OK, pl_converse(model, options, &talk));
  STATUS(PL_OK, pl_say(talk, "Once upon a time", 0, &answer));
  STATUS(PL_ERROR_STATE, pl_save(talk, path));
  pl_step_report report = {sizeof report};
  while (!report.idle) STATUS(PL_OK, pl_step(instance, 0, &report));
  STATUS(PL_OK, pl_save(talk, path));
  FILE* file = fopen(beside, "rb");
  CHECK(file != NULL);
  if (file != NULL) fclose(file);
  STATUS(PL_OK, pl_restore(model, path, &later));
  remove(beside);
  STATUS(PL_OK, pl_restore(model, path, &plain)); /* without that file all of it is read again */
  char texts[3][200];
  pl_conversation all[] = {talk, later, plain};
  for (int i = 0; i < 3; ++i) {
    pl_result result = {sizeof result};
    STATUS(PL_OK, pl_say(all[i], "And then", 0, &answer));
    for (report.idle = 0; !report.idle;) STATUS(PL_OK, pl_step(instance, 0, &report));
    STATUS(PL_OK, pl_request_text(answer, texts[i], 200, NULL));
    STATUS(PL_OK, pl_request_result(answer, &result));
    CHECK(result.finish == PL_LENGTH && result.prompt_tokens > 12);
  }
  CHECK(strlen(texts[0]) > 0 && strcmp(texts[0], texts[1]) == 0 && strcmp(texts[0], texts[2]) == 0);
  STATUS(PL_ERROR_OPTION, pl_converse(model, "{\"save_cache\": true, \"n\": 2}", &plain));
  remove(path), remove(beside);
}

/* Scripts' coroutines go on with the host's frames. */
static void tasks(pl_instance instance, pl_model model) {
  STATUS(PL_OK, pl_run(instance,
                       "local pl = require 'perilune'\n"
                       "said = {}\n"
                       "function meet(m)\n"
                       "  local engine = pl.engine(m)\n"
                       "  for i, name in ipairs { 'smith', 'bard' } do\n"
                       "    pl.async.run(function()\n"
                       "      said[i] = name .. pl.async.await(engine:submit('The ' .. name, { max_new_tokens = 3 })).finish_reason\n"
                       "    end)\n"
                       "  end\n"
                       "end\n"
                       "function told() return said[1], said[2] end\n",
                       0, "meet.lua"));
  pl_value argument = {PL_OBJECT, 0, 0, NULL, 0, model}, value;
  pl_values results = 0;
  STATUS(PL_OK, pl_call(instance, "meet", &argument, 1, NULL));
  pl_step_report report = {sizeof report};
  int frames = 0;
  for (report.idle = 0; !report.idle && frames < 5000; ++frames) STATUS(PL_OK, pl_step(instance, 2, &report));
  CHECK(report.idle);
  STATUS(PL_OK, pl_call(instance, "told", NULL, 0, &results));
  STATUS(PL_OK, pl_value_at(results, 1, &value));
  CHECK(value.kind == PL_TEXT && strcmp(value.data, "bardlength") == 0);
  STATUS(PL_OK, pl_release(results));
}

static void values(pl_instance instance, pl_model model) {
  STATUS(PL_OK, pl_run(instance,
                       "local pl = require 'perilune'\n"
                       "smith = {}\n"
                       "function smith.sum(t, floats) return t.a + t.b[2], floats * 2, nil, t, #'x\\0y' end\n"
                       "function smith.ask(m) return m:generate('The', { max_new_tokens = 1 }).finish_reason end\n"
                       "function smith.fails() error 'no iron' end\n"
                       "function smith.raises() pl.zeros(-1) end\n",
                       0, "smith.lua"));
  const float two[] = {1.5f, -2};
  pl_value arguments[2];
  memset(arguments, 0, sizeof arguments);
  arguments[0].kind = PL_JSON, arguments[0].data = "{\"a\": 1, \"b\": [0, 41]}", arguments[0].size = 22;
  arguments[1].kind = PL_FLOATS, arguments[1].data = two, arguments[1].size = 2;
  pl_values results = 0;
  size_t count = 0;
  pl_value value;
  STATUS(PL_OK, pl_call(instance, "smith.sum", arguments, 2, &results));
  STATUS(PL_OK, pl_value_count(results, &count));
  CHECK(count == 5);
  STATUS(PL_OK, pl_value_at(results, 0, &value));
  CHECK(value.kind == PL_NUMBER && value.number == 42);
  STATUS(PL_OK, pl_value_at(results, 1, &value));
  CHECK(value.kind == PL_FLOATS && value.size == 2 && ((const float*)value.data)[1] == -4);
  STATUS(PL_OK, pl_value_at(results, 2, &value));
  CHECK(value.kind == PL_NIL);
  STATUS(PL_OK, pl_value_at(results, 3, &value));
  CHECK(value.kind == PL_JSON && strcmp(value.data, "{\"a\": 1, \"b\": [0, 41]}") == 0);
  STATUS(PL_OK, pl_value_at(results, 4, &value));
  CHECK(value.number == 3);
  STATUS(PL_ERROR_ARGUMENT, pl_value_at(results, 5, &value));
  STATUS(PL_OK, pl_release(results));
  STATUS(PL_ERROR_HANDLE, pl_value_count(results, &count));
  memset(arguments, 0, sizeof arguments);
  arguments[0].kind = PL_OBJECT, arguments[0].object = model;
  STATUS(PL_OK, pl_call(instance, "smith.ask", arguments, 1, &results));
  STATUS(PL_OK, pl_value_at(results, 0, &value));
  CHECK(value.kind == PL_TEXT && strcmp(value.data, "length") == 0);
  char text[300];
  STATUS(PL_ERROR_SCRIPT, pl_call(instance, "smith.fails", NULL, 0, NULL));
  pl_error_text(instance, text, sizeof text, NULL);
  CHECK(strstr(text, "smith.lua:5: no iron") != NULL);
  CHECK(pl_call(instance, "smith.raises", NULL, 0, NULL) >= PL_ERROR_ARGUMENT);
  STATUS(PL_ERROR_ARGUMENT, pl_call(instance, "smith.summ", NULL, 0, NULL));
  pl_error_text(instance, text, sizeof text, NULL);
  CHECK(strstr(text, "did you mean sum") != NULL);
  STATUS(PL_ERROR_SCRIPT, pl_run(instance, "x = ", 0, "broken.lua"));
  STATUS(PL_ERROR_SCRIPT, pl_run(instance, "\033LJ\002", 5, "compiled.lua"));
}

static int lines = 0, parts = 0;
static void log_line(void* user, int32_t level, const char* text) {
  if (user == &lines && level == PL_LOG_INFO && strcmp(text, "1\tx") == 0) ++lines;
}
static int32_t progress(void* user, const char* what, double part) {
  (void)user;
  if (strcmp(what, "load") == 0 && part >= 0 && part <= 1) ++parts;
  return 0;
}
static int32_t stop(void* user, const char* what, double part) { return (void)user, (void)what, part >= 0; }
static const char* read_script(void* user, const char* path, size_t* size) {
  static const char module[] = "return { twice = function(x) return 2 * x end }";
  (void)user;
  *size = sizeof module - 1;
  return strcmp(path, "npc/smith.lua") == 0 ? module : NULL;
}
static size_t allocated = 0;
static void* allocate(void* user, void* block, size_t old_size, size_t new_size) {
  (void)user;
  allocated += new_size - (block != NULL ? old_size : 0);
  if (new_size != 0) return realloc(block, new_size);
  free(block);
  return NULL;
}

/* The host's threads compute, on a processor of its choice. */
static long loops = 0, loop_tasks = 0, elsewhere = 0;
static int chosen = -1;
static void loop(void* user, int64_t count, void (*task)(void* state, int64_t index), void* state) {
  CHECK(user == &loops);
  ++loops, loop_tasks += count;
  if (sched_getcpu() != chosen) ++elsewhere;
  for (int64_t i = count - 1; i >= 0; --i) task(state, i);
}
static void own_threads(const char* wanted) {
  cpu_set_t before, after;
  CHECK(sched_getaffinity(0, sizeof before, &before) == 0);
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &before)) chosen = i;
  const int32_t processor = chosen, nowhere = CPU_SETSIZE - 1;
  char why[100];
  pl_instance instance = 0;
  pl_model model = 0;
  pl_request request = 0;
  pl_options options = {sizeof options};
  options.threads = 4, options.user = &loops, options.parallel_for = loop, options.error = why, options.error_capacity = sizeof why;
  options.processors = &nowhere, options.processor_count = 1;
  CHECK(pl_open(&options, &instance) == PL_ERROR_ARGUMENT && strstr(why, "processors") != NULL);
  options.processors = &processor;
  STATUS(PL_OK, pl_open(&options, &instance));
  STATUS(PL_OK, pl_load(instance, TALES, "{\"compute\": \"f32\"}", &model));
  pl_prompt prompt = {sizeof prompt};
  prompt.text = "Once upon a time", prompt.options = "{\"max_new_tokens\": 8, \"do_sample\": false}";
  STATUS(PL_OK, pl_generate(model, &prompt, &request));
  char text[200];
  STATUS(PL_OK, pl_request_text(request, text, sizeof text, NULL));
  CHECK(strcmp(text, wanted) == 0); /* the bits do not depend on who computes */
  CHECK(loops > 10 && loop_tasks > loops && elsewhere == 0);
  STATUS(PL_ERROR_STATE, pl_set_threads(instance, 2));
  STATUS(PL_OK, pl_close(instance));
  CHECK(sched_getaffinity(0, sizeof after, &after) == 0 && CPU_EQUAL(&before, &after));
}

/* A thread of its own computes; the host's callbacks. */
static void worker(void) {
  pl_instance instance = 0;
  pl_options options = {sizeof options};
  options.flags = PL_WORKER, options.threads = 1, options.user = &lines;
  options.log = log_line, options.progress = progress, options.read = read_script, options.allocate = allocate;
  STATUS(PL_OK, pl_open(&options, &instance));
  CHECK(allocated > 100000);
  pl_model model = 0;
  STATUS(PL_OK, pl_load(instance, TALES, "{\"compute\": \"f32\"}", &model));
  CHECK(parts > 0);
  pl_prompt prompt = {sizeof prompt};
  prompt.text = "Once upon a time", prompt.options = "{\"max_new_tokens\": 4, \"do_sample\": false}";
  pl_request request = 0;
  STATUS(PL_OK, pl_submit(model, &prompt, &request));
  pl_result result = {sizeof result};
  for (int i = 0; i < 2000 && result.finish == PL_RUNNING; ++i) {
    const struct timespec pause = {0, 5000000};
    STATUS(PL_OK, pl_request_result(request, &result));
    nanosleep(&pause, NULL);
  }
  CHECK(result.finish == PL_LENGTH && result.new_tokens == 4);
  STATUS(PL_OK, pl_run(instance, "print(1, 'x') assert(require('npc.smith').twice(4) == 8)", 0, "main.lua"));
  CHECK(lines == 1);
  pl_value four = {PL_NUMBER, 0, 4, NULL, 0, 0};
  STATUS(PL_OK, pl_call(instance, "npc.smith:twice", &four, 1, NULL));
  STATUS(PL_ERROR_FILE, pl_run_file(instance, "npc/baker.lua"));
  STATUS(PL_OK, pl_close(instance));
  CHECK(allocated == 0);

  options.flags = 0, options.progress = stop;
  STATUS(PL_OK, pl_open(&options, &instance));
  STATUS(PL_ERROR_CANCELLED, pl_load(instance, TALES, NULL, &model));
  CHECK(model == 0);
  STATUS(PL_OK, pl_close(instance));
}

int main(void) {
  pl_instance instance = 0;
  pl_options options = {sizeof options};
  options.threads = 1;
  STATUS(PL_OK, pl_open(&options, &instance));
  pl_model model = 0;
  STATUS(PL_OK, pl_load(instance, TALES, "{\"compute\": \"f32\"}", &model));
  generating(instance, model);
  texts(instance, model);
  classes(instance);
  talking(instance, model);
  talking_with_cache(instance, model);
  tasks(instance, model);
  values(instance, model);
  worker();
  own_threads(said);
  pl_memory_report memory = {sizeof memory};
  STATUS(PL_OK, pl_memory(instance, &memory));
  CHECK(memory.used > 1000000 && memory.peak >= memory.used && memory.script_used > 100000);
  STATUS(PL_OK, pl_close(instance));
  return finish("session");
}
