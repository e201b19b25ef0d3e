/* dlopen and dlclose, again and again, with instances that were closed and with one that was not; what the library
 * shows; and a Lua of the host's own beside it. PERILUNE_RELOADS: how often (1000 in the campaign). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <locale.h>
#include <signal.h>

#include "check.h"

typedef pl_status (*open_function)(const pl_options*, pl_instance*);
typedef pl_status (*close_function)(pl_instance);
typedef pl_status (*run_function)(pl_instance, const char*, size_t, const char*);

static long resident_pages(void) {
  long size = 0, pages = 0;
  FILE* file = fopen("/proc/self/statm", "r");
  if (file != NULL && fscanf(file, "%ld %ld", &size, &pages) != 2) pages = 0;
  if (file != NULL) fclose(file);
  return pages;
}

int main(void) {
  const char* path = getenv("PERILUNE_LIBRARY");
  const int rounds = getenv("PERILUNE_RELOADS") ? atoi(getenv("PERILUNE_RELOADS")) : 40;
  long after_ten = 0;
  if (path == NULL) return 77;
  struct sigaction before[2], after[2]; /* whoever started this may ignore some */
  CHECK(sigaction(SIGINT, NULL, &before[0]) == 0 && sigaction(SIGPROF, NULL, &before[1]) == 0);
  for (int i = 0; i < rounds; ++i) {
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
      printf("FAILED: %s\n", dlerror());
      return 1;
    }
    /* What is inside is not shown: neither LuaJIT's functions nor C++ ones. */
    CHECK(dlsym(library, "lua_newstate") == NULL && dlsym(library, "luaL_newstate") == NULL);
    CHECK(dlsym(library, "luaopen_perilune_core") == NULL && dlsym(library, "pl_lua_open") == NULL);
    open_function open_it = (open_function)dlsym(library, "pl_open");
    close_function close_it = (close_function)dlsym(library, "pl_close");
    run_function run = (run_function)dlsym(library, "pl_run");
    pl_options options = {sizeof options};
    pl_instance instance = 0, left_open = 0;
    options.threads = 2;
    CHECK(open_it(&options, &instance) == PL_OK);
    CHECK(run(instance, "assert(require('perilune').ones({ 3 }):sum() == 3)", 0, "sum") == PL_OK);
    if (i % 4 == 1) CHECK(open_it(&options, &left_open) == PL_OK);
    if (i % 4 != 3) CHECK(close_it(instance) == PL_OK);
    CHECK(dlclose(library) == 0);
    if (i == 9) after_ten = resident_pages();
  }
  /* Nothing of it stays: no handler of signals, no locale, and next to no memory. */
  CHECK(sigaction(SIGINT, NULL, &after[0]) == 0 && sigaction(SIGPROF, NULL, &after[1]) == 0);
  for (int i = 0; i < 2; ++i) CHECK(after[i].sa_handler == before[i].sa_handler);
  CHECK(strcmp(setlocale(LC_ALL, NULL), "C") == 0);
  const long grown = resident_pages() - after_ten;
  printf("%d times, grown by %ld pages since the tenth\n", rounds, grown);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  CHECK(grown < 2000); /* 8 MB */
#endif
  return finish("reload");
}
