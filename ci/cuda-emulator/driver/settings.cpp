#include "settings.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>

#include "device.h"

namespace ptx {
namespace {

struct Description {
  const char *name;
  std::uint64_t standard;
  std::uint64_t least;
  std::uint64_t most;
};

constexpr std::uint64_t UNLIMITED = std::numeric_limits<std::uint64_t>::max();

// In the order of Switch.
constexpr Description DESCRIPTIONS[] = {
    // 0: a driver, but no device.
    {"PTX_EMULATOR_DEVICES", 1, 0, 1},
    // Times ten: 80 is 8.0. One that deviceModel() knows.
    {"PTX_EMULATOR_COMPUTE_CAPABILITY", 80, 0, UNLIMITED},
    // As cuDriverGetVersion counts: 12060 is CUDA 12.6. 0: the first version that knows the device.
    {"PTX_EMULATOR_DRIVER_VERSION", 0, 0, 99'990},
    // Total device memory; what is more than this is out of memory.
    {"PTX_EMULATOR_MEMORY", std::uint64_t{4} << 30, 0, DEVICE_ADDRESS_SPACE},
    // 1: the next launch (allocation) fails, 2: the one after it, ...; 0: none. Only one does.
    {"PTX_EMULATOR_FAIL_LAUNCH", 0, 0, UNLIMITED},
    {"PTX_EMULATOR_FAIL_ALLOCATION", 0, 0, UNLIMITED},
    // The rest goes to the executor with each launch: see Options in launch.h.
    {"PTX_EMULATOR_WORKERS", 0, 0, 1024},
    {"PTX_EMULATOR_RACES", 1, 0, 1},
    {"PTX_EMULATOR_UNINITIALISED", 1, 0, 1},
    {"PTX_EMULATOR_INSTRUCTIONS", 4'000'000'000, 1, UNLIMITED},
};

std::optional<std::uint64_t> parse(Switch which, const char *text) {
  if (*text < '0' || *text > '9') return std::nullopt;
  char *end;
  errno = 0;
  const std::uint64_t value = std::strtoull(text, &end, 10);
  const Description &description = DESCRIPTIONS[std::size_t(which)];
  if (errno != 0 || *end != '\0' || value < description.least || value > description.most) {
    return std::nullopt;
  }
  if (which == Switch::ComputeCapability && deviceModel(value) == nullptr) return std::nullopt;
  return value;
}

}  // namespace

Settings::Settings() {
  static_assert(std::size(DESCRIPTIONS) == std::tuple_size<Values>::value);
  for (std::size_t i = 0; i < initial_.size(); ++i) {
    initial_[i] = DESCRIPTIONS[i].standard;
    const char *text = std::getenv(DESCRIPTIONS[i].name);
    if (text == nullptr) continue;
    if (const auto value = parse(Switch(i), text)) {
      initial_[i] = *value;
    } else {
      std::fprintf(stderr, "CUDA emulator: %s=%s is not a value that it takes; %llu is used\n",
                   DESCRIPTIONS[i].name, text,
                   static_cast<unsigned long long>(DESCRIPTIONS[i].standard));
    }
  }
  values_ = initial_;
}

bool Settings::countDown(Switch which) {
  std::uint64_t &counter = values_[std::size_t(which)];
  if (counter == 0) return false;
  return --counter == 0;
}

bool Settings::set(std::string_view name, const char *text) {
  for (std::size_t i = 0; i < values_.size(); ++i) {
    if (name != DESCRIPTIONS[i].name) continue;
    const std::optional<std::uint64_t> value =
        text == nullptr ? initial_[i] : parse(Switch(i), text);
    if (!value) return false;
    values_[i] = *value;
    return true;
  }
  return false;
}

}  // namespace ptx
