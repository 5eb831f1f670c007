// Runs one grid of a kernel to its end, its blocks on several threads of the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernel.h"
#include "memory.h"
#include "types.h"

namespace ptx {

struct Options {
  // Threads of the host that execute blocks; 0: as many as the host has cores.
  unsigned workers = 0;
  // Shared memory touched by two threads, one of them writing, with no barrier between.
  bool checkRaces = true;
  // Reads of shared or global bytes that nothing has written. (Bytes that cp.async still has in
  // flight are reported always.)
  bool checkUninitialised = true;
  // Warp instructions that one block may execute before it counts as hung (LaunchTimeout).
  std::uint64_t instructionLimit = 4'000'000'000;
};

// Throws Trap, of the lowest block that trapped, whatever the number of workers. The block must
// hold 1 to 1024 threads and the parameters kernel.parameterBytes bytes; shared memory in all is
// kernel.staticSharedBytes + dynamicShared. (Limits of the device are the caller's to enforce.)
void launch(const Kernel &kernel, Dim3 grid, Dim3 block, std::uint32_t dynamicShared,
            const std::vector<std::byte> &parameters, Memory &memory, const Options &options = {});

}  // namespace ptx
