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
// The finding does not depend on the order in which the emulator happens to run warps and lanes.
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
    const std::uint32_t end = (address + bytes) >> shift_;
    for (std::uint32_t cell = address >> shift_; cell < end; cell++) {
      readCell(warp, cell, lanes, line);
    }
  }
  void write(int warp, std::uint32_t address, std::uint32_t bytes, int lane, std::int32_t line) {
    const std::uint32_t end = (address + bytes) >> shift_;
    for (std::uint32_t cell = address >> shift_; cell < end; cell++) {
      writeCell(warp, cell, lane, line);
    }
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
  // A write is stamp | atomic | warp | lane; 0 means never written, and the largest stamp that a
  // copy is in flight. A read is stamp | by several warps | warp, with its lanes in a mask.
  static constexpr int WRITE_STAMP = 11;
  static constexpr std::uint32_t ATOMIC = 1u << 10;
  static constexpr int READ_STAMP = 6;
  static constexpr std::uint32_t SEVERAL = 1u << 5;
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
    // The same for pairs of lanes, once some of a warp's lanes have met without the others.
    std::unique_ptr<std::array<std::array<std::uint32_t, LANES>, LANES>> laneSeen;
  };

  void readCell(int warp, std::uint32_t cell, Mask lanes, std::int32_t line) {
    const Position &now = positions_[warp];
    // Written, and before the last barrier: the usual case in one comparison (0 wraps to the top).
    if (written_[cell] - 1 >= (now.settled << WRITE_STAMP) - 1) checkRead(warp, cell, lanes);
    const std::uint32_t mine = now.stamp << READ_STAMP | warp;
    const std::uint32_t before = read_[cell];
    const bool others = before >= now.settled << READ_STAMP && (before & 63) != std::uint32_t(warp);
    readers_[cell] = before == mine ? readers_[cell] | lanes : lanes;
    read_[cell] = others ? now.stamp << READ_STAMP | SEVERAL : mine;
    readLine_[cell] = line;
  }

  void writeCell(int warp, std::uint32_t cell, int lane, std::int32_t line) {
    const Position &now = positions_[warp];
    if (written_[cell] >= now.settled << WRITE_STAMP || read_[cell] >= now.settled << READ_STAMP) {
      checkWrite(warp, cell, lane, false);
    }
    written_[cell] = now.stamp << WRITE_STAMP | warp << 5 | lane;
    writeLine_[cell] = line;
  }

  // Exactly, and with the words for it: throws Fault if the access is not allowed.
  void checkRead(int warp, std::uint32_t cell, Mask lanes);
  void checkWrite(int warp, std::uint32_t cell, int lane, bool atomic);
  bool ordered(const Position &now, int warp, int lane, std::uint32_t stamp, int otherWarp,
               int otherLane) const;
  [[noreturn]] void race(const char *access, int lane, std::uint32_t cell, const char *other,
                         int otherWarp, int otherLane, std::int32_t line) const;
  void advance();
  std::string place(std::uint32_t cell) const;

  const int shift_;
  const int warps_;
  const bool checkRaces_;
  const bool checkUninitialised_;
  std::uint32_t clock_ = 1;
  std::vector<std::uint32_t> written_;
  std::vector<std::uint32_t> read_;
  std::vector<Mask> readers_;
  std::vector<std::int32_t> writeLine_;
  std::vector<std::int32_t> readLine_;
  std::vector<Position> positions_;
};

}  // namespace ptx
