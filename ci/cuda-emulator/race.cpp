#include "race.h"

#include <algorithm>

#include "fault.h"

namespace ptx {

namespace {

int shiftOf(std::uint32_t granule) { return __builtin_ctz(granule); }

int lowestLane(Mask lanes) { return __builtin_ctz(lanes); }

}  // namespace

SharedShadow::SharedShadow(std::uint32_t bytes, std::uint32_t granule, int warps, bool checkRaces,
                           bool checkUninitialised)
    : shift_(shiftOf(granule)),
      warps_(warps),
      checkRaces_(checkRaces),
      checkUninitialised_(checkUninitialised) {
  const std::size_t cells = (std::size_t{bytes} + granule - 1) >> shift_;
  written_.resize(cells);
  writeLine_.resize(cells);
  lastRead_.resize(cells);
  read_.resize(cells * static_cast<std::size_t>(warps));
  readers_.resize(read_.size());
  readLine_.resize(read_.size());
  positions_.resize(static_cast<std::size_t>(warps));
}

void SharedShadow::reset() {
  std::fill(written_.begin(), written_.end(), 0);
  std::fill(lastRead_.begin(), lastRead_.end(), 0);
  std::fill(read_.begin(), read_.end(), 0);
  clock_ = 0;
  syncBlock();
}

// ---- Checks --------------------------------------------------------------------------------------

bool SharedShadow::ordered(const Position &now, int warp, int lane, std::uint32_t stamp,
                           int otherWarp, int otherLane) const {
  if (stamp < now.seen[otherWarp]) return true;
  if (otherWarp != warp) return false;
  return otherLane == lane || (now.laneSeen && stamp < (*now.laneSeen)[lane][otherLane]);
}

Mask SharedShadow::met(const Position &now, std::uint32_t stamp, Mask readers, Mask lanes) {
  Mask result = 0;
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const auto &seen = (*now.laneSeen)[lowestLane(rest)];
    for (int other = 0; other < LANES; other++) {
      result |= (stamp < seen[other] ? Mask{1} : Mask{0}) << other;
    }
  }
  return readers & result;
}

void SharedShadow::checkRead(int warp, std::uint32_t cell, Mask lanes) {
  const std::uint32_t written = written_[cell];
  if (written == 0) {
    if (!checkUninitialised_) return;
    throw Fault{CudaError::LaunchFailed, lowestLane(lanes),
                "uninitialised shared memory: read of " + place(cell) +
                    ", which no thread of the block has written"};
  }
  const int otherWarp = written >> 5 & 31;
  const int otherLane = written & 31;
  if (written >= IN_FLIGHT) unfinishedCopy("read", lowestLane(lanes), cell);
  if (!checkRaces_) return;
  const Position &now = positions_[warp];
  const std::uint32_t stamp = written >> WRITE_STAMP;
  if (written & ATOMICS) {
    if (stamp < now.settled) return;
    race("read", lowestLane(lanes), cell, "was changed by atomics of several threads, last of",
         otherWarp, otherLane, writeLine_[cell]);
  }
  if (stamp < now.seen[otherWarp]) return;
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = lowestLane(rest);
    if (!ordered(now, warp, lane, stamp, otherWarp, otherLane)) {
      race("read", lane, cell, "was written by", otherWarp, otherLane, writeLine_[cell]);
    }
  }
}

void SharedShadow::checkWrite(int warp, std::uint32_t cell, int lane, bool atomic) {
  const std::uint32_t written = written_[cell];
  if (written >= IN_FLIGHT) unfinishedCopy("write", lane, cell);
  if (!checkRaces_) return;
  const Position &now = positions_[warp];
  if (written != 0 && !(atomic && written & ATOMIC)) {
    const int otherWarp = written >> 5 & 31;
    const int otherLane = written & 31;
    const std::uint32_t stamp = written >> WRITE_STAMP;
    if (written & ATOMICS ? stamp >= now.settled
                          : !ordered(now, warp, lane, stamp, otherWarp, otherLane)) {
      race("write", lane, cell, "was written by", otherWarp, otherLane, writeLine_[cell]);
    }
  }
  if (lastRead_[cell] < now.settled) return;
  for (int otherWarp = 0; otherWarp < warps_; otherWarp++) {
    const std::size_t other = ofWarp(otherWarp, cell);
    const std::uint32_t stamp = read_[other];
    if (stamp < now.seen[otherWarp]) continue;
    for (Mask rest = readers_[other]; rest; rest &= rest - 1) {
      const int otherLane = lowestLane(rest);
      if (!ordered(now, warp, lane, stamp, otherWarp, otherLane)) {
        race("write", lane, cell, "was read by", otherWarp, otherLane, readLine_[other]);
      }
    }
  }
}

void SharedShadow::atomic(int warp, std::uint32_t address, std::uint32_t bytes, int lane,
                          std::int32_t line) {
  Position &now = positions_[warp];
  now.touched |= Mask{1} << lane;
  for (std::uint32_t cell = address >> shift_; cell < (address + bytes) >> shift_; cell++) {
    if (written_[cell] == 0 && checkUninitialised_) checkRead(warp, cell, Mask{1} << lane);
    checkWrite(warp, cell, lane, true);
    // What others have not seen yet must not be hidden by this access: an own plain write goes on to
    // count as one, and the atomics of another thread as theirs, too.
    const std::uint32_t before = written_[cell];
    const std::uint32_t self = static_cast<std::uint32_t>(warp << 5 | lane);
    std::uint32_t kind = ATOMIC;
    if (before >= now.settled << WRITE_STAMP) {
      kind = before & ATOMIC;
      if (kind && (before & ATOMICS || (before & 1023) != self)) kind = ATOMIC | ATOMICS;
    }
    written_[cell] = now.stamp << WRITE_STAMP | kind | self;
    writeLine_[cell] = line;
  }
}

void SharedShadow::beginCopy(int warp, std::uint32_t address, std::uint32_t bytes, int lane,
                             std::int32_t line) {
  positions_[warp].touched |= Mask{1} << lane;
  const std::uint32_t first = address >> shift_;
  const std::uint32_t cells = bytes >> shift_;
  writeCells(warp, first, static_cast<int>(cells), line, [lane](int) { return lane; });
  for (std::uint32_t k = 0; k < cells; k++) written_[first + k] |= IN_FLIGHT;
}

void SharedShadow::land(int warp, std::uint32_t address, std::uint32_t bytes, int lane,
                        std::int32_t line) {
  positions_[warp].touched |= Mask{1} << lane;
  const std::uint32_t stamp = positions_[warp].stamp;
  for (std::uint32_t cell = address >> shift_; cell < (address + bytes) >> shift_; cell++) {
    written_[cell] = stamp << WRITE_STAMP | warp << 5 | lane;
    writeLine_[cell] = line;
  }
}

// Whether all lanes access memory in one piece, in their order.
static bool contiguous(const Addresses &addresses, std::uint32_t bytes) {
  bool result = true;
  for (int lane = 0; lane < LANES; lane++) {
    result &= addresses[lane] == addresses[0] + static_cast<std::uint64_t>(lane) * bytes;
  }
  return result;
}

void SharedShadow::read(int warp, const Addresses &addresses, std::uint32_t bytes, Mask lanes,
                        std::int32_t line) {
  positions_[warp].touched |= lanes;
  const int cells = static_cast<int>(bytes >> shift_);
  if (lanes == ALL_LANES && contiguous(addresses, bytes)) {
    const int shift = __builtin_ctz(static_cast<unsigned>(cells));
    readCells(warp, static_cast<std::uint32_t>(addresses[0]) >> shift_, cells * LANES, line,
              [shift](int k) { return Mask{1} << (k >> shift); });
    return;
  }
  while (lanes) {
    // Neighbours often read the same bytes.
    const int lane = lowestLane(lanes);
    Mask same = Mask{1} << lane;
    for (int next = lane + 1; next < LANES; next++) {
      if (!(lanes >> next & 1) || addresses[next] != addresses[lane]) break;
      same |= Mask{1} << next;
    }
    readCells(warp, static_cast<std::uint32_t>(addresses[lane]) >> shift_, cells, line,
              [same](int) { return same; });
    lanes &= ~same;
  }
}

void SharedShadow::write(int warp, const Addresses &addresses, std::uint32_t bytes, Mask lanes,
                         std::int32_t line) {
  positions_[warp].touched |= lanes;
  const int cells = static_cast<int>(bytes >> shift_);
  if (lanes == ALL_LANES && contiguous(addresses, bytes)) {
    const int shift = __builtin_ctz(static_cast<unsigned>(cells));
    writeCells(warp, static_cast<std::uint32_t>(addresses[0]) >> shift_, cells * LANES, line,
               [shift](int k) { return k >> shift; });
    return;
  }
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = lowestLane(rest);
    writeCells(warp, static_cast<std::uint32_t>(addresses[lane]) >> shift_, cells, line,
               [lane](int) { return lane; });
  }
}

// ---- Barriers ------------------------------------------------------------------------------------

// The next stamp. When the stamps run out (after a million barriers in one block) the shadow
// keeps what is initialised and in flight, and forgets who did it and when.
void SharedShadow::advance() {
  if (++clock_ < STAMP_LIMIT) return;
  clock_ = 2;
  for (std::uint32_t &written : written_) {
    if (written != 0 && written < IN_FLIGHT) written = 1u << WRITE_STAMP | (written & 1023);
  }
  std::fill(lastRead_.begin(), lastRead_.end(), 0);
  std::fill(read_.begin(), read_.end(), 0);
  for (Position &position : positions_) {
    position.stamp = clock_;
    position.seen.fill(clock_);
    position.settled = clock_;
    position.touched = 0;
    position.laneSeen.reset();
  }
}

void SharedShadow::syncLanes(int warp, Mask lanes, Mask live) {
  advance();
  Position &now = positions_[warp];
  now.stamp = clock_;
  if (!checkRaces_) return;
  // Lanes that have exited meet nobody, so what they did stays unordered.
  if (lanes == live && (now.touched & ~lanes) == 0) {
    now.touched = 0;
    now.seen[warp] = clock_;
    now.settled = *std::min_element(now.seen.begin(), now.seen.begin() + warps_);
    return;
  }
  if (!now.laneSeen) {
    now.laneSeen = std::make_unique<std::array<std::array<std::uint32_t, LANES>, LANES>>();
  }
  // Each of the lanes has now seen what any of them had.
  std::array<std::uint32_t, LANES> seen{};
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const auto &one = (*now.laneSeen)[lowestLane(rest)];
    for (int other = 0; other < LANES; other++) seen[other] = std::max(seen[other], one[other]);
  }
  for (Mask rest = lanes; rest; rest &= rest - 1) seen[lowestLane(rest)] = clock_;
  for (Mask rest = lanes; rest; rest &= rest - 1) (*now.laneSeen)[lowestLane(rest)] = seen;
}

void SharedShadow::syncBlock() {
  advance();
  for (Position &position : positions_) {
    position.stamp = clock_;
    position.seen.fill(clock_);
    position.settled = checkRaces_ ? clock_ : STAMP_LIMIT;
    position.touched = 0;
    position.laneSeen.reset();
  }
}

SharedShadow::Arrival SharedShadow::arrive(int warp) {
  advance();
  Position &now = positions_[warp];
  now.stamp = clock_;
  return {warp, clock_, now.seen};
}

void SharedShadow::join(int warp, const std::vector<Arrival> &arrivals) {
  if (!checkRaces_) return;
  Position &now = positions_[warp];
  for (const Arrival &arrival : arrivals) {
    for (int other = 0; other < warps_; other++) {
      now.seen[other] = std::max(now.seen[other], arrival.seen[other]);
    }
  }
  // Own lanes have met, too; and what a warp did after it arrived carries the stamp of its arrival.
  for (const Arrival &arrival : arrivals) {
    now.seen[arrival.warp] = std::max(now.seen[arrival.warp], arrival.stamp);
  }
  now.settled = *std::min_element(now.seen.begin(), now.seen.begin() + warps_);
}

// ---- Messages ------------------------------------------------------------------------------------

std::string SharedShadow::place(std::uint32_t cell) const {
  const std::uint64_t first = std::uint64_t{cell} << shift_;
  return "shared bytes " + std::to_string(first) + ".." +
         std::to_string(first + (1u << shift_) - 1);
}

void SharedShadow::unfinishedCopy(const char *access, int lane, std::uint32_t cell) const {
  throw Fault{CudaError::LaunchFailed, lane,
              std::string(access) + " of " + place(cell) +
                  " before the unfinished cp.async of lane " + std::to_string(written_[cell] & 31) +
                  " of warp " + std::to_string(written_[cell] >> 5 & 31) + " at PTX line " +
                  std::to_string(writeLine_[cell]) + " was waited for"};
}

void SharedShadow::race(const char *access, int lane, std::uint32_t cell, const char *other,
                        int otherWarp, int otherLane, std::int32_t line) const {
  throw Fault{CudaError::LaunchFailed, lane,
              "shared-memory race: " + std::string(access) + " of " + place(cell) + ", which " +
                  other + " lane " + std::to_string(otherLane) + " of warp " +
                  std::to_string(otherWarp) + " at PTX line " + std::to_string(line) +
                  " with no barrier between"};
}

}  // namespace ptx
