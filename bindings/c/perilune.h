/* Perilune from C: models that classify, embed and write text inside a game or a tool.
 *
 * The rules, for every function:
 *
 * - It returns a pl_status: PL_OK, another value below PL_ERROR_ARGUMENT that is no error, or an
 *   error whose text pl_error_text gives. Nothing aborts, exits, throws, installs a signal handler,
 *   changes the locale, or writes to a stream of the process.
 * - A handle is a number, checked at each use: one that was closed, is of another kind, or was made
 *   up is PL_ERROR_HANDLE. 0 is no handle; closing it is PL_OK. Handles are closed in any order;
 *   those of a closed instance are closed with it.
 * - Calls may come from any thread. Those on one instance run one after the other: a call waits for
 *   the one before it. pl_cancel waits for nobody. A callback may call pl_cancel; any other call on
 *   its own instance is PL_ERROR_STATE. Instances share nothing and run side by side.
 * - Rounding, flushed denormals and traps of the caller's thread (fenv.h) change no answer and are
 *   as before after each call; callbacks run with the modes that C begins with.
 * - A child made by fork() gets PL_ERROR_FORKED from every call (the parent's threads are not
 * there).
 * - Structs begin with their size, which the caller sets to sizeof: a library that is newer or
 * older reads and writes only what both know. A size of 0 is PL_ERROR_ARGUMENT.
 * - Texts are UTF-8. Paths and names end with a zero; texts that come with a size may hold zeros.
 *   What is passed in is read before the call returns and stays the caller's.
 * - Texts that are handed out are copied: `buffer` has room for `capacity` bytes with the zero at
 * its end, `*size` becomes the length without it. A buffer that is too small is PL_ERROR_SIZE with
 *   nothing lost: call again with more. buffer may be NULL where capacity is 0, size may be NULL.
 * - `options` are a JSON object with the names that Lua scripts use ({"max_new_tokens": 40}), NULL
 *   for none; an unknown name is PL_ERROR_OPTION with the nearest known one.
 * - A pointer that is NULL where that is not allowed here is PL_ERROR_ARGUMENT.
 */
/* NOLINTBEGIN(readability-identifier-naming): names as C libraries write them */
#ifndef PERILUNE_H
#define PERILUNE_H

#include <stddef.h>
#include <stdint.h>

#if defined(PL_BUILD)
#define PL_API __attribute__((visibility("default")))
#else
#define PL_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef uint64_t pl_instance;     /* a Lua state with the library, its models, threads and memory */
typedef uint64_t pl_model;        /* weights with their tokenizer */
typedef uint64_t pl_request;      /* an answer under way or done */
typedef uint64_t pl_conversation; /* what was said so far, to be gone on with */
typedef uint64_t pl_values;       /* what a script's function returned */
typedef uint64_t pl_handle;       /* any of them */

typedef int32_t pl_status;
enum {
  PL_OK = 0,
  PL_EMPTY = 1,           /* pl_next_event: nothing has happened */
  PL_ERROR_ARGUMENT = 16, /* a value of the wrong kind or out of its range */
  PL_ERROR_HANDLE,        /* closed, of another kind, or never was one */
  PL_ERROR_SIZE,          /* the caller's buffer is too small */
  PL_ERROR_STATE,         /* called from a callback of the same instance, or while it cannot be */
  PL_ERROR_FORKED,        /* in the child of a fork */
  PL_ERROR_OPTION,        /* an unknown or contradictory option */
  PL_ERROR_SHAPE,         /* sizes that do not fit */
  PL_ERROR_DEVICE,        /* a device that is missing or failed */
  PL_ERROR_FILE,          /* cannot be read or written */
  PL_ERROR_FORMAT,        /* read, but damaged or not understood */
  PL_ERROR_PAIRING,       /* model and tokenizer do not belong together */
  PL_ERROR_UNSUPPORTED,   /* understood, and not supported */
  PL_ERROR_MEMORY,        /* a budget or an allocation */
  PL_ERROR_LENGTH,        /* longer than the model's positions */
  PL_ERROR_CANCELLED,     /* by pl_cancel, or a callback that asked for it */
  PL_ERROR_SCRIPT,        /* a script raised an error of its own */
  PL_ERROR_INTERNAL       /* a mistake in this library: please report it */
};

/* 0x00MMmmpp of the library that runs, and the same as "1.2.3". Any thread, never fails. */
PL_API uint32_t pl_version(void);
PL_API const char* pl_version_text(void);
/* "memory", "handle", ...: a status in a word; "unknown" for any other number. Never NULL. */
PL_API const char* pl_status_text(pl_status status);

/* ---------------------------------------------------------------- instances */

enum { PL_LOG_INFO = 0 /* a script's print */, PL_LOG_WARNING = 1 };

enum { PL_FILE_NONE = 0, PL_FILE_BYTES = 1, PL_FILE_FOLDER = 2 };

enum {
  PL_WORKER = 1, /* submitted requests are computed on a thread of the instance's own */
  PL_MOD = 2     /* scripts are strangers': see the limits below */
};

typedef struct pl_options {
  size_t size;            /* sizeof(pl_options) */
  uint32_t flags;         /* PL_WORKER, PL_MOD */
  int32_t threads;        /* that compute; 0: as many as this process may use */
  uint64_t memory;        /* most bytes of weights, caches and tensors, in host memory and as many
                           * on each device; 0: no limit, with PL_MOD 1 GiB */
  uint64_t script_memory; /* most bytes of the scripts' own; 0: no limit, with PL_MOD 64 MiB */
  void* user;             /* handed to the callbacks */
  /* Warnings and what scripts print; text ends with a zero, no line end. NULL: nobody is told. */
  void (*log)(void* user, int32_t level, const char* text);
  /* A long load goes on: part of `what`, 0 to 1. Non-zero ends it (PL_ERROR_CANCELLED). */
  int32_t (*progress)(void* user, const char* what, double part);
  /* The text of a script's file ("npc/smith.lua"), for `require` and pl_run_file: NULL where there
   * is none, else *size bytes that are valid until the callback is called again. NULL: files of the
   * file system, for PL_MOD none. */
  const char* (*read)(void* user, const char* path, size_t* size);
  /* Memory of the scripts, as Lua asks for it: new_size 0 frees block; NULL for no memory. */
  void* (*allocate)(void* user, void* block, size_t old_size, size_t new_size);
  /* Where the text goes if pl_open fails, since there is no instance to ask: error_capacity bytes
   * with the zero. May be NULL. */
  char* error;
  size_t error_capacity;
  /* With PL_MOD: most steps of Lua's interpreter and most milliseconds of one call; 0: 200 million,
   * 10,000. Folders that models may be loaded from, `model_folder_count` of them. */
  uint64_t script_steps;
  double script_ms;
  const char* const* model_folders;
  size_t model_folder_count;
  /* The host's threads in place of the instance's own: calls task(state, index) for every index
   * below `tasks`, each once, in any order and `threads` of them at once at most (so many there
   * are), and returns when all are done. Tasks do not throw and call nothing back; several calls
   * may be under way where the instance has a worker. pl_set_threads is PL_ERROR_STATE then. */
  void (*parallel_for)(void* user, int64_t tasks, void (*task)(void* state, int64_t index),
                       void* state);
  /* Processors, as the system numbers them, that the instance's threads stay on, and the caller's
   * thread while it is in a call; NULL: wherever the system puts them. */
  const int32_t* processors;
  size_t processor_count;
  /* Files of models (settings, tokenizers, weights) out of an archive or memory of the host's,
   * looked for here before the file system; with PL_MOD in place of model_folders, for paths that
   * are here. Returns PL_FILE_BYTES with *data and *size, PL_FILE_FOLDER for a folder, or
   * PL_FILE_NONE. The bytes stay as they are until close_file(user, data), which comes once for
   * each time they were given, from any thread, at pl_close at the latest. A path is asked for more
   * than once: no copies. With the option "mmap" weights are used where they lie, else they are
   * copied. Folders are not listed: a GGUF file is named itself. Sounds and plug-ins come from the
   * file system. */
  int32_t (*open_file)(void* user, const char* path, const void** data, size_t* size);
  void (*close_file)(void* user, const void* data); /* may be NULL: nothing is to be done */
} pl_options;

/* Makes an instance. options NULL: the defaults. *instance becomes 0 on failure. At most 256 at a
 * time, any number one after the other. */
PL_API pl_status pl_open(const pl_options* options, pl_instance* instance);
/* Ends what runs and frees everything. Waits for a call under way, which it cancels. */
PL_API pl_status pl_close(pl_instance instance);
/* Frees one object: a model (its requests are cancelled), request, conversation or values. */
PL_API pl_status pl_release(pl_handle object);
/* The text of the last error on this instance, by any thread; "" before the first. */
PL_API pl_status pl_error_text(pl_instance instance, char* buffer, size_t capacity, size_t* size);
/* Ends the call that another thread is in, between two operations of a model or within a script:
 * it returns PL_ERROR_CANCELLED. Without such a call nothing happens. Requests that were submitted
 * stay. From any thread, at once. */
PL_API pl_status pl_cancel(pl_instance instance);

typedef struct pl_memory_report {
  size_t size;
  uint64_t used, peak, budget; /* bytes of weights, caches and tensors; budget 0: no limit */
  uint64_t script_used, script_budget; /* bytes of the scripts' own */
} pl_memory_report;
PL_API pl_status pl_memory(pl_instance instance, pl_memory_report* report);
/* Threads that compute from now on, 1 to 1024. Results do not depend on it. */
PL_API pl_status pl_set_threads(pl_instance instance, int32_t threads);

/* ---------------------------------------------------------------- models and text */

/* Loads a model's folder or file; options as pl.load takes them: {"compute": "int8"}. */
PL_API pl_status pl_load(pl_instance instance, const char* path, const char* options,
                         pl_model* model);
/* Ids of a text, raw numbers of the model: *count of them. PL_ERROR_SIZE as for texts. */
PL_API pl_status pl_encode(pl_model model, const char* text, size_t text_size, const char* options,
                           int32_t* ids, size_t capacity, size_t* count);
PL_API pl_status pl_decode(pl_model model, const int32_t* ids, size_t count, char* buffer,
                           size_t capacity, size_t* size);
/* What the model's template makes of messages: JSON, [{"role": "user", "content": "Hi"}]. */
PL_API pl_status pl_chat(pl_model model, const char* messages, const char* options, char* buffer,
                         size_t capacity, size_t* size);
/* One vector a text, row after row in out: f32[count, *width]. sizes may be NULL where all texts
 * end with a zero. out may be NULL where capacity (in floats) is 0, to learn the width with one
 * text. */
PL_API pl_status pl_embed(pl_model model, const char* const* texts, const size_t* sizes,
                          size_t count, const char* options, float* out, size_t capacity,
                          size_t* width);

typedef struct pl_class {
  int32_t id;  /* of the model, from 0: pl_label names it */
  float score; /* 0 to 1 */
} pl_class;
/* The best class of each text: out[count]. Options as the task text-classification takes them. */
PL_API pl_status pl_classify(pl_model model, const char* const* texts, const size_t* sizes,
                             size_t count, const char* options, pl_class* out);
PL_API pl_status pl_label(pl_model model, int32_t id, char* buffer, size_t capacity, size_t* size);

/* ---------------------------------------------------------------- writing */

typedef struct pl_prompt {
  size_t size;          /* sizeof(pl_prompt) */
  const char* text;     /* to be continued; exactly one of text, messages and ids is not NULL */
  size_t text_size;     /* bytes; 0: up to the zero */
  const char* messages; /* JSON, for the model's chat template */
  const int32_t* ids;
  size_t id_count;
  const char* options; /* {"max_new_tokens": 40, "temperature": 0.8, "seed": 7}: as m:generate */
  /* pl_generate only: each piece of text as it comes, whole characters, ending with a zero.
   * Non-zero ends the answer, which is kept as far as it got. May be NULL. */
  int32_t (*on_text)(void* user, const char* text, size_t text_size);
  void* user;
} pl_prompt;

/* Writes an answer and returns when it is done; *request then holds it. */
PL_API pl_status pl_generate(pl_model model, const pl_prompt* prompt, pl_request* request);
/* Takes a prompt and returns at once: pl_step computes, or the thread of PL_WORKER. */
PL_API pl_status pl_submit(pl_model model, const pl_prompt* prompt, pl_request* request);
/* The same for an input that goes once through the model's own head is pl_call's. */

typedef struct pl_step_report {
  size_t size;
  int32_t idle;   /* 1: nothing is left to do */
  int32_t tokens; /* computed in this call */
  double ms;      /* that it took */
} pl_step_report;
/* Computes until budget_ms is spent, or until nothing is left; long operations are cut where the
 * time ends. budget_ms 0 runs one pass of each model. Scripts' tasks (pl.async) have up to half of
 * the time. report may be NULL. */
PL_API pl_status pl_step(pl_instance instance, double budget_ms, pl_step_report* report);

enum { PL_EVENT_TEXT = 1, PL_EVENT_DONE = 2, PL_EVENT_ERROR = 3, PL_EVENT_WARNING = 4 };
typedef struct pl_event {
  size_t size;
  pl_request request;
  int32_t kind;
  int32_t token; /* TEXT: the last id, else -1 */
  char* text;    /* the caller's buffer: what was written, or the error */
  size_t capacity;
  size_t text_size;
} pl_event;
/* The next thing that happened to a submitted request, each once, in order; PL_EMPTY for nothing.
 * After PL_ERROR_SIZE (text_size says how much is needed) it is still the next. */
PL_API pl_status pl_next_event(pl_instance instance, pl_event* event);

/* Ends a request where it is; what was written stays. One that is done stays as it is. */
PL_API pl_status pl_request_cancel(pl_request request);

enum {
  PL_RUNNING = 0,
  PL_STOP = 1,
  PL_LENGTH = 2,
  PL_CONTEXT = 3,
  PL_CANCELLED = 4,
  PL_FAILED = 5
};
typedef struct pl_result {
  size_t size;
  int32_t finish; /* PL_RUNNING, or why it ended */
  int32_t prompt_tokens;
  int32_t new_tokens;
  double tokens_per_s; /* 0 while it runs */
} pl_result;
PL_API pl_status pl_request_result(pl_request request, pl_result* result);
/* What was written so far; of a request that failed, its error. */
PL_API pl_status pl_request_text(pl_request request, char* buffer, size_t capacity, size_t* size);

/* A conversation keeps what was said. options: {"system": "You are a smith.", ...}, with any option
 * of generation for all its answers; "save_cache": true makes pl_save write keys and values, too
 * (not with PL_WORKER). */
PL_API pl_status pl_converse(pl_model model, const char* options, pl_conversation* conversation);
/* Says something and submits the answer, as pl_submit does. One answer at a time. */
PL_API pl_status pl_say(pl_conversation conversation, const char* text, size_t text_size,
                        pl_request* request);
/* Writes what was said, as JSON, without weights; and takes it up again. With "save_cache" keys and
 * values of the used positions lie beside it in PATH.cache, and the same model, loaded in the same
 * way, goes on from them; otherwise (a warning says so) all of it is read again. */
PL_API pl_status pl_save(pl_conversation conversation, const char* path);
PL_API pl_status pl_restore(pl_model model, const char* path, pl_conversation* conversation);

/* ---------------------------------------------------------------- scripts */

enum { PL_NIL = 0, PL_BOOLEAN, PL_NUMBER, PL_TEXT, PL_JSON, PL_FLOATS, PL_OBJECT };
typedef struct pl_value {
  int32_t kind;
  int32_t boolean;
  double number;
  const void* data; /* TEXT and JSON: size bytes, and a zero where they are handed out; FLOATS: size
                       floats */
  size_t size;
  pl_handle object; /* OBJECT: a model or request, and anything else that only scripts look into */
} pl_value;

/* Runs a script: text only, never compiled code. name stands in its errors ("quest.lua"). */
PL_API pl_status pl_run(pl_instance instance, const char* text, size_t text_size, const char* name);
PL_API pl_status pl_run_file(pl_instance instance, const char* path);
/* Calls a function by name: "think", "smith.think" of a global table, "npc.smith:think" of a
 * module. JSON arrives as a table, FLOATS as a Tensor f32[n]; tables that a function returns are
 * JSON. results may be NULL. */
PL_API pl_status pl_call(pl_instance instance, const char* function, const pl_value* arguments,
                         size_t count, pl_values* results);
/* How many there are; the one at index, from 0: data is valid until the values are released. */
PL_API pl_status pl_value_count(pl_values values, size_t* count);
PL_API pl_status pl_value_at(pl_values values, size_t index, pl_value* value);

#ifdef __cplusplus
}
#endif
#endif
/* NOLINTEND(readability-identifier-naming) */
