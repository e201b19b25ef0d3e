// Classifies the text files of a folder, with progress on stderr; Ctrl-C ends it between two
// operations. Usage: classify_folder FOLDER [MODEL]
#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <perilune.hpp>
#include <thread>

namespace fs = std::filesystem;

namespace {

volatile std::sig_atomic_t g_stop = 0;

void stop(int) {
  g_stop = 1;
}

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

int classify(const std::string& folder, const std::string& path) {
  const perilune_host::Instance instance;
  const perilune_host::Model model(instance, path);
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  // The host's own signal handler sets a flag; this thread asks the library to end its call.
  std::atomic<bool> done{false};
  std::thread watcher([&] {
    while (!done && g_stop == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    if (g_stop != 0) instance.cancel();
  });
  int status = 0;
  try {
    constexpr std::size_t kAtOnce = 16;
    for (std::size_t first = 0; first < files.size() && g_stop == 0; first += kAtOnce) {
      std::vector<std::string> texts;
      const std::size_t end = std::min(files.size(), first + kAtOnce);
      for (std::size_t i = first; i < end; ++i) texts.push_back(read(files[i]));
      const auto best = model.classify(texts, R"({"truncate": "model"})");
      for (std::size_t i = first; i < end; ++i) {
        std::cout << files[i].filename().string() << '\t' << model.label(best[i - first].id) << '\t'
                  << best[i - first].score << '\n';
      }
      std::cerr << "\r" << end << " of " << files.size() << (end == files.size() ? "\n" : "");
    }
  } catch (const perilune_host::Error& error) {
    std::cerr << "\nclassify_folder: " << error.what() << '\n';
    status = error.status() == PL_ERROR_CANCELLED ? 130 : 1;
  }
  done = true;
  watcher.join();
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: classify_folder FOLDER [MODEL]\n";
    return 2;
  }
  std::signal(SIGINT, stop);
  try {
    return classify(argv[1], argc > 2 ? argv[2] : "scripts/models/reviews");
  } catch (const std::exception& error) {
    std::cerr << "classify_folder: " << error.what() << '\n';
    return 1;
  }
}
