// Device memory as one worker of a launch sees it: bounds, alignment and initialised bytes checked
// for a whole warp at a time, with the allocations that were hit last at hand.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "memory.h"
#include "program.h"

namespace ptx {

class GlobalView {
 public:
  GlobalView(Memory &memory, bool checkUninitialised)
      : memory_(memory), checkUninitialised_(checkUninitialised) {}

  // Throw Fault unless each of these lanes may read, or write, so many bytes (a power of two up to
  // 16, which the address must be a multiple of) at its address. Writing marks them as written.
  void beforeRead(const Addresses &addresses, std::uint32_t bytes, Mask lanes);
  void beforeWrite(const Addresses &addresses, std::uint32_t bytes, Mask lanes);
  // The same for one lane and any number of bytes.
  void beforeRead(int lane, std::uint64_t address, std::uint32_t bytes);

  std::byte *data(std::uint64_t address) const { return memory_.data(address); }

 private:
  struct Range {
    std::uint64_t begin = 1;
    std::uint64_t end = 0;
  };

  bool inBounds(std::uint64_t first, std::uint64_t end);
  [[noreturn]] void outOfBounds(const char *access, int lane, std::uint64_t address,
                                std::uint32_t bytes) const;

  Memory &memory_;
  const bool checkUninitialised_;
  std::array<Range, 4> recent_;
  unsigned oldest_ = 0;
};

}  // namespace ptx
