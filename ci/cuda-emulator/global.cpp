#include "global.h"

#include <algorithm>
#include <cstring>

#include "fault.h"
#include "text.h"

namespace ptx {

namespace {

// Whether all these flags are 1.
bool allSet(const std::uint8_t *flags, std::uint64_t count) {
  std::uint8_t all = 1;
  for (std::uint64_t k = 0; k < count; k++) all &= flags[k];
  return all;
}

struct Extent {
  std::uint64_t first = ~std::uint64_t{0};
  std::uint64_t last = 0;
  std::uint64_t bits = 0;  // of all addresses together
};

Extent extentOf(const Addresses &addresses, Mask lanes) {
  Extent result;
  if (lanes == ALL_LANES) {
    for (int lane = 0; lane < LANES; lane++) {
      result.first = std::min(result.first, addresses[lane]);
      result.last = std::max(result.last, addresses[lane]);
      result.bits |= addresses[lane];
    }
  } else {
    for (Mask rest = lanes; rest; rest &= rest - 1) {
      const std::uint64_t address = addresses[__builtin_ctz(rest)];
      result.first = std::min(result.first, address);
      result.last = std::max(result.last, address);
      result.bits |= address;
    }
  }
  return result;
}

void requireAligned(const char *access, const Addresses &addresses, std::uint32_t bytes, Mask lanes,
                    const Extent &extent) {
  if ((extent.bits & (bytes - 1)) == 0) return;
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    if (addresses[lane] & (bytes - 1)) {
      throw Fault{CudaError::MisalignedAddress, lane,
                  "misaligned " + std::string(access) + " of " + std::to_string(bytes) +
                      " bytes at global " + hex(addresses[lane])};
    }
  }
}

}  // namespace

bool GlobalView::inBounds(std::uint64_t first, std::uint64_t end) {
  if (end <= first) return false;  // over the end of all addresses
  for (const Range &range : recent_) {
    if (first >= range.begin && end <= range.end) return true;
  }
  const auto allocation = memory_.find(first);
  if (!allocation || end > allocation->end()) return false;
  recent_[oldest_++ % recent_.size()] = {allocation->address, allocation->end()};
  return true;
}

void GlobalView::outOfBounds(const char *access, int lane, std::uint64_t address,
                             std::uint32_t bytes) const {
  std::string message = "out of bounds: " + std::string(access) + " of " + std::to_string(bytes) +
                        " bytes at global " + hex(address);
  // Whose end it was that the kernel ran over.
  for (std::uint64_t back = 0; back < 64 * Memory::ALIGNMENT; back += Memory::ALIGNMENT / 2) {
    if (const auto allocation = memory_.find(address - back)) {
      message += ", " + std::to_string(address - allocation->address) +
                 " bytes into an allocation of " + std::to_string(allocation->bytes);
      break;
    }
  }
  throw Fault{CudaError::IllegalAddress, lane, message};
}

void GlobalView::beforeRead(int lane, std::uint64_t address, std::uint32_t bytes) {
  if (!checkUninitialised_ || !memory_.spans(address, bytes) ||
      !allSet(memory_.written(address), bytes)) {
    if (!inBounds(address, address + bytes)) outOfBounds("read", lane, address, bytes);
    if (checkUninitialised_) {
      throw Fault{CudaError::LaunchFailed, lane,
                  "uninitialised global memory: read of " + std::to_string(bytes) + " bytes at " +
                      hex(address) + ", where neither the host nor a kernel has written"};
    }
  }
}

void GlobalView::beforeRead(const Addresses &addresses, std::uint32_t bytes, Mask lanes) {
  const Extent extent = extentOf(addresses, lanes);
  requireAligned("read", addresses, bytes, lanes, extent);
  const std::uint64_t count = extent.last + bytes - extent.first;
  if (checkUninitialised_) {
    // Bytes that are written lie in an allocation, so where all are, there is nothing else to check.
    if (count <= std::uint64_t{LANES} * bytes && memory_.spans(extent.first, count) &&
        allSet(memory_.written(extent.first), count)) {
      return;
    }
  } else if (inBounds(extent.first, extent.last + bytes)) {
    return;
  }
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    beforeRead(lane, addresses[lane], bytes);
  }
}

void GlobalView::beforeWrite(const Addresses &addresses, std::uint32_t bytes, Mask lanes) {
  const Extent extent = extentOf(addresses, lanes);
  requireAligned("write", addresses, bytes, lanes, extent);
  const bool inside = inBounds(extent.first, extent.last + bytes);
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    const std::uint64_t address = addresses[lane];
    if (!inside && !inBounds(address, address + bytes)) outOfBounds("write", lane, address, bytes);
    std::uint8_t *flags = memory_.written(address);
    // Looking first keeps cache lines of the flags shared between the workers.
    if (!allSet(flags, bytes)) std::memset(flags, 1, bytes);
  }
}

}  // namespace ptx
