// Modules and what is in them: functions, their attributes, variables.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>

#include "driver.h"

using namespace ptx;

namespace {

// The buffers that the caller gave for the compiler's messages.
class JitLog {
 public:
  JitLog(unsigned options, CUjit_option *keys, void **values) {
    require(options == 0 || (keys != nullptr && values != nullptr));
    for (unsigned i = 0; i < options; ++i) {
      void **value = &values[i];
      switch (keys[i]) {
        case CU_JIT_ERROR_LOG_BUFFER:
          error_.text = static_cast<char *>(*value);
          break;
        case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
          error_.size = value;
          break;
        case CU_JIT_INFO_LOG_BUFFER:
          info_.text = static_cast<char *>(*value);
          break;
        case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
          info_.size = value;
          break;
        default:
          // What else there is tells a compiler how to go about its work.
          break;
      }
    }
  }

  void write(const std::string &error) {
    error_.write(error);
    info_.write("");
  }

 private:
  // The size is an unsigned integer in the place of a pointer: in, that of the buffer, and out,
  // what was written.
  struct Buffer {
    char *text = nullptr;
    void **size = nullptr;

    void write(const std::string &message) {
      if (text == nullptr || size == nullptr) return;
      const auto room = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(*size));
      if (room == 0) return;
      const std::size_t length = std::min<std::size_t>(message.size(), room - 1);
      std::memcpy(text, message.data(), length);
      text[length] = '\0';
      *size = reinterpret_cast<void *>(length);
    }
  };

  Buffer error_;
  Buffer info_;
};

std::string decimal(int tenths) {
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10);
}

// Compiled code: an ELF file, or a fat binary.
bool isBinary(const char *image) {
  return std::memcmp(image,
                     "\x7f"
                     "ELF",
                     4) == 0 ||
         std::memcmp(image, "\x50\xed\x55\xba", 4) == 0;
}

CUmodule load(Driver &driver, Context &context, const char *image, JitLog &log) {
  const auto refuse = [&](CUresult code, const std::string &message) {
    log.write(message);
    throw Failure{code};
  };
  if (std::strlen(image) < 4) refuse(CUDA_ERROR_INVALID_IMAGE, "the image is empty");
  if (isBinary(image)) refuse(CUDA_ERROR_NO_BINARY_FOR_GPU, "the emulator runs PTX only");
  std::unique_ptr<Module> module;
  try {
    module = Module::load(image, *driver.memory);
  } catch (const PtxError &error) {
    refuse(CUDA_ERROR_INVALID_PTX, error.what());
  }
  const int newest = newestPtxVersion(driver.version());
  if (module->version() > newest) {
    refuse(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "PTX .version " + decimal(module->version()) +
                                                   ", and a driver of CUDA " +
                                                   std::to_string(driver.version() / 1000) + "." +
                                                   std::to_string(driver.version() % 1000 / 10) +
                                                   " takes " + decimal(newest) + " at most");
  }
  const int device = driver.model().computeCapability;
  if (module->target() > device) {
    refuse(CUDA_ERROR_INVALID_PTX, "PTX .target sm_" + std::to_string(module->target()) +
                                       ", and the device is sm_" + std::to_string(device));
  }
  log.write("");
  return driver.modules.add(
      std::make_shared<LoadedModule>(LoadedModule{&context, std::move(module), {}}));
}

void setMaxDynamicShared(const Driver &driver, Function &function, int bytes) {
  const int limit = driver.model().sharedPerBlockOptin;
  require(bytes >= 0 && bytes <= limit - static_cast<int>(function.kernel->staticSharedBytes));
  function.maxDynamicShared = bytes;
}

int attributeOf(const Driver &driver, const Function &function, CUfunction_attribute attribute) {
  const Kernel &kernel = *function.kernel;
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      return kernel.maxThreads != 0 ? static_cast<int>(kernel.maxThreads) : MAX_THREADS_PER_BLOCK;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
      return static_cast<int>(kernel.staticSharedBytes);
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
      return static_cast<int>(kernel.constantBytes);
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
      return static_cast<int>(kernel.localBytes);
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
      return std::min(static_cast<int>(kernel.registers), REGISTERS_PER_THREAD);
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
      return driver.modules.find(function.module)->module->target();
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      return driver.model().computeCapability;
    case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA:
      return 0;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      return function.maxDynamicShared;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      return function.carveout;
  }
  throw Failure{CUDA_ERROR_INVALID_VALUE};
}

int roundUp(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

// Source: CUDA's occupancy calculator: registers are given to warps in units of 256, shared memory
// to blocks in units of 128 bytes.
int blocksPerMultiprocessor(const Driver &driver, const Function &function, int threads,
                            std::uint64_t dynamicShared) {
  const DeviceModel &model = driver.model();
  const int warps = (threads + WARP_SIZE - 1) / WARP_SIZE;
  int blocks =
      std::min(model.blocksPerMultiprocessor, model.threadsPerMultiprocessor / WARP_SIZE / warps);
  const int registers = attributeOf(driver, function, CU_FUNC_ATTRIBUTE_NUM_REGS);
  if (registers > 0) {
    const int registersOfWarp = roundUp(registers * WARP_SIZE, 256);
    blocks = std::min(blocks, REGISTERS_PER_BLOCK / registersOfWarp / warps);
  }
  const std::uint64_t shared = function.kernel->staticSharedBytes + dynamicShared;
  if (shared > static_cast<std::uint64_t>(model.sharedPerBlockOptin)) return 0;
  const int sharedOfBlock = roundUp(static_cast<int>(shared) + model.sharedReservedPerBlock, 128);
  if (sharedOfBlock > 0) blocks = std::min(blocks, model.sharedPerMultiprocessor / sharedOfBlock);
  return blocks;
}

}  // namespace

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned options,
                            CUjit_option *keys, void **values) {
  return callInContext([&](Driver &driver, Context &context) {
    require(module != nullptr && image != nullptr);
    JitLog log(options, keys, values);
    *module = load(driver, context, static_cast<const char *>(image), log);
  });
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

CUresult cuModuleLoad(CUmodule *module, const char *path) {
  if (path == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::ifstream file(path, std::ios::binary);
  if (!file) return CUDA_ERROR_FILE_NOT_FOUND;
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return cuModuleLoadData(module, text.c_str());
}

CUresult cuModuleUnload(CUmodule handle) {
  return callInContext([&](Driver &driver, Context &context) {
    const auto module = driver.modules.get(handle, context);
    context.finish();
    for (const auto &function : module->functions) driver.functions.remove(function.second);
    driver.modules.remove(handle);
  });
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule handle, const char *name) {
  return callInContext([&](Driver &driver, Context &context) {
    require(function != nullptr && name != nullptr && *name != '\0');
    const auto module = driver.modules.get(handle, context);
    const Kernel *kernel = module->module->kernel(name);
    require(kernel != nullptr, CUDA_ERROR_NOT_FOUND);
    CUfunction &known = module->functions[name];
    if (known == nullptr) {
      const int freely =
          std::max(0, SHARED_PER_BLOCK - static_cast<int>(kernel->staticSharedBytes));
      known = driver.functions.add(std::make_shared<Function>(
          Function{&context, handle, std::shared_ptr<const Kernel>(module, kernel), freely}));
    }
    *function = known;
  });
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr *address, std::size_t *bytes, CUmodule handle,
                              const char *name) {
  return callInContext([&](Driver &driver, Context &context) {
    require(name != nullptr);
    const auto &variables = driver.modules.get(handle, context)->module->variables();
    const auto found = variables.find(name);
    require(found != variables.end(), CUDA_ERROR_NOT_FOUND);
    if (address != nullptr) *address = found->second.address;
    if (bytes != nullptr) *bytes = found->second.bytes;
  });
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
  return callInContext([&](Driver &driver, Context &context) {
    require(value != nullptr);
    *value = attributeOf(driver, *driver.functions.get(function, context), attribute);
  });
}

CUresult cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value) {
  return callInContext([&](Driver &driver, Context &context) {
    const auto function = driver.functions.get(handle, context);
    switch (attribute) {
      case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        setMaxDynamicShared(driver, *function, value);
        break;
      case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        require(value >= -1 && value <= 100);
        function->carveout = value;
        break;
      default:
        throw Failure{CUDA_ERROR_INVALID_VALUE};
    }
  });
}

CUresult cuFuncSetCacheConfig(CUfunction function, int config) {
  return callInContext([&](Driver &driver, Context &context) {
    require(config >= 0 && config <= 3);
    driver.functions.get(function, context);
  });
}

CUresult cuFuncGetModule(CUmodule *module, CUfunction function) {
  return callInContext([&](Driver &driver, Context &context) {
    require(module != nullptr);
    *module = driver.functions.get(function, context)->module;
  });
}

CUresult cuFuncGetName(const char **name, CUfunction function) {
  return callInContext([&](Driver &driver, Context &context) {
    require(name != nullptr);
    *name = driver.functions.get(function, context)->kernel->name.c_str();
  });
}

CUresult cuFuncGetParamInfo(CUfunction function, std::size_t index, std::size_t *offset,
                            std::size_t *bytes) {
  return callInContext([&](Driver &driver, Context &context) {
    const auto &parameters = driver.functions.get(function, context)->kernel->parameters;
    require(offset != nullptr && index < parameters.size());
    *offset = parameters[index].offset;
    if (bytes != nullptr) *bytes = parameters[index].bytes;
  });
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction function,
                                                              int threads,
                                                              std::size_t dynamicShared,
                                                              unsigned flags) {
  return callInContext([&](Driver &driver, Context &context) {
    require(blocks != nullptr && threads > 0 && threads <= MAX_THREADS_PER_BLOCK && flags <= 1);
    *blocks = blocksPerMultiprocessor(driver, *driver.functions.get(function, context), threads,
                                      dynamicShared);
  });
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int threads,
                                                     std::size_t dynamicShared) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, threads,
                                                              dynamicShared, 0);
}
