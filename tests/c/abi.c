/* The binary interface: numbers of constants, sizes and places of fields, as tests/c/abi.txt holds them. What is there
 * keeps its place for ever; what is new comes at the end of its struct, and into that file (PERILUNE_ABI=print). The
 * symbols are compared by tests/shell/module_test.sh. */
#include <stddef.h>

#include "check.h"

#define FIELD(type, field) {#type "." #field, offsetof(type, field)}
#define SIZE(type) {"sizeof " #type, sizeof(type)}
#define CONSTANT(name) {#name, name}

static const struct {
  const char* name;
  size_t value;
} interface[] = {
    CONSTANT(PL_OK),
    CONSTANT(PL_EMPTY),
    CONSTANT(PL_ERROR_ARGUMENT),
    CONSTANT(PL_ERROR_HANDLE),
    CONSTANT(PL_ERROR_SIZE),
    CONSTANT(PL_ERROR_STATE),
    CONSTANT(PL_ERROR_FORKED),
    CONSTANT(PL_ERROR_OPTION),
    CONSTANT(PL_ERROR_SHAPE),
    CONSTANT(PL_ERROR_DEVICE),
    CONSTANT(PL_ERROR_FILE),
    CONSTANT(PL_ERROR_FORMAT),
    CONSTANT(PL_ERROR_PAIRING),
    CONSTANT(PL_ERROR_UNSUPPORTED),
    CONSTANT(PL_ERROR_MEMORY),
    CONSTANT(PL_ERROR_LENGTH),
    CONSTANT(PL_ERROR_CANCELLED),
    CONSTANT(PL_ERROR_SCRIPT),
    CONSTANT(PL_ERROR_INTERNAL),
    CONSTANT(PL_LOG_INFO),
    CONSTANT(PL_LOG_WARNING),
    CONSTANT(PL_FILE_NONE),
    CONSTANT(PL_FILE_BYTES),
    CONSTANT(PL_FILE_FOLDER),
    CONSTANT(PL_WORKER),
    CONSTANT(PL_MOD),
    CONSTANT(PL_EVENT_TEXT),
    CONSTANT(PL_EVENT_DONE),
    CONSTANT(PL_EVENT_ERROR),
    CONSTANT(PL_EVENT_WARNING),
    CONSTANT(PL_RUNNING),
    CONSTANT(PL_STOP),
    CONSTANT(PL_LENGTH),
    CONSTANT(PL_CONTEXT),
    CONSTANT(PL_CANCELLED),
    CONSTANT(PL_FAILED),
    CONSTANT(PL_NIL),
    CONSTANT(PL_BOOLEAN),
    CONSTANT(PL_NUMBER),
    CONSTANT(PL_TEXT),
    CONSTANT(PL_JSON),
    CONSTANT(PL_FLOATS),
    CONSTANT(PL_OBJECT),
    FIELD(pl_options, size),
    FIELD(pl_options, flags),
    FIELD(pl_options, threads),
    FIELD(pl_options, memory),
    FIELD(pl_options, script_memory),
    FIELD(pl_options, user),
    FIELD(pl_options, log),
    FIELD(pl_options, progress),
    FIELD(pl_options, read),
    FIELD(pl_options, allocate),
    FIELD(pl_options, error),
    FIELD(pl_options, error_capacity),
    FIELD(pl_options, script_steps),
    FIELD(pl_options, script_ms),
    FIELD(pl_options, model_folders),
    FIELD(pl_options, model_folder_count),
    FIELD(pl_options, parallel_for),
    FIELD(pl_options, processors),
    FIELD(pl_options, processor_count),
    FIELD(pl_options, open_file),
    FIELD(pl_options, close_file),
    SIZE(pl_options),
    FIELD(pl_memory_report, size),
    FIELD(pl_memory_report, used),
    FIELD(pl_memory_report, peak),
    FIELD(pl_memory_report, budget),
    FIELD(pl_memory_report, script_used),
    FIELD(pl_memory_report, script_budget),
    SIZE(pl_memory_report),
    FIELD(pl_class, id),
    FIELD(pl_class, score),
    SIZE(pl_class),
    FIELD(pl_prompt, size),
    FIELD(pl_prompt, text),
    FIELD(pl_prompt, text_size),
    FIELD(pl_prompt, messages),
    FIELD(pl_prompt, ids),
    FIELD(pl_prompt, id_count),
    FIELD(pl_prompt, options),
    FIELD(pl_prompt, on_text),
    FIELD(pl_prompt, user),
    SIZE(pl_prompt),
    FIELD(pl_step_report, size),
    FIELD(pl_step_report, idle),
    FIELD(pl_step_report, tokens),
    FIELD(pl_step_report, ms),
    SIZE(pl_step_report),
    FIELD(pl_event, size),
    FIELD(pl_event, request),
    FIELD(pl_event, kind),
    FIELD(pl_event, token),
    FIELD(pl_event, text),
    FIELD(pl_event, capacity),
    FIELD(pl_event, text_size),
    SIZE(pl_event),
    FIELD(pl_result, size),
    FIELD(pl_result, finish),
    FIELD(pl_result, prompt_tokens),
    FIELD(pl_result, new_tokens),
    FIELD(pl_result, tokens_per_s),
    SIZE(pl_result),
    FIELD(pl_value, kind),
    FIELD(pl_value, boolean),
    FIELD(pl_value, number),
    FIELD(pl_value, data),
    FIELD(pl_value, size),
    FIELD(pl_value, object),
    SIZE(pl_value),
};

int main(void) {
  const int printing = getenv("PERILUNE_ABI") != NULL;
  FILE* file = printing ? NULL : fopen("tests/c/abi.txt", "r");
  char line[100], wanted[100];
  if (!printing && file == NULL) return printf("FAILED: tests/c/abi.txt is not there\n"), 1;
  for (size_t i = 0; i < sizeof interface / sizeof *interface; ++i) {
    snprintf(wanted, sizeof wanted, "%s %zu\n", interface[i].name, interface[i].value);
    if (printing) {
      fputs(wanted, stdout);
    } else if (fgets(line, sizeof line, file) == NULL || strcmp(line, wanted) != 0) {
      ++failures;
      printf("FAILED: the interface has \"%.*s\", tests/c/abi.txt says \"%.*s\"\n", (int)strcspn(wanted, "\n"), wanted,
             (int)strcspn(line, "\n"), line);
      break;
    }
  }
  if (file != NULL) {
    if (failures == 0 && fgets(line, sizeof line, file) != NULL) printf("FAILED: %s is no more\n", line), ++failures;
    fclose(file);
  }
  return printing ? 0 : finish("abi");
}
