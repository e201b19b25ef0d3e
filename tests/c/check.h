/* Checks that say where they failed and count; no framework, since a host may be plain C. */
#ifndef CHECK_H
#define CHECK_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perilune.h"

static int failures = 0;

#define CHECK(condition)                                             \
  do {                                                               \
    if (!(condition)) {                                              \
      ++failures;                                                    \
      printf("FAILED: %s:%d: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                \
  } while (0)

/* The call gives this status; otherwise the instance's error is told, too. */
#define STATUS(wanted, call)                                                        \
  do {                                                                              \
    pl_status found_ = (call);                                                      \
    if (found_ != (wanted)) {                                                       \
      char text_[400] = "";                                                         \
      ++failures;                                                                   \
      pl_error_text(instance, text_, sizeof text_, NULL);                           \
      printf("FAILED: %s:%d: %s: %s, expected %s: %s\n", __FILE__, __LINE__, #call, \
             pl_status_text(found_), pl_status_text(wanted), text_);                \
    }                                                                               \
  } while (0)

static inline int finish(const char* name) {
  printf("%s: %d failed\n", name, failures);
  return failures != 0;
}

#define TALES "scripts/models/tales"
#define REVIEWS "scripts/models/reviews"
#endif
