// Who touched shared memory last: finds races, reads of bytes that nothing has written, and reads of
// bytes that cp.async has yet to deliver.
//
// Two accesses are ordered if a barrier that both threads took part in lies between them: bar.sync
// orders the threads of all warps that meet in it, bar.warp.sync the lanes in its mask. Nothing else
// does: a warp's lanes have run in lockstep on no GPU since Volta, and shuffles, votes, ldmatrix
// and mma make lanes meet without ordering their memory accesses. Two accesses to the same bytes
// that are not ordered, one of them a write, are a race (two atomic ones are not).
//
// Time is counted in stamps: each barrier gives the warps that pass it a new one, larger than any
// before, and an access carries the stamp of its warp. So "everything that happened before barrier
// s" is every access with a smaller stamp, and whether an access is ordered before the present is
// one comparison with the stamp of the last barrier in common.
//
// The finding does not depend on the order in which the emulator happens to run warps and lanes. Two
// corners are not exact, and may see a race where there is none: after atomics of several threads
// nothing less than a barrier of the block lets one of them touch the cell in another way; and
// among bar.warp.sync with parts of the lanes, a read by some lanes makes earlier ones, which these
// lanes have not met since, count as if they were as late.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "program.h"

namespace ptx {

class SharedShadow {
 public:
  static constexpr int MAX_WARPS = 32;

  // granule: what every access is a multiple of, in bytes and in its address.
  SharedShadow(std::uint32_t bytes, std::uint32_t granule, int warps, bool checkRaces,
               bool checkUninitialised);

  // Forgets everything: a new block begins.
  void reset();

  // ---- Accesses, of bytes that are known to lie inside shared memory and to be aligned. Each
  // ---- throws Fault. line is the PTX line, for the message about the other side of a race.

  // All these lanes read the same bytes, each by itself or together.
  void read(int warp, std::uint32_t address, std::uint32_t bytes, Mask lanes, std::int32_t line) {
    positions_[warp].touched |= lanes;
    readCells(warp, address >> shift_, static_cast<int>(bytes >> shift_), line,
              [&](int) { return lanes; });
  }
  // Each of these lanes reads, or writes, so many bytes at its address.
  void read(int warp, const Addresses &addresses, std::uint32_t bytes, Mask lanes,
            std::int32_t line);
  void write(int warp, const Addresses &addresses, std::uint32_t bytes, Mask lanes,
             std::int32_t line);
  void atomic(int warp, std::uint32_t address, std::uint32_t bytes, int lane, std::int32_t line);
  // A lane has started a copy to these bytes: nobody may touch them until it lands.
  void beginCopy(int warp, std::uint32_t address, std::uint32_t bytes, int lane, std::int32_t line);
  void land(int warp, std::uint32_t address, std::uint32_t bytes, int lane, std::int32_t line);

  // ---- Barriers

  // These lanes of a warp have met in bar.warp.sync; live: those that have not exited.
  void syncLanes(int warp, Mask lanes, Mask live);
  // All warps have met.
  void syncBlock();
  // A barrier for some of the warps: what they have done so far is noted as they arrive, and seen
  // by those that waited when the barrier opens.
  struct Arrival {
    int warp;
    std::uint32_t stamp;
    std::array<std::uint32_t, MAX_WARPS> seen;
  };
  Arrival arrive(int warp);
  void join(int warp, const std::vector<Arrival> &arrivals);

 private:
  // A write is stamp | atomic, by several threads | atomic | warp | lane; 0 means never written, and
  // the largest stamp that a copy is in flight. Of reads each warp's are kept, the last stamp and
  // the lanes, and of all warps together the last stamp, to know in most cases that all are ordered.
  static constexpr int WRITE_STAMP = 12;
  static constexpr std::uint32_t ATOMICS = 1u << 11;
  static constexpr std::uint32_t ATOMIC = 1u << 10;
  static constexpr std::uint32_t STAMP_LIMIT = (1u << (32 - WRITE_STAMP)) - 1;
  static constexpr std::uint32_t IN_FLIGHT = STAMP_LIMIT << WRITE_STAMP;

  // What a warp has behind it.
  struct Position {
    std::uint32_t stamp = 1;
    // Accesses of another warp with smaller stamps are ordered before the present, and at the
    // warp's own place those of other lanes of this warp.
    std::array<std::uint32_t, MAX_WARPS> seen{};
    // The smallest of these: smaller stamps are ordered, whoever it was.
    std::uint32_t settled = 1;
    // Lanes that have accessed memory since the last barrier for all of them.
    Mask touched = 0;
    // The same for pairs of lanes, once some of a warp's lanes have met without the others.
    std::unique_ptr<std::array<std::array<std::uint32_t, LANES>, LANES>> laneSeen;
  };

  // So many cells in a row; lanesOf(k) are the lanes that read the k-th, laneOf(k) is the one that
  // writes it. The checks come first and without branches, so that all of it becomes vector code.
  template <class LanesOf>
  void readCells(int warp, std::uint32_t first, int count, std::int32_t line, LanesOf lanesOf) {
    const Position &now = positions_[warp];
    std::uint32_t *const written = written_.data() + first;
    std::uint32_t *const lastRead = lastRead_.data() + first;
    std::uint32_t *const read = read_.data() + ofWarp(warp, first);
    Mask *const readers = readers_.data() + ofWarp(warp, first);
    std::int32_t *const readLine = readLine_.data() + ofWarp(warp, first);
    // Written, and before the last barrier: the usual case in one comparison (0 wraps to the top).
    const std::uint32_t settledWrite = (now.settled << WRITE_STAMP) - 1;
    bool settled = true;
    for (int k = 0; k < count; k++) settled &= written[k] - 1 < settledWrite;
    if (!settled) {
      for (int k = 0; k < count; k++) {
        if (written[k] - 1 >= settledWrite) checkRead(warp, first + k, lanesOf(k));
      }
    }
    // Earlier readers that this warp's barriers have not ordered must not be forgotten, unless one
    // of these lanes has met them: what comes after its read then comes after theirs.
    if (now.laneSeen) {
      for (int k = 0; k < count; k++) {
        if (read[k] >= now.seen[warp]) readers[k] &= ~met(now, read[k], readers[k], lanesOf(k));
      }
    }
    const std::uint32_t seen = now.seen[warp];
    const std::uint32_t stamp = now.stamp;
#pragma GCC ivdep
    for (int k = 0; k < count; k++) {
      readers[k] = (read[k] >= seen ? readers[k] : 0) | lanesOf(k);
      read[k] = stamp;
      lastRead[k] = lastRead[k] > stamp ? lastRead[k] : stamp;
      readLine[k] = line;
    }
  }

  template <class LaneOf>
  void writeCells(int warp, std::uint32_t first, int count, std::int32_t line, LaneOf laneOf) {
    const Position &now = positions_[warp];
    std::uint32_t *const written = written_.data() + first;
    const std::uint32_t *const lastRead = lastRead_.data() + first;
    std::int32_t *const writeLine = writeLine_.data() + first;
    const std::uint32_t settledWrite = now.settled << WRITE_STAMP;
    bool settled = true;
    for (int k = 0; k < count; k++) {
      settled &= (written[k] < settledWrite) & (lastRead[k] < now.settled);
    }
    if (!settled) {
      for (int k = 0; k < count; k++) {
        if (written[k] >= settledWrite || lastRead[k] >= now.settled) {
          checkWrite(warp, first + k, laneOf(k), false);
        }
      }
    }
    const std::uint32_t mine = now.stamp << WRITE_STAMP | static_cast<std::uint32_t>(warp) << 5;
#pragma GCC ivdep
    for (int k = 0; k < count; k++) {
      written[k] = mine | static_cast<std::uint32_t>(laneOf(k));
      writeLine[k] = line;
    }
  }

  // Exactly, and with the words for it: throws Fault if the access is not allowed.
  void checkRead(int warp, std::uint32_t cell, Mask lanes);
  void checkWrite(int warp, std::uint32_t cell, int lane, bool atomic);
  bool ordered(const Position &now, int warp, int lane, std::uint32_t stamp, int otherWarp,
               int otherLane) const;
  // Of these readers those whose reads, with that stamp, are ordered before the present of one of
  // these lanes, all of one warp.
  static Mask met(const Position &now, std::uint32_t stamp, Mask readers, Mask lanes);
  std::size_t ofWarp(int warp, std::uint32_t cell) const {
    return static_cast<std::size_t>(warp) * written_.size() + cell;
  }
  [[noreturn]] void race(const char *access, int lane, std::uint32_t cell, const char *other,
                         int otherWarp, int otherLane, std::int32_t line) const;
  [[noreturn]] void unfinishedCopy(const char *access, int lane, std::uint32_t cell) const;
  void advance();
  std::string place(std::uint32_t cell) const;

  const int shift_;
  const int warps_;
  const bool checkRaces_;
  const bool checkUninitialised_;
  std::uint32_t clock_ = 1;
  std::vector<std::uint32_t> written_;
  std::vector<std::int32_t> writeLine_;
  std::vector<std::uint32_t> lastRead_;
  // For each warp, all cells.
  std::vector<std::uint32_t> read_;
  std::vector<Mask> readers_;
  std::vector<std::int32_t> readLine_;
  std::vector<Position> positions_;
};

}  // namespace ptx
