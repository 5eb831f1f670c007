// Memory: what is given out, copied and filled, and when.
#include <chrono>
#include <numeric>
#include <thread>

#include "session.h"

using namespace test;

namespace {

std::vector<unsigned> read(CUdeviceptr from, std::size_t count) {
  std::vector<unsigned> values(count);
  CHECK_DONE(cuMemcpyDtoH_v2(values.data(), from, count * sizeof(unsigned)));
  return values;
}

unsigned *pinned(std::size_t words, unsigned value) {
  void *memory = nullptr;
  CHECK_DONE(cuMemAllocHost_v2(&memory, words * sizeof(unsigned)));
  auto *array = static_cast<unsigned *>(memory);
  std::fill(array, array + words, value);
  return array;
}

}  // namespace

TEST("allocations") {
  Session session;
  std::size_t free = 0, total = 0;
  CHECK_DONE(cuMemGetInfo_v2(&free, &total));
  CHECK_EQUAL(total, std::size_t{4} << 30);
  const CUdeviceptr buffer = allocate(1000);
  CHECK_EQUAL(buffer % 256, 0u);
  std::size_t less = 0;
  CHECK_DONE(cuMemGetInfo_v2(&less, &total));
  CHECK(less <= free - 1000);
  CUdeviceptr base = 0;
  std::size_t bytes = 0;
  CHECK_DONE(cuMemGetAddressRange_v2(&base, &bytes, buffer + 999));
  CHECK_EQUAL(base, buffer);
  CHECK_EQUAL(bytes, 1000u);
  CHECK_CODE(cuMemGetAddressRange_v2(&base, &bytes, buffer + 1000), CUDA_ERROR_NOT_FOUND);
  CHECK_CODE(cuMemFree_v2(buffer + 4), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuMemFree_v2(12345), CUDA_ERROR_INVALID_VALUE);
  CHECK_DONE(cuMemFree_v2(buffer));
  CHECK_CODE(cuMemFree_v2(buffer), CUDA_ERROR_INVALID_VALUE);
  CHECK_DONE(cuMemFree_v2(0));
  CUdeviceptr none = 0;
  CHECK_CODE(cuMemAlloc_v2(&none, 0), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuMemAlloc_v2(nullptr, 4), CUDA_ERROR_INVALID_VALUE);
  CHECK_DONE(cuMemGetInfo_v2(&less, &total));
  CHECK_EQUAL(less, free);
}

TEST("out of memory") {
  Session session;
  CUdeviceptr address = 0;
  CHECK_CODE(cuMemAlloc_v2(&address, std::size_t{1} << 40), CUDA_ERROR_OUT_OF_MEMORY);
  const Switched small("PTX_EMULATOR_MEMORY", "1000000");
  std::size_t free = 0, total = 0;
  CHECK_DONE(cuMemGetInfo_v2(&free, &total));
  CHECK_EQUAL(total, 1000000u);
  const CUdeviceptr first = allocate(600000);
  CHECK_CODE(cuMemAlloc_v2(&address, 600000), CUDA_ERROR_OUT_OF_MEMORY);
  // The context lives on, and what is freed can be had again.
  CHECK_DONE(cuMemFree_v2(first));
  const CUdeviceptr second = allocate(600000);
  CHECK_DONE(cuMemFree_v2(second));
  const Switched third("PTX_EMULATOR_FAIL_ALLOCATION", "3");
  allocate(4);
  allocate(4);
  CHECK_CODE(cuMemAlloc_v2(&address, 4), CUDA_ERROR_OUT_OF_MEMORY);
  allocate(4);
}

TEST("copies and fills") {
  Session session;
  const CUdeviceptr a = allocate(64);
  const CUdeviceptr b = allocate(64);
  std::vector<unsigned> values(16);
  std::iota(values.begin(), values.end(), 100);
  CHECK_DONE(cuMemcpyHtoD_v2(a, values.data(), 64));
  CHECK_DONE(cuMemcpyDtoD_v2(b, a, 64));
  CHECK(read(b, 16) == values);
  CHECK_DONE(cuMemsetD8_v2(b, 0x12, 4));
  CHECK_DONE(cuMemsetD16_v2(b + 4, 0x3456, 2));
  CHECK_DONE(cuMemsetD32_v2(b + 8, 0x789abcde, 1));
  const auto filled = read(b, 4);
  CHECK_EQUAL(filled[0], 0x12121212u);
  CHECK_EQUAL(filled[1], 0x34563456u);
  CHECK_EQUAL(filled[2], 0x789abcdeu);
  CHECK_EQUAL(filled[3], 103u);
  CHECK_CODE(cuMemsetD32_v2(b + 2, 0, 1), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuMemsetD16_v2(b + 1, 0, 1), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuMemsetD8_v2(b, 0, 65), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuMemsetD32_v2(b, 0, ~std::size_t{0} / 4 + 2), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuMemcpyHtoD_v2(a + 4, values.data(), 64), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuMemcpyDtoH_v2(values.data(), a, 65), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuMemcpyDtoD_v2(a, b + 4, 64), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuMemcpyHtoD_v2(0, values.data(), 4), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuMemcpyHtoD_v2(a, nullptr, 4), CUDA_ERROR_INVALID_VALUE);
  CHECK_DONE(cuMemcpyHtoD_v2(a, nullptr, 0));
}

TEST("pinned memory") {
  Session session;
  void *memory = nullptr;
  CHECK_DONE(cuMemHostAlloc(&memory, 4096, 1));
  unsigned flags = 0;
  CHECK_DONE(cuMemHostGetFlags(&flags, memory));
  CHECK_EQUAL(flags, 1u);
  CHECK_CODE(cuMemFreeHost(static_cast<char *>(memory) + 16), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuMemHostUnregister(memory), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
  CHECK_DONE(cuMemFreeHost(memory));
  CHECK_CODE(cuMemFreeHost(memory), CUDA_ERROR_INVALID_VALUE);
  std::vector<unsigned> own(1024);
  CHECK_DONE(cuMemHostRegister_v2(own.data(), 4096, 0));
  CHECK_CODE(cuMemHostRegister_v2(own.data() + 100, 16, 0),
             CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
  CHECK_CODE(cuMemFreeHost(own.data()), CUDA_ERROR_INVALID_VALUE);
  CHECK_DONE(cuMemHostUnregister(own.data()));
  CHECK_CODE(cuMemHostAlloc(&memory, 0, 0), CUDA_ERROR_INVALID_VALUE);
  CHECK_CODE(cuMemHostAlloc(&memory, 16, 256), CUDA_ERROR_INVALID_VALUE);
}

// An asynchronous copy reads pinned memory when it runs, not when it is asked for.
TEST("asynchronous copies are late") {
  Session session;
  CUstream stream = nullptr;
  CHECK_DONE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  const CUdeviceptr device = allocate(64);
  unsigned *up = pinned(16, 1);
  CHECK_DONE(cuMemcpyHtoDAsync_v2(device, up, 64, stream));
  up[3] = 99;  // too early: the copy has not been waited for
  CHECK_DONE(cuStreamSynchronize(stream));
  CHECK_EQUAL(read(device, 4)[3], 99u);
  unsigned *down = pinned(16, 7);
  CHECK_DONE(cuMemcpyDtoHAsync_v2(down, device, 64, stream));
  CHECK_EQUAL(down[0], 7u);
  CHECK_DONE(cuStreamSynchronize(stream));
  CHECK_EQUAL(down[0], 1u);
  // Pageable memory is read before the call returns, and written.
  std::vector<unsigned> pageable(16, 5);
  CHECK_DONE(cuMemcpyHtoDAsync_v2(device, pageable.data(), 64, stream));
  pageable.assign(16, 6);
  CHECK_DONE(cuMemcpyDtoHAsync_v2(pageable.data(), device, 64, stream));
  CHECK_EQUAL(pageable[0], 5u);
}

TEST("pinned memory that is freed under a copy") {
  Session session;
  CUstream stream = nullptr;
  CHECK_DONE(cuStreamCreate(&stream, 0));
  const CUdeviceptr device = allocate(64);
  unsigned *up = pinned(16, 1);
  CHECK_DONE(cuMemcpyHtoDAsync_v2(device, up, 64, stream));
  CHECK_DONE(cuMemFreeHost(up));
  CHECK_CODE(cuStreamSynchronize(stream), CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(std::string(ptx_emulator_last_trap()).find("freed") != std::string::npos);
}
