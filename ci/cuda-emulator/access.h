// What all instructions that touch memory share: from the operand of an address to checked pointers.
#pragma once

#include "address.h"
#include "block.h"
#include "fault.h"
#include "text.h"
#include "warp.h"

namespace ptx {

// The addresses in operand k, which is the number-th address of the instruction.
inline Addresses addressesOf(Warp &warp, const Instruction &instruction, int k, int number = 0) {
  Addresses result;
  const auto displacement = static_cast<std::uint64_t>(instruction.displacements[number]);
  if (instruction.width[k] == 8) {
    const auto *base = warp.operand<std::uint64_t>(instruction, k);
    for (int lane = 0; lane < LANES; lane++) result[lane] = base[lane] + displacement;
  } else {
    const auto *base = warp.operand<std::uint32_t>(instruction, k);
    for (int lane = 0; lane < LANES; lane++) {
      result[lane] = static_cast<std::uint32_t>(base[lane] + displacement);
    }
  }
  return result;
}

// Throws Fault unless these lanes' addresses, in a space of so many bytes that begins at 0, lie in
// it and are multiples of the access' size.
inline void checkSpace(const char *access, const char *space, const Addresses &addresses,
                       std::uint32_t bytes, std::uint64_t size, Mask lanes) {
  std::uint64_t misaligned = 0;
  std::uint64_t last = 0;
  for (int lane = 0; lane < LANES; lane++) {
    const std::uint64_t address = lanes >> lane & 1 ? addresses[lane] : 0;
    misaligned |= address;
    last = last > address ? last : address;
  }
  if ((misaligned & (bytes - 1)) == 0 && last < size && bytes <= size - last) return;
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    const std::uint64_t address = addresses[lane];
    const std::string what = std::string(access) + " of " + std::to_string(bytes) + " bytes at " +
                             space + " " + hex(address);
    if (address & (bytes - 1))
      throw Fault{CudaError::MisalignedAddress, lane, "misaligned " + what};
    if (address >= size || bytes > size - address) {
      throw Fault{CudaError::IllegalAddress, lane,
                  "out of bounds: " + what + ", which has " + std::to_string(size) + " bytes"};
    }
  }
}

inline void checkShared(const char *access, Warp &warp, const Addresses &addresses,
                        std::uint32_t bytes, Mask lanes) {
  checkSpace(access, "shared", addresses, bytes, warp.block.shared.size(), lanes);
}

// Runs act(space, addresses in that space, lanes) for the lanes of each state space that these
// generic addresses point into.
template <class Act>
void splitBySpace(const Addresses &generic, Mask lanes, Act act) {
  while (lanes) {
    const Space space = spaceOf(generic[__builtin_ctz(lanes)]);
    Addresses addresses;
    Mask here = 0;
    for (int lane = 0; lane < LANES; lane++) {
      here |= (spaceOf(generic[lane]) == space ? Mask{1} : Mask{0}) << lane;
      addresses[lane] = generic[lane] - window(space);
    }
    act(space, addresses, lanes & here);
    lanes &= ~here;
  }
}

}  // namespace ptx
