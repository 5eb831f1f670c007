#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>

namespace ptx {

namespace {

// Address space only; the host gives pages as they are touched.
template <class T>
T *reserve(std::uint64_t bytes) {
  void *result = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (result == MAP_FAILED) throw std::bad_alloc();
  return static_cast<T *>(result);
}

// Zeros, handing whole pages back to the host.
void release(void *begin, std::uint64_t bytes) {
  constexpr std::uint64_t PAGE = 4096;
  auto *first = static_cast<unsigned char *>(begin);
  const std::uint64_t address = reinterpret_cast<std::uint64_t>(begin);
  const std::uint64_t head = std::min(bytes, -address % PAGE);
  const std::uint64_t pages = (bytes - head) / PAGE * PAGE;
  std::memset(first, 0, head);
  if (pages > 0 && madvise(first + head, pages, MADV_DONTNEED) != 0) {
    std::memset(first + head, 0, pages);
  }
  std::memset(first + head + pages, 0, bytes - head - pages);
}

std::uint64_t withGap(std::uint64_t bytes) {
  return (bytes + 2 * Memory::ALIGNMENT - 1) / Memory::ALIGNMENT * Memory::ALIGNMENT;
}

}  // namespace

// Four times the capacity in addresses, so that an address is not soon handed out again after it
// was freed: a kernel that still uses it is caught.
Memory::Memory(std::uint64_t capacity)
    : capacity_(capacity), span_(withGap(4 * capacity) + (std::uint64_t{1} << 20)) {
  data_ = reserve<std::byte>(span_);
  try {
    written_ = reserve<std::uint8_t>(span_);
  } catch (const std::bad_alloc &) {
    munmap(data_, span_);
    throw;
  }
}

Memory::~Memory() {
  munmap(data_, span_);
  munmap(written_, span_);
}

std::uint64_t Memory::used() const {
  std::shared_lock lock(mutex_);
  return used_;
}

DeviceAddress Memory::allocate(std::uint64_t bytes) {
  std::unique_lock lock(mutex_);
  if (bytes == 0 || bytes > capacity_ - used_) return 0;
  const std::uint64_t room = withGap(bytes);
  // The first gap behind the last allocation made, else the first of all.
  for (const DeviceAddress start : {next_, BASE}) {
    DeviceAddress candidate = start;
    for (auto it = allocations_.lower_bound(start); it != allocations_.end(); ++it) {
      if (it->first - candidate >= room) break;
      candidate = it->first + withGap(it->second);
    }
    if (candidate - BASE + room <= span_) {
      allocations_.emplace(candidate, bytes);
      used_ += bytes;
      next_ = candidate + room;
      return candidate;
    }
  }
  return 0;
}

bool Memory::free(DeviceAddress address) {
  std::unique_lock lock(mutex_);
  const auto it = allocations_.find(address);
  if (it == allocations_.end()) return false;
  release(written(address), it->second);
  release(data(address), it->second);
  used_ -= it->second;
  allocations_.erase(it);
  return true;
}

std::optional<Allocation> Memory::find(DeviceAddress address) const {
  std::shared_lock lock(mutex_);
  auto it = allocations_.upper_bound(address);
  if (it == allocations_.begin()) return std::nullopt;
  --it;
  if (address - it->first >= it->second) return std::nullopt;
  return Allocation{it->first, it->second};
}

bool Memory::contains(DeviceAddress address, std::uint64_t bytes) const {
  const auto allocation = find(address);
  return allocation && bytes <= allocation->end() - address;
}

bool Memory::copyFromHost(DeviceAddress to, const void *from, std::uint64_t bytes) {
  if (!contains(to, bytes)) return false;
  std::memcpy(data(to), from, bytes);
  std::memset(written(to), 1, bytes);
  return true;
}

bool Memory::copyToHost(void *to, DeviceAddress from, std::uint64_t bytes) const {
  if (!contains(from, bytes)) return false;
  std::memcpy(to, data(from), bytes);
  return true;
}

bool Memory::copy(DeviceAddress to, DeviceAddress from, std::uint64_t bytes) {
  if (!contains(from, bytes) || !contains(to, bytes)) return false;
  std::memmove(data(to), data(from), bytes);
  std::memmove(written(to), written(from), bytes);
  return true;
}

bool Memory::fill(DeviceAddress to, std::uint32_t value, std::uint32_t width, std::uint64_t count) {
  if ((width != 1 && width != 2 && width != 4) || !contains(to, width * count)) return false;
  if (width == 1) {
    std::memset(data(to), static_cast<int>(value & 0xff), count);
  } else {
    for (std::uint64_t k = 0; k < count; k++) std::memcpy(data(to) + k * width, &value, width);
  }
  std::memset(written(to), 1, width * count);
  return true;
}

}  // namespace ptx
