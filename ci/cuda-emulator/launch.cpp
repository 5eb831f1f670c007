#include "launch.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
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
  std::atomic<std::uint64_t> firstFailed{blocks};
  std::exception_ptr failure;
  std::mutex mutex;
  const auto work = [&] {
    std::uint64_t number = 0;
    try {
      Block runner(shape);
      while ((number = next++) < firstFailed) {
        runner.run({static_cast<std::uint32_t>(number % grid.x),
                    static_cast<std::uint32_t>(number / grid.x % grid.y),
                    static_cast<std::uint32_t>(number / grid.x / grid.y)});
      }
    } catch (...) {
      // A Trap, or there is no memory; nothing may leave a thread.
      const std::lock_guard lock(mutex);
      if (number < firstFailed) {
        firstFailed = number;
        failure = std::current_exception();
      }
    }
  };
  std::vector<std::thread> threads;
  try {
    while (threads.size() + 1 < workers) threads.emplace_back(work);
  } catch (const std::exception &) {
    // The system has no more threads, or no memory for them: those that there are do the work.
  }
  work();
  for (std::thread &thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace ptx
