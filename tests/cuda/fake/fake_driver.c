/* An NVIDIA driver (libcuda.so.1) of which there is no more than what the CUDA runtime asks before it
 * looks for GPUs: FAKE_DRIVER_VERSION (12020 for CUDA 12.2; 0 or unset: none is installed) and what
 * cuInit answers (FAKE_DRIVER_INIT: 100 where there is no GPU). */
#include <stdlib.h>

static int number(const char* variable) {
  const char* text = getenv(variable);
  return text == NULL ? 0 : atoi(text);
}

int cuDriverGetVersion(int* version) {
  *version = number("FAKE_DRIVER_VERSION");
  return 0;
}

int cuInit(unsigned flags) {
  (void)flags;
  return number("FAKE_DRIVER_INIT");
}
