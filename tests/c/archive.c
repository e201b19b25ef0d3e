/* Models out of a host's archive: settings, tokenizer and weights come through open_file, and the
 * file system is not asked for what is there. */
#include "check.h"

#define MOST 32
static struct {
  char path[240];
  char* data;
  size_t size;
} files[MOST];
static int count, opened, closed;

static void keep(const char* folder, const char* name) {
  char path[200];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE* file = fopen(path, "rb");
  if (file == NULL) return; /* not every model has all of them */
  fseek(file, 0, SEEK_END);
  const size_t size = (size_t)ftell(file);
  rewind(file);
  /* One byte off, so that weights lie where no tensor may. */
  files[count].data = (char*)malloc(size + 1) + 1;
  files[count].size = size;
  snprintf(files[count].path, sizeof files[count].path, "game.pak/%s", path);
  CHECK(fread(files[count].data, 1, size, file) == size);
  fclose(file);
  ++count;
}

static int32_t open_file(void* user, const char* path, const void** data, size_t* size) {
  (void)user;
  if (strcmp(path, "game.pak/" TALES) == 0 || strcmp(path, "game.pak/" REVIEWS) == 0)
    return PL_FILE_FOLDER;
  if (strcmp(path, "game.pak/odd/config.json") == 0) return 7;
  if (strcmp(path, "game.pak/null/config.json") == 0) return PL_FILE_BYTES;
  for (int i = 0; i < count; ++i) {
    if (strcmp(path, files[i].path) != 0) continue;
    *data = files[i].data, *size = files[i].size;
    ++opened;
    return PL_FILE_BYTES;
  }
  return PL_FILE_NONE;
}

static void close_file(void* user, const void* data) {
  (void)user;
  for (int i = 0; i < count; ++i) closed += files[i].data == data;
}

static void write_tale(pl_instance instance, const char* path, const char* options, char* text,
                       size_t capacity) {
  pl_model model = 0;
  pl_request request = 0;
  pl_prompt prompt = {sizeof prompt};
  prompt.text = "Once upon a time";
  prompt.options = "{\"max_new_tokens\": 8, \"do_sample\": false}";
  STATUS(PL_OK, pl_load(instance, path, options, &model));
  STATUS(PL_OK, pl_generate(model, &prompt, &request));
  STATUS(PL_OK, pl_request_text(request, text, capacity, NULL));
  STATUS(PL_OK, pl_release(request));
  STATUS(PL_OK, pl_release(model));
}

static void loading(void) {
  pl_options options = {sizeof options};
  options.threads = 1, options.open_file = open_file, options.close_file = close_file;
  pl_instance instance = 0;
  STATUS(PL_OK, pl_open(&options, &instance));
  char plain[200] = "", brought[200] = "", mapped[200] = "";
  write_tale(instance, TALES, NULL, plain, sizeof plain);
  CHECK(opened == 0);
  write_tale(instance, "game.pak/" TALES, NULL, brought, sizeof brought);
  write_tale(instance, "game.pak/" TALES, "{\"mmap\": true}", mapped, sizeof mapped);
  CHECK(strlen(plain) > 8 && strcmp(plain, brought) == 0 && strcmp(plain, mapped) == 0);
  CHECK(opened > 6);

  pl_model reviews = 0;
  const char* text = "A great place.";
  pl_class best;
  STATUS(PL_OK, pl_load(instance, "game.pak/" REVIEWS, NULL, &reviews));
  STATUS(PL_OK, pl_classify(reviews, &text, NULL, 1, NULL, &best));
  CHECK(best.score > 0.5F);

  /* What a host may get wrong. */
  pl_model none = 0;
  STATUS(PL_ERROR_FILE, pl_load(instance, "game.pak/nowhere", NULL, &none));
  STATUS(PL_ERROR_FILE, pl_load(instance, "game.pak/odd/config.json", NULL, &none));
  STATUS(PL_ERROR_FILE, pl_load(instance, "game.pak/null/config.json", NULL, &none));
  for (int i = 0; i < count; ++i) {
    if (strstr(files[i].path, "tales/model.safetensors") == NULL) continue;
    files[i].size /= 2; /* a file that was cut */
    STATUS(PL_ERROR_FORMAT, pl_load(instance, "game.pak/" TALES, NULL, &none));
    files[i].size = 0;
    STATUS(PL_ERROR_UNSUPPORTED, pl_load(instance, "game.pak/" TALES, NULL, &none));
  }
  STATUS(PL_OK, pl_close(instance));
  CHECK(opened == closed);
}

/* Scripts of strangers load what the host brings, and nothing else. */
static void strangers(void) {
  pl_options options = {sizeof options};
  options.flags = PL_MOD, options.threads = 1, options.open_file = open_file,
  options.close_file = close_file;
  pl_instance instance = 0;
  STATUS(PL_OK, pl_open(&options, &instance));
  const char* inside =
      "local pl = require 'perilune'\n"
      "local m = pl.load 'game.pak/" REVIEWS
      "'\n"
      "best = pl.pipeline('text-classification', m)('An awful place.').label";
  const char* outside = "require('perilune').load '" REVIEWS "'";
  const char* above = "require('perilune').load 'game.pak/../" REVIEWS "'";
  STATUS(PL_OK, pl_run(instance, inside, strlen(inside), "inside"));
  STATUS(PL_ERROR_UNSUPPORTED, pl_run(instance, outside, strlen(outside), "outside"));
  STATUS(PL_ERROR_UNSUPPORTED, pl_run(instance, above, strlen(above), "above"));
  STATUS(PL_OK, pl_close(instance));
  CHECK(opened == closed);
}

int main(void) {
  const char* names[] = {"config.json",       "generation_config.json", "tokenizer.json",
                         "model.safetensors", "tokenizer_config.json",  "tokenizer.model",
                         "vocab.txt"};
  for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
    keep(TALES, names[i]), keep(REVIEWS, names[i]);
  loading();
  strangers();
  for (int i = 0; i < count; ++i) free(files[i].data - 1);
  return finish("archive");
}
