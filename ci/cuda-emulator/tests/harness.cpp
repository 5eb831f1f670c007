#include "harness.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <vector>

namespace test {
namespace {

constexpr int SHOWN_FAILURES = 8;  // of each test

struct Test {
  const char *name;
  void (*run)();
  int order;
};

std::vector<Test> &all() {
  static std::vector<Test> tests;
  return tests;
}

const char *running = "";
long checks = 0;
long failures = 0;

void report(const char *place, const std::string &message) {
  if (++failures <= SHOWN_FAILURES) {
    std::printf("FAILED %s: %s\n    %s\n", running, place, message.c_str());
  }
}

}  // namespace

Registration::Registration(const char *name, void (*run)(), int order) {
  all().push_back({name, run, order});
}

void check(bool passed, const char *file, int line, const std::function<std::string()> &message) {
  ++checks;
  if (passed) return;
  const char *name = std::strrchr(file, '/');
  const std::string place =
      std::string(name == nullptr ? file : name + 1) + ":" + std::to_string(line);
  report(place.c_str(), message());
}

int run(int arguments, char **names) {
  std::stable_sort(all().begin(), all().end(),
                   [](const Test &a, const Test &b) { return a.order < b.order; });
  long tests = 0;
  long failed = 0;
  for (const Test &test : all()) {
    const bool wanted =
        arguments <= 1 || std::any_of(names + 1, names + arguments, [&](char *name) {
          return std::strstr(test.name, name) != nullptr;
        });
    if (!wanted) continue;
    running = test.name;
    failures = 0;
    try {
      test.run();
    } catch (const std::exception &thrown) {
      report("threw", thrown.what());
    }
    if (failures > SHOWN_FAILURES) {
      std::printf("FAILED %s: and %ld more\n", running, failures - SHOWN_FAILURES);
    }
    ++tests;
    failed += failures > 0 ? 1 : 0;
  }
  std::printf("%s: %ld tests, %ld checks, %ld failed\n", names[0], tests, checks, failed);
  return failed == 0 && tests > 0 ? 0 : 1;
}

}  // namespace test

int main(int arguments, char **names) { return test::run(arguments, names); }
