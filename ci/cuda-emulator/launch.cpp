#include "launch.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

#include "block.h"

namespace ptx {

namespace {

std::string describe(const Dim3 &at) {
  return "(" + std::to_string(at.x) + "," + std::to_string(at.y) + "," + std::to_string(at.z) + ")";
}

}  // namespace

Trap::Trap(CudaError code, std::string kernel, Dim3 block, Dim3 thread, int ptxLine,
           std::string source, std::string message)
    : std::runtime_error(kernel + ", block " + describe(block) + ", thread " + describe(thread) +
                         ", PTX line " + std::to_string(ptxLine) +
                         (source.empty() ? "" : " (" + source + ")") + ": " + message),
      code(code),
      kernel(std::move(kernel)),
      block(block),
      thread(thread),
      ptxLine(ptxLine),
      source(std::move(source)),
      message(std::move(message)) {}

void launch(const Kernel &kernel, Dim3 grid, Dim3 block, std::uint32_t dynamicShared,
            const std::vector<std::byte> &parameters, Memory &memory, const Options &options) {
  const Grid shape{kernel,        *kernel.program, grid,   block,
                   dynamicShared, parameters,      memory, options};
  const std::uint64_t blocks = grid.volume();
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  const std::uint64_t workers =
      std::min<std::uint64_t>(options.workers ? options.workers : cores, blocks);

  // Blocks are begun in order, so when one traps, all that could trap before it are under way:
  // they run to their end, and the trap that is thrown does not depend on the workers' timing.
  std::atomic<std::uint64_t> next{0};
  std::atomic<std::uint64_t> firstTrapped{blocks};
  std::optional<Trap> trap;
  std::mutex mutex;
  const auto work = [&] {
    Block runner(shape);
    for (;;) {
      const std::uint64_t number = next++;
      if (number >= firstTrapped) return;
      try {
        runner.run({static_cast<std::uint32_t>(number % grid.x),
                    static_cast<std::uint32_t>(number / grid.x % grid.y),
                    static_cast<std::uint32_t>(number / grid.x / grid.y)});
      } catch (const Trap &thrown) {
        std::lock_guard lock(mutex);
        if (number < firstTrapped) {
          firstTrapped = number;
          trap.emplace(thrown);
        }
        return;
      }
    }
  };
  std::vector<std::thread> threads;
  for (std::uint64_t k = 1; k < workers; k++) threads.emplace_back(work);
  work();
  for (std::thread &thread : threads) thread.join();
  if (trap) throw *trap;
}

}  // namespace ptx
