// Contexts: created, or the device's primary one, and which of them is current in a thread.
#include "driver.h"

using namespace ptx;

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  return call([&](Driver &driver) {
    driver.requireDevice(device);
    require(context != nullptr);
    if (driver.primaryUses == 0) driver.primary = driver.create(driver.primaryFlags);
    ++driver.primaryUses;
    *context = driver.primary;
  });
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  return call([&](Driver &driver) {
    driver.requireDevice(device);
    require(driver.primaryUses > 0, CUDA_ERROR_INVALID_CONTEXT);
    if (--driver.primaryUses == 0) driver.destroy(driver.primary);
  });
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
  return call([&](Driver &driver) {
    driver.requireDevice(device);
    if (driver.primaryUses == 0) return;
    driver.primaryUses = 0;
    driver.destroy(driver.primary);
  });
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags) {
  return call([&](Driver &driver) {
    driver.requireDevice(device);
    require((flags & ~CU_CTX_FLAGS_MASK) == 0);
    driver.primaryFlags = flags;
  });
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
  return call([&](Driver &driver) {
    driver.requireDevice(device);
    require(flags != nullptr && active != nullptr);
    *flags = driver.primaryFlags;
    *active = driver.primaryUses > 0 ? 1 : 0;
  });
}

CUresult cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device) {
  return call([&](Driver &driver) {
    driver.requireDevice(device);
    require(context != nullptr);
    *context = driver.create(flags);
    Driver::stack().push_back(*context);
  });
}

CUresult cuCtxDestroy_v2(CUcontext context) {
  return call([&](Driver &driver) {
    driver.requireInitialised();
    // The primary context is released, not destroyed.
    require(context != driver.primary || driver.primaryUses == 0, CUDA_ERROR_INVALID_CONTEXT);
    driver.destroy(context);
    auto &stack = Driver::stack();
    if (!stack.empty() && stack.back() == context) stack.pop_back();
  });
}

CUresult cuCtxPushCurrent_v2(CUcontext context) {
  return call([&](Driver &driver) {
    driver.requireInitialised();
    require(driver.contexts.find(context) != nullptr, CUDA_ERROR_INVALID_CONTEXT);
    Driver::stack().push_back(context);
  });
}

CUresult cuCtxPopCurrent_v2(CUcontext *context) {
  return call([&](Driver &driver) {
    driver.requireInitialised();
    auto &stack = Driver::stack();
    require(!stack.empty(), CUDA_ERROR_INVALID_CONTEXT);
    if (context != nullptr) *context = stack.back();
    stack.pop_back();
  });
}

CUresult cuCtxSetCurrent(CUcontext context) {
  return call([&](Driver &driver) {
    driver.requireInitialised();
    require(context == nullptr || driver.contexts.find(context) != nullptr,
            CUDA_ERROR_INVALID_CONTEXT);
    auto &stack = Driver::stack();
    if (!stack.empty()) stack.pop_back();
    if (context != nullptr) stack.push_back(context);
  });
}

CUresult cuCtxGetCurrent(CUcontext *context) {
  return call([&](Driver &driver) {
    driver.requireInitialised();
    require(context != nullptr);
    *context = Driver::stack().empty() ? nullptr : Driver::stack().back();
  });
}

CUresult cuCtxGetDevice(CUdevice *device) {
  return callInContext([&](Driver &, Context &) {
    require(device != nullptr);
    *device = 0;
  });
}

CUresult cuCtxGetFlags(unsigned *flags) {
  return callInContext([&](Driver &, Context &context) {
    require(flags != nullptr);
    *flags = context.flags;
  });
}

CUresult cuCtxGetApiVersion(CUcontext handle, unsigned *version) {
  return call([&](Driver &driver) {
    driver.requireInitialised();
    require(version != nullptr);
    if (handle == nullptr) {
      driver.current();
    } else {
      require(driver.contexts.find(handle) != nullptr, CUDA_ERROR_INVALID_CONTEXT);
    }
    // Of contexts that cuCtxCreate_v2 makes.
    *version = 3020;
  });
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  return callInContext([&](Driver &, Context &) {
    if (least != nullptr) *least = 0;
    if (greatest != nullptr) *greatest = 0;
  });
}

CUresult cuCtxSynchronize() {
  return callInContext([](Driver &, Context &context) { context.finish(); });
}
