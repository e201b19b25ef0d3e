/* Scripts of strangers: each is run in an instance made for them, and none gets out, hangs it or eats its memory.
 * PERILUNE_MODS=all: each in four ways (in the campaign). */
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static char made[] = "/tmp/perilune-mods-XXXXXX";

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Each escape is an expression that a mod would have to be able to evaluate to something that is not nil. */
static const char* const gone[] = {
    "io", "debug", "package", "ffi", "jit", "dofile", "loadfile", "load", "getfenv", "setfenv", "newproxy", "module",
    "collectgarbage", "gcinfo", "os.execute", "os.remove", "os.rename", "os.exit", "os.getenv", "os.tmpname", "os.setlocale",
    "os.date", "string.dump", "('x').dump", "math.randomseed", "coroutine.isyieldable", "bit", "table.foreach", "_G._G.io",
    "getmetatable('')", "getmetatable(print)", "getmetatable(pl)", "getmetatable(pl.zeros({ 1 }))", "pl.files", "pl.sleep", "pl.save",
    "pl.open", "pl.cache_load", "pl.family", "pl.on_warning", "pl.health", "pl.estimate", "rawget(_G, 'io')", "pl.check",
};

/* Each of these must end in an error, soon, and leave nothing behind; WHERE is a folder that must stay as it is. */
static const char* const hostile[] = {
    "require 'io'", "require 'ffi'", "require 'debug'", "require 'os'", "require 'jit'", "require 'package'", "require 'perilune.core'",
    "require 'perilune.host'", "require 'perilune.loaded.catalogue'", "require '../../etc/passwd'", "require 'string.buffer'",
    "assert(loadstring('\\27LJ\\2'))()", "assert(loadstring('return io'))().open('/etc/passwd')",
    "assert(loadstring('io.open(1)'))()", "while true do end", "for i = 1, math.huge do end", "repeat until false",
    "local function f() return f() end f()", "local function f() return 1 + f() end f()", "while true do pcall(error) end",
    "while true do pcall(function() while true do end end) end",
    "xpcall(function() while true do end end, function() while true do end end) while true do end",
    "local c = coroutine.create(function() while true do end end) coroutine.resume(c) while true do end",
    "while true do coroutine.wrap(function() while true do end end)() end", "local t = {} while true do t[#t + 1] = ('x'):rep(1000) end",
    "local t = {} for i = 1, 1e9 do t[i] = i end", "local s = 'x' while true do s = s .. s end", "('x'):rep(1e9)",
    "string.rep('x', 1e10)", "('x'):rep(1e7):rep(100)", "local t = {} while true do t[{}] = {} end", "local t = {} while true do t = { t } end",
    "table.concat({ ('x'):rep(1e7), ('y'):rep(1e7), ('z'):rep(1e7), ('x'):rep(1e7), ('y'):rep(1e7), ('z'):rep(1e7), ('x'):rep(1e7) })",
    "('a'):rep(30000):find(('.-'):rep(20) .. 'b')", "('a'):rep(50000):match('(.-)(.-)(.-)b')", "('a'):rep(40000):gsub(('a?'):rep(90) .. 'b', '')",
    "string.find(('a'):rep(1e6), '.-.-.-.-b')", "for _ in ('a'):rep(1e5):gmatch('.-.-b') do end", "('('):rep(1e5):find('%b()%b()%b()x')",
    "('x'):find(('x'):rep(1000))", "string.format('%1000d', 1)", "pl.zeros({ 1e9 })", "pl.zeros({ 1e5, 1e5 })", "local t = {} while true do t[#t + 1] = pl.zeros({ 1e6 }) end",
    "pl.ones({ 1e18 })", "pl.load '/etc'", "pl.load '/etc/passwd'", "pl.load 'scripts/models/reviews'", "pl.load(MODEL .. '/../reviews')",
    "pl.tokenizer '/etc'", "pl.tokenizer(MODEL .. '/../reviews')", "pl.load(MODEL, { tokenizer = '/etc/passwd' })", "pl.load(MODEL, { threads = 1000 })",
    "pl.load(MODEL, { device_map = 'auto' })", "pl.load(MODEL):save(WHERE .. '/model')", "pl.load(MODEL):cache():save(WHERE .. '/cache')",
    "pl.ones({ 2, 2 }):plot(WHERE .. '/plot.svg')", "pl.pipeline('text-generation', '/etc')", "setmetatable({}, { __gc = function() end })",
    "setmetatable('', {})", "getmetatable('').__index = nil", "('x').find = nil", "string.find = nil; ('x').find.y = 1",
    "error(setmetatable({}, { __tostring = function() while true do end end }))", "error(setmetatable({}, { __index = function() while true do end end }))",
    "table.sort({ 3, 2, 1, 5, 4 }, function() while true do end end)", "('x'):gsub('x', function() while true do end end)",
    "pl.load(MODEL):generate('x', { max_new_tokens = 100, on_token = function() while true do end end })",
    "local m = pl.load(MODEL) while true do m:generate('x', { max_new_tokens = 400 }) end",
    "pl.engine(pl.load(MODEL), { policy = function() while true do end end }):submit('x'):result()"
    " local e = pl.engine(pl.load(MODEL), { policy = function() while true do end end }) e:submit('x') e:drain()",
    "pl.json.decode(('['):rep(1e5))", "local t = {} t.t = t pl.json.encode(t)", "pl.show(setmetatable({}, { __tostring = function() while true do end end }))",
    "pl.try(function() while true do end end) while true do end", "unpack({}, 1, 1e7)", "('x'):byte(1, 1e8) unpack({}, 1, 1e8)", "select(-1)", "print(('x'):rep(1e6)) error 'said'",
    "_G._G = nil; print = nil; pcall = nil; while true do end", "tonumber('x', 99)", "table.insert({}, 1e15, 1)", "table.insert({ 1 }, -2^31, 1)", "pl.scope(function() while true do end end)",
};

/* Each of them as it is; with PERILUNE_MODS also caught, in a coroutine, and compiled by the script itself. */
static const char* const wrapped[] = {"%s", "local _, err = pcall(function() %s end) error(err, 0)",
                                      "coroutine.wrap(function() %s end)()",
                                      "_G.pl, _G.MODEL, _G.WHERE = pl, MODEL, WHERE assert(loadstring([==[%s]==]))()"};

static int lines = 0;
static void log_line(void* user, int32_t level, const char* text) { (void)user, (void)level, (void)text, ++lines; }

static pl_status open_mod(pl_instance* instance) {
  static const char* folders[] = {TALES};
  pl_options options = {sizeof options};
  options.flags = PL_MOD, options.threads = 1, options.log = log_line;
  options.script_steps = 20000000, options.script_ms = 1500, options.memory = 100000000;
  options.model_folders = folders, options.model_folder_count = 1;
  return pl_open(&options, instance);
}

static pl_status run(pl_instance instance, const char* script) {
  char text[3000];
  snprintf(text, sizeof text, "local pl = require 'perilune' local MODEL, WHERE = '%s', '%s' %s", TALES, made, script);
  return pl_run(instance, text, 0, "mod.lua");
}

static void fine_scripts(pl_instance instance) {
  STATUS(PL_OK, run(instance, "local m = pl.load(MODEL) count = #m:generate('Once', { max_new_tokens = 3 }).ids"));
  STATUS(PL_OK, run(instance, "assert(('a-b'):gsub('%-', '+') == 'a+b' and ('%d'):format(3) == '3' and pl.ones({ 3 }):sum() == 3)"));
  STATUS(PL_OK, run(instance, "local t = setmetatable({}, { __index = function() return 7 end }) assert(t.x == 7 and getmetatable(t))"));
  STATUS(PL_OK, run(instance, "print 'hello' assert(pl.json.encode({ 1 }) == '[1]' and pcall(error) == false)"));
  STATUS(PL_OK, pl_call(instance, "print", NULL, 0, NULL));
}

int main(void) {
  CHECK(mkdtemp(made) != NULL);
  pl_instance instance = 0;
  STATUS(PL_OK, open_mod(&instance));
  fine_scripts(instance);
  for (size_t i = 0; i < sizeof gone / sizeof *gone; ++i) {
    char script[300];
    snprintf(script, sizeof script, "assert(not select(2, pcall(function() local x = %s return x ~= nil end)) or not pcall(function() assert(%s ~= nil) end))", gone[i], gone[i]);
    if (run(instance, script) != PL_OK) printf("FAILED: %s is there\n", gone[i]), ++failures;
  }
  double worst = 0;
  size_t which = 0;
  const size_t count = sizeof hostile / sizeof *hostile;
  const size_t scripts = count * (getenv("PERILUNE_MODS") ? sizeof wrapped / sizeof *wrapped : 1);
  for (size_t n = 0; n < scripts; ++n) {
    const size_t i = n % count;
    char script[2000];
    snprintf(script, sizeof script, wrapped[n / count], hostile[i]);
    const double start = seconds();
    if (getenv("PERILUNE_VERBOSE")) fprintf(stderr, "%s\n", script);
    const pl_status status = run(instance, script);
    const double took = seconds() - start;
    if (took > worst) worst = took, which = i;
    if (status < PL_ERROR_ARGUMENT) printf("FAILED: %s: nothing stopped it\n", hostile[i]), ++failures;
    if (run(instance, "assert(1 + 1 == 2)") != PL_OK) {
      char text[300];
      pl_error_text(instance, text, sizeof text, NULL);
      printf("FAILED: after %s: %s\n", hostile[i], text), ++failures;
    }
    if (n % 16 == 15) { /* what one of them kept, the next does not pay for */
      STATUS(PL_OK, pl_close(instance));
      STATUS(PL_OK, open_mod(&instance));
    }
  }
  printf("%zu scripts, the longest %.2f s: %s\n", scripts, worst, hostile[which]);
  CHECK(worst < 20);
  STATUS(PL_OK, pl_close(instance));
  STATUS(PL_OK, open_mod(&instance));
  fine_scripts(instance);
  CHECK(rmdir(made) == 0); /* it is still empty */
  CHECK(lines > 0);
  STATUS(PL_OK, pl_close(instance));
  return finish("mods");
}
