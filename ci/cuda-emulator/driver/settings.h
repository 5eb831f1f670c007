// The switches of the emulated device: faults that a test can plant, limits, and what is checked.
// Each is an environment variable, read when the library is loaded, and can be changed in a running
// process by ptx_emulator_set; settings.cpp has their names, their defaults and what they take.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ptx {

enum class Switch {
  Devices,
  ComputeCapability,
  DriverVersion,
  DeviceBytes,
  FailLaunch,
  FailAllocation,
  Workers,
  CheckRaces,
  CheckUninitialised,
  InstructionLimit,
};

class Settings {
 public:
  Settings();

  std::uint64_t operator[](Switch which) const { return values_[std::size_t(which)]; }

  // For the two that count: one event has come to pass; true if it is the one to fail.
  bool countDown(Switch which);

  // False, and nothing changes, if there is no switch of this name or it does not take this value;
  // null: what the environment said when the library was loaded.
  bool set(std::string_view name, const char *value);

 private:
  using Values = std::array<std::uint64_t, std::size_t(Switch::InstructionLimit) + 1>;

  Values initial_;
  Values values_;
};

}  // namespace ptx
