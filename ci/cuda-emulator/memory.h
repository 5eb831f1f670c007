// Device memory: allocations in an address space of their own, each with its bounds, and for every
// byte whether anything has been written to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <shared_mutex>

namespace ptx {

using DeviceAddress = std::uint64_t;

struct Allocation {
  DeviceAddress address;
  std::uint64_t bytes;

  DeviceAddress end() const { return address + bytes; }
};

class Memory {
 public:
  // Where device addresses begin; the windows through which a generic address reaches the shared,
  // local and parameter memory of the thread that uses it lie below.
  static constexpr DeviceAddress BASE = 0x7000'0000'0000;
  // Every allocation begins at a multiple of this, like cuMemAlloc's, and at least as many bytes
  // behind it belong to nobody, so that running over its end cannot hit a neighbour.
  static constexpr std::uint64_t ALIGNMENT = 512;

  // Throws std::bad_alloc if the host does not give the address space.
  explicit Memory(std::uint64_t capacity);
  ~Memory();
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;

  std::uint64_t capacity() const { return capacity_; }
  std::uint64_t used() const;

  // The start of a new allocation whose bytes count as uninitialised, or 0 if it does not fit.
  DeviceAddress allocate(std::uint64_t bytes);
  // False if no allocation starts there.
  bool free(DeviceAddress address);
  // The allocation that this address lies in.
  std::optional<Allocation> find(DeviceAddress address) const;
  // Whether one allocation contains all these bytes.
  bool contains(DeviceAddress address, std::uint64_t bytes) const;

  // What the host does to device memory. Each initialises what it writes; false, and nothing is
  // done, if the bytes do not lie in one allocation. A copy between device addresses carries over
  // which of the bytes were initialised.
  bool copyFromHost(DeviceAddress to, const void *from, std::uint64_t bytes);
  bool copyToHost(void *to, DeviceAddress from, std::uint64_t bytes) const;
  bool copy(DeviceAddress to, DeviceAddress from, std::uint64_t bytes);
  // Fills count elements of width 1, 2 or 4 bytes.
  bool fill(DeviceAddress to, std::uint32_t value, std::uint32_t width, std::uint64_t count);

  // For the executor, which has checked the bounds: the bytes themselves, and one flag for each of
  // them, 1 once it has been written. Only bytes inside an allocation can have a flag that is set.
  std::byte *data(DeviceAddress address) const { return data_ + (address - BASE); }
  std::uint8_t *written(DeviceAddress address) const { return written_ + (address - BASE); }
  // Whether all these addresses can be looked up with data() and written(), allocated or not.
  bool spans(DeviceAddress address, std::uint64_t bytes) const {
    return address - BASE < span_ && bytes <= span_ - (address - BASE);
  }

 private:
  const std::uint64_t capacity_;
  const std::uint64_t span_;
  std::byte *data_;
  std::uint8_t *written_;
  mutable std::shared_mutex mutex_;
  std::map<DeviceAddress, std::uint64_t> allocations_;
  std::uint64_t used_ = 0;
  DeviceAddress next_ = BASE;
};

}  // namespace ptx
