// What only the emulator has: the last trap, the count of live objects, and its switches.
#include "driver.h"

using namespace ptx;

const char *ptx_emulator_last_trap() {
  Driver &driver = Driver::instance();
  const std::lock_guard<std::mutex> lock(driver.mutex);
  // The caller's own: another thread's trap must not change it under its eyes.
  thread_local std::string text;
  text = driver.lastTrap;
  return text.c_str();
}

long ptx_emulator_live_objects() {
  Driver &driver = Driver::instance();
  const std::lock_guard<std::mutex> lock(driver.mutex);
  return driver.liveObjects();
}

CUresult ptx_emulator_set(const char *name, const char *value) {
  return call(
      [&](Driver &driver) { require(name != nullptr && driver.settings.set(name, value)); });
}
