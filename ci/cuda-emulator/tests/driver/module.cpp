// Modules, functions and launches.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "session.h"

using namespace test;

namespace {

// Loads a text; the error log has room for so many bytes.
CUresult load(const std::string &text, std::string *log = nullptr, unsigned room = 4096) {
  std::vector<char> buffer(room + 1, '#');
  CUjit_option keys[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {buffer.data(), reinterpret_cast<void *>(std::uintptr_t{room})};
  CUmodule module = nullptr;
  const CUresult code = cuModuleLoadDataEx(&module, text.c_str(), 2, keys, values);
  CHECK_EQUAL(buffer[room], '#');
  if (log != nullptr && room > 0) {
    *log = buffer.data();
    CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(values[1]), log->size());
  }
  CHECK((module != nullptr) == (code == CUDA_SUCCESS));
  return code;
}

std::string replaced(const std::string &what, const std::string &with) {
  std::string text = MODULE;
  text.replace(text.find(what), what.size(), with);
  return text;
}

CUresult launch(CUfunction function, unsigned grid, unsigned block, unsigned dynamicShared = 0) {
  return cuLaunchKernel(function, grid, 1, 1, block, 1, 1, dynamicShared, nullptr, nullptr,
                        nullptr);
}

}  // namespace

TEST("modules that are refused, and why") {
  Session session;
  std::string log;
  CHECK_DONE(load(MODULE, &log));
  CHECK_EQUAL(log, "");
  CHECK_CODE(load(replaced(".version 7.0", ".version 9.0"), &log),
             CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
  CHECK(log.find("9.0") != std::string::npos && log.find("11.0") != std::string::npos);
  CHECK_CODE(load(replaced(".version 7.0", ".version 7.1")), CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
  CHECK_CODE(load(replaced(".target sm_80", ".target sm_90"), &log), CUDA_ERROR_INVALID_PTX);
  CHECK(log.find("sm_90") != std::string::npos);
  {
    const Switched newer("PTX_EMULATOR_COMPUTE_CAPABILITY", "90");
    CHECK_DONE(load(replaced(".target sm_80", ".target sm_90")));
    CHECK_DONE(load(replaced(".version 7.0", ".version 7.8")));
  }
  {
    const Switched older("PTX_EMULATOR_COMPUTE_CAPABILITY", "70");
    CHECK_CODE(load(MODULE), CUDA_ERROR_INVALID_PTX);
    CHECK_DONE(load(replaced(".target sm_80", ".target sm_70")));
  }
  {
    const Switched newer("PTX_EMULATOR_DRIVER_VERSION", "13000");
    CHECK_DONE(load(replaced(".version 7.0", ".version 9.0")));
  }
  CHECK_CODE(load(replaced("mad.lo.u32", "mad.up.u32"), &log), CUDA_ERROR_INVALID_PTX);
  CHECK(log.find("line 18") != std::string::npos && log.find("mad.up.u32") != std::string::npos);
  // A log that is cut keeps its end mark.
  CHECK_CODE(load(replaced("mad.lo.u32", "mad.up.u32"), &log, 12), CUDA_ERROR_INVALID_PTX);
  CHECK_EQUAL(log.size(), 11u);
  CHECK_CODE(load(replaced("mad.lo.u32", "mad.up.u32"), &log, 0), CUDA_ERROR_INVALID_PTX);
  CHECK_CODE(load(""), CUDA_ERROR_INVALID_IMAGE);
  CHECK_CODE(load("\x7f"
                  "ELF..."),
             CUDA_ERROR_NO_BINARY_FOR_GPU);
  CHECK_CODE(load("no PTX at all"), CUDA_ERROR_INVALID_PTX);
  CUmodule module = nullptr;
  CHECK_CODE(cuModuleLoadData(&module, nullptr), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuModuleLoad(&module, "/there/is/no/such.ptx"), CUDA_ERROR_FILE_NOT_FOUND);
}

TEST("modules from a file") {
  Session session;
  std::string path = (std::filesystem::temp_directory_path() / "module-XXXXXX").string();
  const int file = mkstemp(path.data());
  CHECK(file >= 0);
  CHECK_EQUAL(write(file, MODULE, std::strlen(MODULE)), static_cast<ssize_t>(std::strlen(MODULE)));
  close(file);
  CUmodule module = nullptr;
  CHECK_DONE(cuModuleLoad(&module, path.c_str()));
  unlink(path.c_str());
  function(module, "add");
}

TEST("functions and variables of a module") {
  Session session;
  const CUmodule module = loadModule();
  CUfunction found = nullptr;
  CHECK_CODE(cuModuleGetFunction(&found, module, "nothing"), CUDA_ERROR_NOT_FOUND);
  CHECK_CODE(cuModuleGetFunction(&found, reinterpret_cast<CUmodule>(&found), "add"),
             CUDA_ERROR_INVALID_HANDLE);
  CHECK(function(module, "add") == function(module, "add"));
  const CUfunction add = function(module, "add");
  const char *name = nullptr;
  CHECK_DONE(cuFuncGetName(&name, add));
  CHECK_EQUAL(std::string(name), "add");
  CUmodule of = nullptr;
  CHECK_DONE(cuFuncGetModule(&of, add));
  CHECK(of == module);
  CUdeviceptr counter = 0;
  std::size_t bytes = 0;
  CHECK_DONE(cuModuleGetGlobal_v2(&counter, &bytes, module, "counter"));
  CHECK_EQUAL(bytes, 4u);
  unsigned value = 0;
  CHECK_DONE(cuMemcpyDtoH_v2(&value, counter, 4));
  CHECK_EQUAL(value, 5u);
  CHECK_CODE(cuModuleGetGlobal_v2(&counter, &bytes, module, "nothing"), CUDA_ERROR_NOT_FOUND);
  CHECK_CODE(cuMemFree_v2(counter), CUDA_ERROR_INVALID_VALUE);
  CHECK_DONE(cuModuleUnload(module));
  CHECK_CODE(cuModuleUnload(module), CUDA_ERROR_INVALID_HANDLE);
  CHECK_CODE(launch(add, 1, 1), CUDA_ERROR_INVALID_HANDLE);
  CHECK_CODE(cuMemcpyDtoH_v2(&value, counter, 4), CUDA_ERROR_INVALID_VALUE);
}

TEST("attributes and parameters of a function") {
  Session session;
  const CUmodule module = loadModule();
  const auto attribute = [](CUfunction function, CUfunction_attribute attribute) {
    int value = -1;
    CHECK_DONE(cuFuncGetAttribute(&value, attribute, function));
    return value;
  };
  const CUfunction shared = function(module, "shared");
  CHECK_EQUAL(attribute(shared, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES), 1000);
  CHECK_EQUAL(attribute(shared, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES),
              (48 << 10) - 1000);
  CHECK_EQUAL(attribute(shared, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK), 1024);
  CHECK_EQUAL(attribute(function(module, "limited"), CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK), 64);
  CHECK_EQUAL(attribute(shared, CU_FUNC_ATTRIBUTE_PTX_VERSION), 80);
  CHECK(attribute(function(module, "add"), CU_FUNC_ATTRIBUTE_NUM_REGS) > 0);
  int value = 0;
  CHECK_CODE(cuFuncGetAttribute(&value, static_cast<CUfunction_attribute>(99), shared),
             CUDA_ERROR_INVALID_VALUE);

  const CUfunction packed = function(module, "packed");
  const std::size_t offsets[] = {0, 8, 16};
  const std::size_t sizes[] = {1, 8, 12};
  for (std::size_t k = 0; k < 3; ++k) {
    std::size_t offset = 99, bytes = 99;
    CHECK_DONE(cuFuncGetParamInfo(packed, k, &offset, &bytes));
    CHECK_EQUAL(offset, offsets[k]);
    CHECK_EQUAL(bytes, sizes[k]);
  }
  std::size_t offset = 0;
  CHECK_CODE(cuFuncGetParamInfo(packed, 3, &offset, nullptr), CUDA_ERROR_INVALID_VALUE);
}

TEST("parameters of a launch") {
  Session session;
  const CUfunction packed = function(loadModule(), "packed");
  CUdeviceptr out = allocate(12);
  unsigned char flag = 200;
  struct {
    unsigned first, second, third;
  } numbers = {11, 12, 13};
  void *parameters[] = {&flag, &out, &numbers};
  const auto run = [&](void **values, void **extra) {
    return cuLaunchKernel(packed, 1, 1, 1, 1, 1, 1, 0, nullptr, values, extra);
  };
  unsigned words[3] = {};
  CHECK_DONE(run(parameters, nullptr));
  CHECK_DONE(cuMemcpyDtoH_v2(words, out, 12));
  CHECK_EQUAL(words[0], 200u);
  CHECK_EQUAL(words[1], 11u);
  CHECK_EQUAL(words[2], 13u);
  // They are taken when the launch is asked for.
  flag = 1;
  CHECK_DONE(run(parameters, nullptr));
  flag = 2;
  CHECK_DONE(cuMemcpyDtoH_v2(words, out, 12));
  CHECK_EQUAL(words[0], 1u);
  // The same, packed by the caller.
  unsigned char bytes[28] = {3};
  std::memcpy(bytes + 8, &out, 8);
  std::memcpy(bytes + 16, &numbers, 12);
  std::size_t size = sizeof bytes;
  void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, bytes, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                   CU_LAUNCH_PARAM_END};
  CHECK_DONE(run(nullptr, extra));
  CHECK_DONE(cuMemcpyDtoH_v2(words, out, 12));
  CHECK_EQUAL(words[0], 3u);
  CHECK_CODE(run(nullptr, nullptr), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(run(parameters, extra), CUDA_ERROR_INVALID_VALUE);
  size = 27;
  CHECK_CODE(run(nullptr, extra), CUDA_ERROR_INVALID_VALUE);
  parameters[1] = nullptr;
  CHECK_CODE(run(parameters, nullptr), CUDA_ERROR_INVALID_VALUE);
}

TEST("limits of a launch") {
  Session session;
  const CUmodule module = loadModule();
  const CUfunction limited = function(module, "limited");
  const CUfunction shared = function(module, "shared");
  CHECK_DONE(launch(limited, 1, 64));
  CHECK_CODE(launch(limited, 1, 65), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(launch(limited, 0, 64), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(launch(limited, 1, 0), CUDA_ERROR_INVALID_VALUE);
  CHECK_DONE(launch(shared, 1, 1024));
  CHECK_CODE(launch(shared, 1, 1025), CUDA_ERROR_INVALID_VALUE);
  const auto sized = [&](unsigned gridY, unsigned gridZ, unsigned blockY, unsigned blockZ) {
    return cuLaunchKernel(shared, 1, gridY, gridZ, 1, blockY, blockZ, 0, nullptr, nullptr, nullptr);
  };
  CHECK_DONE(sized(2, 2, 16, 64));
  CHECK_CODE(sized(65536, 1, 1, 1), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(sized(1, 65536, 1, 1), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(sized(1, 1, 1, 65), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(sized(1, 1, 64, 64), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(launch(nullptr, 1, 1), CUDA_ERROR_INVALID_HANDLE);
  CHECK_CODE(launch(reinterpret_cast<CUfunction>(module), 1, 1), CUDA_ERROR_INVALID_HANDLE);
  // More than 48 KB in all must be opted in for, and there is an end to that.
  const int most = (163 << 10) - 1000;
  CHECK_DONE(launch(shared, 1, 1, (48 << 10) - 1000));
  CHECK_CODE(launch(shared, 1, 1, (48 << 10) - 999), CUDA_ERROR_INVALID_VALUE);
  const auto optIn = [&](int bytes) {
    return cuFuncSetAttribute(shared, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
  };
  CHECK_CODE(optIn(most + 1), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(optIn(-1), CUDA_ERROR_INVALID_VALUE);
  CHECK_DONE(optIn(most));
  CHECK_DONE(launch(shared, 1, 1, static_cast<unsigned>(most)));
  CHECK_CODE(launch(shared, 1, 1, static_cast<unsigned>(most) + 1), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuFuncSetAttribute(shared, CU_FUNC_ATTRIBUTE_NUM_REGS, 1), CUDA_ERROR_INVALID_VALUE);
  CHECK_DONE(cuCtxSynchronize());
}

TEST("occupancy") {
  Session session;
  const CUmodule module = loadModule();
  const CUfunction limited = function(module, "limited");
  const auto blocks = [](CUfunction function, int threads, std::size_t dynamicShared) {
    int count = -1;
    CHECK_DONE(
        cuOccupancyMaxActiveBlocksPerMultiprocessor(&count, function, threads, dynamicShared));
    return count;
  };
  // 32 blocks, 2048 threads, 164 KB of shared memory, of which each block takes 1 KB more.
  CHECK_EQUAL(blocks(limited, 32, 0), 32);
  CHECK_EQUAL(blocks(limited, 128, 0), 16);
  CHECK_EQUAL(blocks(limited, 1024, 0), 2);
  CHECK_EQUAL(blocks(limited, 64, 40 << 10), 4);
  CHECK_EQUAL(blocks(limited, 64, 41 << 10), 3);
  CHECK_EQUAL(blocks(limited, 64, 163 << 10), 1);
  CHECK_EQUAL(blocks(limited, 64, 164 << 10), 0);
  CHECK_EQUAL(blocks(function(module, "shared"), 64, 40 << 10), 3);
  int count = 0;
  CHECK_CODE(cuOccupancyMaxActiveBlocksPerMultiprocessor(&count, limited, 0, 0),
             CUDA_ERROR_INVALID_VALUE);
}
