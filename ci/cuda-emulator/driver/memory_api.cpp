// Device memory, pinned host memory, copies and fills.
#include <sys/mman.h>

#include "driver.h"

using namespace ptx;

namespace {

DeviceAddress allocate(Driver &driver, Context &context, std::uint64_t bytes) {
  require(bytes > 0);
  require(!driver.settings.countDown(Switch::FailAllocation), CUDA_ERROR_OUT_OF_MEMORY);
  const std::uint64_t total = driver.settings[Switch::DeviceBytes];
  const std::uint64_t used = driver.memory->used();
  require(used <= total && bytes <= total - used, CUDA_ERROR_OUT_OF_MEMORY);
  const DeviceAddress address = driver.memory->allocate(bytes);
  require(address != 0, CUDA_ERROR_OUT_OF_MEMORY);
  context.allocations.insert(address);
  return address;
}

void *pin(Driver &driver, Context &context, std::uint64_t bytes, unsigned flags) {
  require(bytes > 0 && (flags & ~CU_MEMHOSTALLOC_FLAGS_MASK) == 0);
  require(!driver.settings.countDown(Switch::FailAllocation), CUDA_ERROR_OUT_OF_MEMORY);
  void *address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  require(address != MAP_FAILED, CUDA_ERROR_OUT_OF_MEMORY);
  driver.pinned.emplace(reinterpret_cast<std::uintptr_t>(address),
                        PinnedMemory{&context, bytes, flags, false, driver.nextNumber()});
  return address;
}

// Ends the pinning of memory that was pinned in this way.
void release(Driver &driver, const Context &context, void *address, bool registered,
             CUresult otherwise) {
  const auto found = driver.pinned.find(reinterpret_cast<std::uintptr_t>(address));
  require(found != driver.pinned.end() && found->second.registered == registered &&
              found->second.context == &context,
          otherwise);
  driver.unpin(found);
}

// Work that uses pinned memory in place, and so needs it for as long as it has not run.
std::function<void()> usingPinned(Driver &driver, const void *address, std::uint64_t bytes,
                                  const char *what, std::function<void()> run) {
  const std::uint64_t number = driver.findPinned(address, bytes)->number;
  return [&driver, address, bytes, what, number, run = std::move(run)] {
    const PinnedMemory *now = driver.findPinned(address, bytes);
    if (now == nullptr || now->number != number) {
      throw Fault{CUDA_ERROR_ILLEGAL_ADDRESS,
                  std::string(what) + " of " + std::to_string(bytes) +
                      " bytes: its pinned host memory was freed before the copy had run"};
    }
    run();
  };
}

// The device's side of a copy that waits in a stream: checked when it was asked for, but its memory
// can have been freed since.
void mustSucceed(bool done, const char *what) {
  if (!done) throw Fault{CUDA_ERROR_ILLEGAL_ADDRESS, std::string(what) + ": memory was freed"};
}

void hostToDevice(Driver &driver, Context &context, const std::shared_ptr<Stream> &stream,
                  DeviceAddress to, const void *from, std::uint64_t bytes) {
  if (bytes == 0) return;
  require(from != nullptr && driver.memory->contains(to, bytes));
  const auto copy = [&driver, to, bytes](const void *source) {
    mustSucceed(driver.memory->copyFromHost(to, source, bytes), "copy to the device");
  };
  if (driver.findPinned(from, bytes) != nullptr) {
    context.enqueue(stream, usingPinned(driver, from, bytes, "asynchronous copy to the device",
                                        [copy, from] { copy(from); }));
  } else {
    // Pageable memory goes through a staging buffer of the driver's, filled before the call returns.
    const auto *bytesOf = static_cast<const std::byte *>(from);
    context.enqueue(stream, [copy, staged = std::vector<std::byte>(bytesOf, bytesOf + bytes)] {
      copy(staged.data());
    });
  }
}

void deviceToHost(Driver &driver, Context &context, const std::shared_ptr<Stream> &stream, void *to,
                  DeviceAddress from, std::uint64_t bytes) {
  if (bytes == 0) return;
  require(to != nullptr && driver.memory->contains(from, bytes));
  const auto copy = [&driver, to, from, bytes] {
    mustSucceed(driver.memory->copyToHost(to, from, bytes), "copy from the device");
  };
  if (driver.findPinned(to, bytes) != nullptr) {
    context.enqueue(stream,
                    usingPinned(driver, to, bytes, "asynchronous copy from the device", copy));
  } else {
    context.finish(context.enqueue(stream, copy));
  }
}

void deviceToDevice(Driver &driver, Context &context, const std::shared_ptr<Stream> &stream,
                    DeviceAddress to, DeviceAddress from, std::uint64_t bytes) {
  if (bytes == 0) return;
  require(driver.memory->contains(to, bytes) && driver.memory->contains(from, bytes));
  context.enqueue(stream, [&driver, to, from, bytes] {
    mustSucceed(driver.memory->copy(to, from, bytes), "copy on the device");
  });
}

void fill(Driver &driver, Context &context, const std::shared_ptr<Stream> &stream, DeviceAddress to,
          std::uint32_t value, std::uint32_t width, std::uint64_t count) {
  require(to % width == 0);
  if (count == 0) return;
  require(count <= DEVICE_ADDRESS_SPACE && driver.memory->contains(to, count * width));
  context.enqueue(stream, [&driver, to, value, width, count] {
    mustSucceed(driver.memory->fill(to, value, width, count), "fill");
  });
}

CUresult fillInDefaultStream(DeviceAddress to, std::uint32_t value, std::uint32_t width,
                             std::size_t count) {
  return callInContext([&](Driver &driver, Context &context) {
    fill(driver, context, context.defaultStream, to, value, width, count);
  });
}

CUresult fillInStream(DeviceAddress to, std::uint32_t value, std::uint32_t width, std::size_t count,
                      CUstream stream) {
  return callInContext([&](Driver &driver, Context &context) {
    fill(driver, context, driver.stream(context, stream), to, value, width, count);
  });
}

}  // namespace

CUresult cuMemGetInfo_v2(std::size_t *free, std::size_t *total) {
  return callInContext([&](Driver &driver, Context &) {
    require(free != nullptr && total != nullptr);
    *total = driver.settings[Switch::DeviceBytes];
    const std::uint64_t used = driver.memory->used();
    *free = used < *total ? *total - used : 0;
  });
}

CUresult cuMemAlloc_v2(CUdeviceptr *address, std::size_t bytes) {
  return callInContext([&](Driver &driver, Context &context) {
    require(address != nullptr);
    *address = allocate(driver, context, bytes);
  });
}

CUresult cuMemFree_v2(CUdeviceptr address) {
  return callInContext([&](Driver &driver, Context &context) {
    if (address == 0) return;
    require(context.allocations.count(address) > 0);
    context.finish();
    context.allocations.erase(address);
    driver.memory->free(address);
  });
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, std::size_t *bytes, CUdeviceptr address) {
  return callInContext([&](Driver &driver, Context &) {
    const auto allocation = driver.memory->find(address);
    require(allocation.has_value(), CUDA_ERROR_NOT_FOUND);
    if (base != nullptr) *base = allocation->address;
    if (bytes != nullptr) *bytes = allocation->bytes;
  });
}

CUresult cuMemHostAlloc(void **address, std::size_t bytes, unsigned flags) {
  return callInContext([&](Driver &driver, Context &context) {
    require(address != nullptr);
    *address = pin(driver, context, bytes, flags);
  });
}

CUresult cuMemAllocHost_v2(void **address, std::size_t bytes) {
  return cuMemHostAlloc(address, bytes, 0);
}

CUresult cuMemHostGetFlags(unsigned *flags, void *address) {
  return callInContext([&](Driver &driver, Context &) {
    require(flags != nullptr);
    const PinnedMemory *memory = driver.findPinned(address, 1);
    require(memory != nullptr);
    *flags = memory->flags;
  });
}

CUresult cuMemFreeHost(void *address) {
  return callInContext([&](Driver &driver, Context &context) {
    release(driver, context, address, false, CUDA_ERROR_INVALID_VALUE);
  });
}

CUresult cuMemHostRegister_v2(void *address, std::size_t bytes, unsigned flags) {
  return callInContext([&](Driver &driver, Context &context) {
    require(address != nullptr && bytes > 0 && (flags & ~CU_MEMHOSTREGISTER_FLAGS_MASK) == 0);
    const auto start = reinterpret_cast<std::uintptr_t>(address);
    const auto after = driver.pinned.lower_bound(start + bytes);
    require(after == driver.pinned.begin() ||
                std::prev(after)->first + std::prev(after)->second.bytes <= start,
            CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    driver.pinned.emplace(start, PinnedMemory{&context, bytes, flags, true, driver.nextNumber()});
  });
}

CUresult cuMemHostUnregister(void *address) {
  return callInContext([&](Driver &driver, Context &context) {
    release(driver, context, address, true, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
  });
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, std::size_t bytes) {
  return callInContext([&](Driver &driver, Context &context) {
    hostToDevice(driver, context, context.defaultStream, to, from, bytes);
    context.finish(context.defaultStream);
  });
}

CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, std::size_t bytes) {
  return callInContext([&](Driver &driver, Context &context) {
    deviceToHost(driver, context, context.defaultStream, to, from, bytes);
    context.finish(context.defaultStream);
  });
}

CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
  return callInContext([&](Driver &driver, Context &context) {
    deviceToDevice(driver, context, context.defaultStream, to, from, bytes);
  });
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, std::size_t bytes,
                              CUstream stream) {
  return callInContext([&](Driver &driver, Context &context) {
    hostToDevice(driver, context, driver.stream(context, stream), to, from, bytes);
  });
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  return callInContext([&](Driver &driver, Context &context) {
    deviceToHost(driver, context, driver.stream(context, stream), to, from, bytes);
  });
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes,
                              CUstream stream) {
  return callInContext([&](Driver &driver, Context &context) {
    deviceToDevice(driver, context, driver.stream(context, stream), to, from, bytes);
  });
}

CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, std::size_t count) {
  return fillInDefaultStream(to, value, 1, count);
}

CUresult cuMemsetD16_v2(CUdeviceptr to, unsigned short value, std::size_t count) {
  return fillInDefaultStream(to, value, 2, count);
}

CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, std::size_t count) {
  return fillInDefaultStream(to, value, 4, count);
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, std::size_t count, CUstream stream) {
  return fillInStream(to, value, 1, count, stream);
}

CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, std::size_t count,
                          CUstream stream) {
  return fillInStream(to, value, 2, count, stream);
}

CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, std::size_t count, CUstream stream) {
  return fillInStream(to, value, 4, count, stream);
}
