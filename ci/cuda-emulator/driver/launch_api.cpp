// Kernel launches.
#include "../launch.h"

#include <cstring>

#include "driver.h"

using namespace ptx;

namespace {

void requireGeometry(const Driver &driver, const Function &function, Dim3 grid, Dim3 block,
                     std::uint64_t dynamicShared) {
  require(grid.x >= 1 && grid.x <= MAX_GRID_DIM_X);
  require(grid.y >= 1 && grid.y <= MAX_GRID_DIM_YZ && grid.z >= 1 && grid.z <= MAX_GRID_DIM_YZ);
  require(block.x >= 1 && block.x <= MAX_BLOCK_DIM_XY);
  require(block.y >= 1 && block.y <= MAX_BLOCK_DIM_XY);
  require(block.z >= 1 && block.z <= MAX_BLOCK_DIM_Z);
  const std::uint32_t maxThreads = function.kernel->maxThreads;
  require(block.volume() <= (maxThreads != 0 ? maxThreads : MAX_THREADS_PER_BLOCK));
  require(dynamicShared <= static_cast<std::uint64_t>(function.maxDynamicShared));
  require(function.kernel->staticSharedBytes + dynamicShared <=
          static_cast<std::uint64_t>(driver.model().sharedPerBlockOptin));
}

std::vector<std::byte> pack(const Kernel &kernel, void **values) {
  std::vector<std::byte> packed(kernel.parameterBytes);
  require(kernel.parameters.empty() || values != nullptr);
  for (std::size_t i = 0; i < kernel.parameters.size(); ++i) {
    require(values[i] != nullptr);
    const Parameter &parameter = kernel.parameters[i];
    std::memcpy(packed.data() + parameter.offset, values[i], parameter.bytes);
  }
  return packed;
}

// The other way to give parameters: packed, in a list of keys and values.
std::vector<std::byte> unpackExtra(const Kernel &kernel, void **extra) {
  const std::byte *buffer = nullptr;
  std::size_t bytes = 0;
  for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
    if (extra[0] == CU_LAUNCH_PARAM_BUFFER_POINTER) {
      buffer = static_cast<const std::byte *>(extra[1]);
    } else {
      require(extra[0] == CU_LAUNCH_PARAM_BUFFER_SIZE && extra[1] != nullptr);
      bytes = *static_cast<const std::size_t *>(extra[1]);
    }
  }
  require(bytes == kernel.parameterBytes && (bytes == 0 || buffer != nullptr));
  return {buffer, buffer + bytes};
}

Options optionsOf(const Settings &settings) {
  Options options;
  options.workers = static_cast<unsigned>(settings[Switch::Workers]);
  options.checkRaces = settings[Switch::CheckRaces] != 0;
  options.checkUninitialised = settings[Switch::CheckUninitialised] != 0;
  options.instructionLimit = settings[Switch::InstructionLimit];
  return options;
}

}  // namespace

CUresult cuLaunchKernel(CUfunction handle, unsigned gridX, unsigned gridY, unsigned gridZ,
                        unsigned blockX, unsigned blockY, unsigned blockZ, unsigned dynamicShared,
                        CUstream stream, void **parameters, void **extra) {
  return callInContext([&](Driver &driver, Context &context) {
    const auto function = driver.functions.get(handle, context);
    const auto target = driver.stream(context, stream);
    const std::shared_ptr<const Kernel> kernel = function->kernel;
    const Dim3 grid{gridX, gridY, gridZ};
    const Dim3 block{blockX, blockY, blockZ};
    requireGeometry(driver, *function, grid, block, dynamicShared);
    require(parameters == nullptr || extra == nullptr);
    std::vector<std::byte> packed =
        extra != nullptr ? unpackExtra(*kernel, extra) : pack(*kernel, parameters);
    const bool fails = driver.settings.countDown(Switch::FailLaunch);
    context.enqueue(target, [&driver, kernel, grid, block, dynamicShared, fails,
                             packed = std::move(packed), options = optionsOf(driver.settings)] {
      if (fails) {
        throw Fault{CUDA_ERROR_LAUNCH_FAILED,
                    "kernel " + kernel->name + ": failed, as PTX_EMULATOR_FAIL_LAUNCH asked"};
      }
      launch(*kernel, grid, block, dynamicShared, packed, *driver.memory, options);
    });
  });
}
