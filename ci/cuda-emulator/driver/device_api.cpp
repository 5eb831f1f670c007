// The driver and its device: start-up, version, names and limits.
#include <cstdio>
#include <cstring>

#include "driver.h"

using namespace ptx;

namespace {

constexpr char DEVICE_NAME[] = "PTX emulator (CPU)";

int attributeOf(const Driver &driver, CUdevice_attribute attribute) {
  const DeviceModel &model = driver.model();
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      return MAX_THREADS_PER_BLOCK;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
      return MAX_BLOCK_DIM_XY;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:
      return MAX_BLOCK_DIM_Z;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
      return MAX_GRID_DIM_X;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
      return MAX_GRID_DIM_YZ;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
      return SHARED_PER_BLOCK;
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY:
      return 64 << 10;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
      return WARP_SIZE;
    case CU_DEVICE_ATTRIBUTE_MAX_PITCH:
      return 0x7fff'ffff;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR:
      return REGISTERS_PER_BLOCK;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      return model.multiprocessors;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
      return model.busBits;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
      return model.l2Bytes;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
      return model.threadsPerMultiprocessor;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      return model.computeCapability / 10;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      return model.computeCapability % 10;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
      return model.sharedPerMultiprocessor;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      return model.sharedPerBlockOptin;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR:
      return model.blocksPerMultiprocessor;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK:
      return model.sharedReservedPerBlock;
    // A clock of 1 MHz: there is none, and 0 would be a division by zero to some.
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
      return 1000;
    case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT:
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
      return 1;
    case CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO:
      return 2;
    default:
      require(attribute >= 1 && attribute <= CU_DEVICE_ATTRIBUTE_LAST);
      return 0;
  }
}

}  // namespace

CUresult cuInit(unsigned flags) {
  return call([&](Driver &driver) {
    require(flags == 0);
    require(driver.settings[Switch::Devices] > 0, CUDA_ERROR_NO_DEVICE);
    if (driver.memory == nullptr) driver.memory = std::make_unique<Memory>(DEVICE_ADDRESS_SPACE);
  });
}

CUresult cuDriverGetVersion(int *version) {
  return call([&](Driver &driver) {
    require(version != nullptr);
    *version = driver.version();
  });
}

CUresult cuDeviceGetCount(int *count) {
  return call([&](Driver &driver) {
    driver.requireInitialised();
    require(count != nullptr);
    *count = static_cast<int>(driver.settings[Switch::Devices]);
  });
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  return call([&](Driver &driver) {
    driver.requireDevice(ordinal);
    require(device != nullptr);
    *device = ordinal;
  });
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
  return call([&](Driver &driver) {
    driver.requireDevice(device);
    require(name != nullptr && length > 0);
    std::snprintf(name, static_cast<std::size_t>(length), "%s", DEVICE_NAME);
  });
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
  return call([&](Driver &driver) {
    driver.requireDevice(device);
    require(uuid != nullptr);
    std::memcpy(uuid->bytes, "PTX emulator CPU", sizeof uuid->bytes);
  });
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) { return cuDeviceGetUuid(uuid, device); }

CUresult cuDeviceTotalMem_v2(std::size_t *bytes, CUdevice device) {
  return call([&](Driver &driver) {
    driver.requireDevice(device);
    require(bytes != nullptr);
    *bytes = driver.settings[Switch::DeviceBytes];
  });
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  return call([&](Driver &driver) {
    driver.requireDevice(device);
    require(value != nullptr);
    *value = attributeOf(driver, attribute);
  });
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
  return call([&](Driver &driver) {
    driver.requireDevice(device);
    require(major != nullptr && minor != nullptr);
    *major = driver.model().computeCapability / 10;
    *minor = driver.model().computeCapability % 10;
  });
}

CUresult cuDeviceGetPCIBusId(char *id, int length, CUdevice device) {
  return call([&](Driver &driver) {
    driver.requireDevice(device);
    require(id != nullptr && length > 0);
    std::snprintf(id, static_cast<std::size_t>(length), "0000:00:00.0");
  });
}
