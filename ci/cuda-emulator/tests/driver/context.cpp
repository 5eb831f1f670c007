// Contexts, and what a trap does to one.
#include <thread>

#include "session.h"

using namespace test;

TEST("contexts of a thread") {
  CHECK_DONE(cuInit(0));
  CUcontext current = nullptr;
  CHECK_DONE(cuCtxGetCurrent(&current));
  CHECK(current == nullptr);
  CHECK_CODE(cuCtxSynchronize(), CUDA_ERROR_INVALID_CONTEXT);
  CHECK_CODE(cuCtxPopCurrent_v2(&current), CUDA_ERROR_INVALID_CONTEXT);
  {
    Session outer;
    Session inner;
    CHECK_DONE(cuCtxGetCurrent(&current));
    CHECK(current == inner.context());
    CHECK_DONE(cuCtxPopCurrent_v2(&current));
    CHECK(current == inner.context());
    CHECK_DONE(cuCtxGetCurrent(&current));
    CHECK(current == outer.context());
    CHECK_DONE(cuCtxPushCurrent_v2(inner.context()));
    unsigned version = 0;
    CHECK_DONE(cuCtxGetApiVersion(outer.context(), &version));
    CHECK_EQUAL(version, 3020u);
    // Another thread has none until it sets one.
    std::thread([&] {
      CUcontext other = outer.context();
      CHECK_DONE(cuCtxGetCurrent(&other));
      CHECK(other == nullptr);
      CHECK_DONE(cuCtxSetCurrent(outer.context()));
      CHECK_DONE(cuCtxSynchronize());
      CHECK_DONE(cuCtxSetCurrent(nullptr));
      CHECK_CODE(cuCtxSynchronize(), CUDA_ERROR_INVALID_CONTEXT);
    }).join();
  }
  CHECK_DONE(cuCtxGetCurrent(&current));
  CHECK(current == nullptr);
}

TEST("a context that has been destroyed") {
  Session session;
  const CUcontext context = session.release();
  const CUmodule module = loadModule();
  const CUdeviceptr buffer = allocate(64);
  CUstream stream = nullptr;
  CHECK_DONE(cuStreamCreate(&stream, 0));
  std::thread([&] {
    CHECK_DONE(cuCtxSetCurrent(context));
    CHECK_DONE(cuCtxDestroy_v2(context));
    CHECK_CODE(cuCtxSetCurrent(context), CUDA_ERROR_INVALID_CONTEXT);
  }).join();
  // It is still on this thread's stack.
  CHECK_CODE(cuCtxSynchronize(), CUDA_ERROR_CONTEXT_IS_DESTROYED);
  CHECK_CODE(cuMemFree_v2(buffer), CUDA_ERROR_CONTEXT_IS_DESTROYED);
  CHECK_CODE(cuCtxDestroy_v2(context), CUDA_ERROR_INVALID_CONTEXT);
  CHECK_DONE(cuCtxPopCurrent_v2(nullptr));
  // What lived in it is nothing to the next one.
  Session next;
  CHECK_CODE(cuMemFree_v2(buffer), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuMemsetD8_v2(buffer, 0, 64), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuModuleUnload(module), CUDA_ERROR_INVALID_HANDLE);
  CHECK_CODE(cuStreamSynchronize(stream), CUDA_ERROR_INVALID_HANDLE);
}

TEST("the primary context") {
  CHECK_DONE(cuInit(0));
  const long before = ptx_emulator_live_objects();
  CUcontext first = nullptr;
  CUcontext second = nullptr;
  unsigned flags = 0;
  int active = -1;
  CHECK_CODE(cuDevicePrimaryCtxRelease_v2(0), CUDA_ERROR_INVALID_CONTEXT);
  CHECK_DONE(cuDevicePrimaryCtxRetain(&first, 0));
  CHECK_DONE(cuDevicePrimaryCtxRetain(&second, 0));
  CHECK(first == second);
  CHECK_DONE(cuDevicePrimaryCtxGetState(0, &flags, &active));
  CHECK_EQUAL(active, 1);
  CHECK_CODE(cuCtxDestroy_v2(first), CUDA_ERROR_INVALID_CONTEXT);
  CHECK_DONE(cuCtxSetCurrent(first));
  allocate(100);
  CHECK_DONE(cuDevicePrimaryCtxRelease_v2(0));
  CHECK_DONE(cuCtxSynchronize());
  CHECK_DONE(cuDevicePrimaryCtxRelease_v2(0));
  CHECK_CODE(cuCtxSynchronize(), CUDA_ERROR_CONTEXT_IS_DESTROYED);
  CHECK_DONE(cuCtxSetCurrent(nullptr));
  CHECK_DONE(cuDevicePrimaryCtxGetState(0, &flags, &active));
  CHECK_EQUAL(active, 0);
  CHECK_EQUAL(ptx_emulator_live_objects(), before);
}

// A trap shows at the next synchronisation, and from then on at every call, until the context is
// destroyed; another one is as good as new.
TEST("a trap kills its context and no other") {
  Session other;
  Session session;
  const CUmodule module = loadModule();
  CUdeviceptr buffer = allocate(64);
  CHECK_DONE(cuMemsetD8_v2(buffer, 0, 64));
  void *parameters[] = {&buffer};
  CHECK_DONE(
      cuLaunchKernel(function(module, "stray"), 1, 1, 1, 1, 1, 1, 0, nullptr, parameters, nullptr));
  CHECK_CODE(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
  const std::string trap = ptx_emulator_last_trap();
  for (const char *part :
       {"stray", "block (0,0,0)", "thread (0,0,0)", "PTX line 44", "out of bounds"}) {
    test::check(trap.find(part) != std::string::npos, __FILE__, __LINE__,
                [&] { return std::string(part) + " is not in: " + trap; });
  }
  CHECK_CODE(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK_CODE(cuMemFree_v2(buffer), CUDA_ERROR_ILLEGAL_ADDRESS);
  CUdeviceptr more = 0;
  CHECK_CODE(cuMemAlloc_v2(&more, 16), CUDA_ERROR_ILLEGAL_ADDRESS);
  unsigned word = 0;
  CHECK_CODE(cuMemcpyDtoH_v2(&word, buffer, 4), CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK_CODE(cuModuleUnload(module), CUDA_ERROR_ILLEGAL_ADDRESS);
  CUstream stream = nullptr;
  CHECK_CODE(cuStreamCreate(&stream, 0), CUDA_ERROR_ILLEGAL_ADDRESS);
  // The other context does not notice.
  CHECK_DONE(cuCtxPushCurrent_v2(other.context()));
  const CUdeviceptr fine = allocate(64);
  const CUmodule again = loadModule();
  CHECK_DONE(cuMemsetD32_v2(fine, 1, 16));
  CHECK_DONE(add(function(again, "add"), fine, 16, 2));
  CHECK_DONE(cuMemcpyDtoH_v2(&word, fine, 4));
  CHECK_EQUAL(word, 3u);
  CHECK_DONE(cuModuleUnload(again));
  CHECK_DONE(cuMemFree_v2(fine));
  CHECK_DONE(cuCtxPopCurrent_v2(nullptr));
}

// What a thread was told stays as it is while others trap and ask.
TEST("the text of the last trap is the caller's own") {
  const auto fail = [](const char *launchToFail) {
    Session session;
    CUdeviceptr buffer = allocate(64);
    void *parameters[] = {&buffer};
    const Switched next("PTX_EMULATOR_FAIL_LAUNCH", launchToFail);
    CHECK_DONE(cuLaunchKernel(function(loadModule(), "stray"), 1, 1, 1, 1, 1, 1, 0, nullptr,
                              parameters, nullptr));
    CHECK(cuCtxSynchronize() != CUDA_SUCCESS);
    return ptx_emulator_last_trap();
  };
  const char *mine = fail("0");
  const std::string text = mine;
  std::string others;
  std::thread([&] { others = fail("1"); }).join();
  CHECK(!others.empty() && others != text);
  CHECK_EQUAL(std::string(mine), text);
}

TEST("a launch that is told to fail") {
  Session session;
  const CUfunction kernel = function(loadModule(), "add");
  const CUdeviceptr buffer = allocate(64);
  CHECK_DONE(cuMemsetD32_v2(buffer, 0, 16));
  const Switched second("PTX_EMULATOR_FAIL_LAUNCH", "2");
  CHECK_DONE(add(kernel, buffer, 16, 1));
  CHECK_DONE(cuCtxSynchronize());
  CHECK_DONE(add(kernel, buffer, 16, 1));
  CHECK_CODE(cuCtxSynchronize(), CUDA_ERROR_LAUNCH_FAILED);
  CHECK(std::string(ptx_emulator_last_trap()).find("PTX_EMULATOR_FAIL_LAUNCH") !=
        std::string::npos);
}
