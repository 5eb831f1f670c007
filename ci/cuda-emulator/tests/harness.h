// A small frame for tests: each is a function, its checks are counted, and a failed one doesn't
// stop it.
#pragma once

#include <functional>
#include <sstream>
#include <string>

namespace test {

// Registers a test; order: tests with a smaller one run first.
struct Registration {
  Registration(const char *name, void (*run)(), int order = 0);
};

// Counts a check and, if it failed, prints the message unless the test has failed often already.
void check(bool passed, const char *file, int line, const std::function<std::string()> &message);

template <class T>
std::string show(const T &value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

// Runs all tests, or those whose names contain one of the arguments; the exit status of the program.
int run(int arguments, char **names);

}  // namespace test

#define TEST_NAME_(line) test_at_line_##line
#define TEST_AT_(line, name, ...)                                                             \
  static void TEST_NAME_(line)();                                                             \
  static const test::Registration registration_##line(name, TEST_NAME_(line), ##__VA_ARGS__); \
  static void TEST_NAME_(line)()
#define TEST_EXPANDED_(line, ...) TEST_AT_(line, __VA_ARGS__)
#define TEST(...) TEST_EXPANDED_(__LINE__, __VA_ARGS__)

#define CHECK(condition) \
  test::check((condition), __FILE__, __LINE__, [&] { return std::string(#condition); })
#define CHECK_EQUAL(actual, expected)                                                              \
  do {                                                                                             \
    const auto actual_ = (actual);                                                                 \
    const auto expected_ = (expected);                                                             \
    test::check(actual_ == expected_, __FILE__, __LINE__, [&] {                                    \
      return std::string(#actual " is ") + test::show(actual_) + ", not " + test::show(expected_); \
    });                                                                                            \
  } while (false)
