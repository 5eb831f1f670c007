// The device, its limits, and the switches that change them.
#include <cstring>

#include "session.h"

using namespace test;

namespace {

int attribute(CUdevice_attribute attribute) {
  int value = -1;
  CHECK_DONE(cuDeviceGetAttribute(&value, attribute, 0));
  return value;
}

}  // namespace

TEST("before cuInit nothing works but the version", -1) {
  int value = 0;
  CHECK_DONE(cuDriverGetVersion(&value));
  CHECK_EQUAL(value, 11000);
  CHECK_CODE(cuDeviceGetCount(&value), CUDA_ERROR_NOT_INITIALIZED);
  CUcontext context = nullptr;
  CHECK_CODE(cuCtxCreate_v2(&context, 0, 0), CUDA_ERROR_NOT_INITIALIZED);
  CHECK_CODE(cuCtxSynchronize(), CUDA_ERROR_NOT_INITIALIZED);
  CUdeviceptr address = 0;
  CHECK_CODE(cuMemAlloc_v2(&address, 4), CUDA_ERROR_NOT_INITIALIZED);
  CHECK_CODE(cuInit(1), CUDA_ERROR_INVALID_VALUE);
}

TEST("the device") {
  CHECK_DONE(cuInit(0));
  int count = 0;
  CHECK_DONE(cuDeviceGetCount(&count));
  CHECK_EQUAL(count, 1);
  CUdevice device = -1;
  CHECK_DONE(cuDeviceGet(&device, 0));
  CHECK_CODE(cuDeviceGet(&device, 1), CUDA_ERROR_INVALID_DEVICE);
  CHECK_CODE(cuDeviceGet(&device, -1), CUDA_ERROR_INVALID_DEVICE);
  CHECK_CODE(cuDeviceGet(nullptr, 0), CUDA_ERROR_INVALID_VALUE);
  char name[64];
  CHECK_DONE(cuDeviceGetName(name, sizeof name, 0));
  CHECK_EQUAL(std::string(name), "PTX emulator (CPU)");
  CHECK_DONE(cuDeviceGetName(name, 4, 0));
  CHECK_EQUAL(std::string(name), "PTX");
  CUuuid uuid = {};
  CHECK_DONE(cuDeviceGetUuid_v2(&uuid, 0));
  std::size_t bytes = 0;
  CHECK_DONE(cuDeviceTotalMem_v2(&bytes, 0));
  CHECK_EQUAL(bytes, std::size_t{4} << 30);
  CHECK_EQUAL(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR), 8);
  CHECK_EQUAL(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR), 0);
  CHECK_EQUAL(attribute(CU_DEVICE_ATTRIBUTE_WARP_SIZE), 32);
  CHECK_EQUAL(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK), 48 << 10);
  CHECK_EQUAL(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN), 163 << 10);
  // One that exists and means nothing here, and two that don't exist.
  CHECK_EQUAL(attribute(static_cast<CUdevice_attribute>(14)), 0);
  int value = 0;
  CHECK_CODE(cuDeviceGetAttribute(&value, static_cast<CUdevice_attribute>(0), 0),
             CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuDeviceGetAttribute(&value, static_cast<CUdevice_attribute>(9999), 0),
             CUDA_ERROR_INVALID_VALUE);
}

TEST("switches") {
  CHECK_DONE(cuInit(0));
  CHECK_CODE(ptx_emulator_set("PTX_EMULATOR_COLOUR", "1"), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(ptx_emulator_set("PTX_EMULATOR_RACES", "2"), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(ptx_emulator_set("PTX_EMULATOR_RACES", ""), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(ptx_emulator_set("PTX_EMULATOR_MEMORY", "1G"), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(ptx_emulator_set("PTX_EMULATOR_MEMORY", "-1"), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(ptx_emulator_set("PTX_EMULATOR_COMPUTE_CAPABILITY", "81"), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(ptx_emulator_set(nullptr, "1"), CUDA_ERROR_INVALID_VALUE);
  int version = 0;
  {
    const Switched none("PTX_EMULATOR_DEVICES", "0");
    int count = -1;
    CHECK_CODE(cuInit(0), CUDA_ERROR_NO_DEVICE);
    CHECK_DONE(cuDeviceGetCount(&count));
    CHECK_EQUAL(count, 0);
    CUdevice device = 0;
    CHECK_CODE(cuDeviceGet(&device, 0), CUDA_ERROR_INVALID_DEVICE);
  }
  {
    const Switched newer("PTX_EMULATOR_COMPUTE_CAPABILITY", "90");
    CHECK_EQUAL(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR), 9);
    CHECK_EQUAL(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN), 227 << 10);
    // The first driver that knows it.
    CHECK_DONE(cuDriverGetVersion(&version));
    CHECK_EQUAL(version, 11080);
  }
  {
    const Switched older("PTX_EMULATOR_COMPUTE_CAPABILITY", "70");
    CHECK_EQUAL(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR), 7);
    CHECK_EQUAL(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN), 96 << 10);
  }
  {
    const Switched driver("PTX_EMULATOR_DRIVER_VERSION", "12060");
    CHECK_DONE(cuDriverGetVersion(&version));
    CHECK_EQUAL(version, 12060);
  }
  CHECK_DONE(cuDriverGetVersion(&version));
  CHECK_EQUAL(version, 11000);
}

TEST("error names, look-up by name, stubs") {
  const char *text = nullptr;
  CHECK_DONE(cuGetErrorName(CUDA_ERROR_OUT_OF_MEMORY, &text));
  CHECK_EQUAL(std::string(text), "CUDA_ERROR_OUT_OF_MEMORY");
  CHECK_DONE(cuGetErrorString(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
  CHECK(text != nullptr && std::strlen(text) > 0);
  CHECK_CODE(cuGetErrorName(static_cast<CUresult>(12345), &text), CUDA_ERROR_INVALID_VALUE);
  CHECK(text == nullptr);

  void *found = nullptr;
  CUdriverProcAddressQueryResult status;
  CHECK_DONE(cuGetProcAddress_v2("cuMemAlloc", &found, 12000, 0, &status));
  CHECK(found == reinterpret_cast<void *>(&cuMemAlloc_v2));
  CHECK_EQUAL(static_cast<int>(status), static_cast<int>(CU_GET_PROC_ADDRESS_SUCCESS));
  CHECK_DONE(cuGetProcAddress("cuInit", &found, 12000, 0));
  CHECK(found == reinterpret_cast<void *>(&cuInit));
  CHECK_CODE(cuGetProcAddress_v2("cuFlyToTheMoon", &found, 12000, 0, &status),
             CUDA_ERROR_NOT_FOUND);
  CHECK_EQUAL(static_cast<int>(status), static_cast<int>(CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND));
  CHECK_DONE(cuGetProcAddress("cuTexRefCreate", &found, 12000, 0));
  void *texture = nullptr;
  CHECK_CODE(reinterpret_cast<CUresult (*)(void **)>(found)(&texture), CUDA_ERROR_NOT_SUPPORTED);
}
