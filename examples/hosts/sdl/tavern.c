/* A tavern: two characters talk, 60 frames a second, 3 ms of each for the model. Each character is a Lua file that
 * says how it is asked. SDL_VIDEODRIVER=dummy runs it without a screen; --frames N ends it, --picture FILE.bmp keeps
 * the last frame. cc tavern.c $(pkg-config --cflags --libs sdl2 perilune) */
#include <SDL2/SDL.h>
#include <perilune.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHARACTERS = 2, WIDTH = 640, HEIGHT = 360 };

typedef struct {
  const char* file;
  char prompt[200], said[600];
  pl_request request;
  SDL_Color color;
} character;

static character people[CHARACTERS] = {{"smith", "", "", 0, {200, 120, 60, 255}}, {"bard", "", "", 0, {70, 130, 200, 255}}};
static pl_instance instance;
static pl_model model;

static void report(const char* what) {
  char text[500] = "";
  pl_error_text(instance, text, sizeof text, NULL);
  fprintf(stderr, "tavern: %s: %s\n", what, text);
}

/* npc.smith:line(turn) -> what the character is asked */
static int ask(character* who, int turn) {
  char function[100];
  pl_values values = 0;
  pl_value argument = {PL_NUMBER, 0, turn, NULL, 0, 0}, value;
  snprintf(function, sizeof function, "%s:line", who->file);
  if (pl_call(instance, function, &argument, 1, &values) != PL_OK || pl_value_at(values, 0, &value) != PL_OK) return report("line"), 1;
  snprintf(who->prompt, sizeof who->prompt, "%s", value.kind == PL_TEXT ? (const char*)value.data : "");
  pl_release(values);
  pl_release(who->request);
  who->said[0] = 0;
  pl_prompt prompt = {sizeof prompt};
  prompt.text = who->prompt, prompt.options = "{\"max_new_tokens\": 40, \"temperature\": 0.8, \"seed\": 7}";
  return pl_submit(model, &prompt, &who->request) == PL_OK ? 0 : (report("submit"), 1);
}

static void listen(void) {
  char piece[128];
  pl_event event = {sizeof event};
  event.text = piece, event.capacity = sizeof piece;
  while (pl_next_event(instance, &event) == PL_OK) {
    for (int i = 0; i < CHARACTERS; ++i) {
      if (event.request == people[i].request && event.kind == PL_EVENT_TEXT &&
          strlen(people[i].said) + strlen(piece) < sizeof people[i].said)
        strcat(people[i].said, piece);
    }
  }
}

/* A face whose mouth is open while it talks, and a bar as long as what was said. */
static void draw(SDL_Renderer* renderer, int frame) {
  SDL_SetRenderDrawColor(renderer, 30, 22, 18, 255);
  SDL_RenderClear(renderer);
  for (int i = 0; i < CHARACTERS; ++i) {
    const SDL_Color c = people[i].color;
    SDL_Rect face = {80 + 320 * i, 60, 120, 120}, mouth = {120 + 320 * i, 140, 40, 4 + (frame / 6 % 2) * 12};
    SDL_Rect speech = {40 + 320 * i, 220, 10 + (int)strlen(people[i].said), 30};
    SDL_SetRenderDrawColor(renderer, c.r, c.g, c.b, 255);
    SDL_RenderFillRect(renderer, &face);
    SDL_RenderFillRect(renderer, &speech);
    SDL_SetRenderDrawColor(renderer, 20, 10, 10, 255);
    SDL_RenderFillRect(renderer, &mouth);
  }
  SDL_RenderPresent(renderer);
}

static int by_value(const void* a, const void* b) { return (*(const double*)a > *(const double*)b) - (*(const double*)a < *(const double*)b); }

int main(int argc, char** argv) {
  int frames = 0, failed = 0;
  const char* picture = NULL;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--frames") == 0) frames = atoi(argv[i + 1]);
    if (strcmp(argv[i], "--picture") == 0) picture = argv[i + 1];
  }
  if (SDL_Init(SDL_INIT_VIDEO) != 0) return fprintf(stderr, "tavern: %s\n", SDL_GetError()), 1;
  SDL_Surface* canvas = SDL_CreateRGBSurfaceWithFormat(0, WIDTH, HEIGHT, 32, SDL_PIXELFORMAT_ARGB8888);
  SDL_Window* window = frames > 0 ? NULL : SDL_CreateWindow("The tavern", 0, 0, WIDTH, HEIGHT, 0);
  SDL_Renderer* renderer = window ? SDL_CreateRenderer(window, -1, SDL_RENDERER_SOFTWARE) : SDL_CreateSoftwareRenderer(canvas);
  pl_options options = {sizeof options};
  options.threads = 1;
  const char* folder = getenv("TAVERN") ? getenv("TAVERN") : "examples/hosts/sdl";
  char setup[300];
  snprintf(setup, sizeof setup, "package.path = '%s/?.lua;' .. package.path", folder);
  if (renderer == NULL || pl_open(&options, &instance) != PL_OK || pl_run(instance, setup, 0, "setup") != PL_OK ||
      pl_load(instance, "scripts/models/tales", NULL, &model) != PL_OK)
    return report("start"), 1;
  double* took = calloc((size_t)(frames > 0 ? frames : 1), sizeof *took);
  const double tick = 1000.0 / (double)SDL_GetPerformanceFrequency();
  pl_step_report step = {sizeof step, 1, 0, 0};
  for (int frame = 0, turn = 0; !failed && (frames == 0 || frame < frames); ++frame) {
    const Uint64 start = SDL_GetPerformanceCounter();
    SDL_Event input;
    while (SDL_PollEvent(&input)) failed |= input.type == SDL_QUIT;
    if (step.idle && ++turn) {
      for (int i = 0; i < CHARACTERS; ++i) failed |= ask(&people[i], turn);
    }
    if (pl_step(instance, 3, &step) != PL_OK) report("step"), failed = 1;
    listen();
    draw(renderer, frame);
    const double ms = (double)(SDL_GetPerformanceCounter() - start) * tick;
    if (frames > 0) took[frame] = ms;
    if (ms < 16) SDL_Delay((Uint32)(16 - ms));
  }
  if (picture != NULL) SDL_SaveBMP(canvas, picture);
  for (int i = 0; i < CHARACTERS; ++i) printf("%s: %s%s\n", people[i].file, people[i].prompt, people[i].said);
  if (frames > 0) {
    qsort(took, (size_t)frames, sizeof *took, by_value);
    printf("%d frames: half within %.1f ms, 99 of 100 within %.1f ms\n", frames, took[frames / 2], took[frames * 99 / 100]);
  }
  free(took);
  pl_close(instance);
  SDL_Quit();
  return failed;
}
