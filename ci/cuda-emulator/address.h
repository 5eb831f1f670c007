// Generic addresses: device memory as it is, and a window onto the shared memory of a block, the
// local memory of a thread and the parameters of a kernel each.
#pragma once

#include <cstdint>

#include "syntax.h"

namespace ptx {

// Each window has 4 GiB, more than any of these spaces. Their lower 32 bits are zero, so that cutting
// a generic address down to 32 bits gives the address in its space, which some programs rely on.
constexpr std::uint64_t SHARED_WINDOW = std::uint64_t{0x1001} << 32;
constexpr std::uint64_t LOCAL_WINDOW = std::uint64_t{0x1003} << 32;
constexpr std::uint64_t PARAM_WINDOW = std::uint64_t{0x1005} << 32;

constexpr std::uint64_t window(Space space) {
  switch (space) {
    case Space::Shared:
      return SHARED_WINDOW;
    case Space::Local:
      return LOCAL_WINDOW;
    case Space::Param:
      return PARAM_WINDOW;
    // Constants lie in device memory, like any other variable of a module.
    case Space::Const:
    case Space::Global:
    case Space::Generic:
      break;
  }
  return 0;
}

constexpr Space spaceOf(std::uint64_t generic) {
  switch (generic >> 32) {
    case SHARED_WINDOW >> 32:
      return Space::Shared;
    case LOCAL_WINDOW >> 32:
      return Space::Local;
    case PARAM_WINDOW >> 32:
      return Space::Param;
    default:
      return Space::Global;
  }
}

}  // namespace ptx
