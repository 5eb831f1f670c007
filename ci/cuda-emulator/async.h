// The copies that cp.async has started and that have not landed yet.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "program.h"

namespace ptx {

class CopyQueue {
 public:
  struct Copy {
    std::uint64_t from;
    std::uint32_t to;
    std::uint32_t group;
    std::uint8_t lane;
    std::uint8_t bytes;        // written to shared memory
    std::uint8_t sourceBytes;  // read from global memory; the rest is zero
    std::int32_t line;
  };

  void reset() {
    groups_.fill(0);
    copies_.clear();
  }

  // A lane begins a copy, in the group that its next commit will close.
  void begin(Copy copy) {
    copy.group = groups_[copy.lane];
    copies_.push_back(copy);
  }

  // Closes the groups of these lanes.
  void commit(Mask lanes) {
    for (; lanes; lanes &= lanes - 1) groups_[__builtin_ctz(lanes)]++;
  }

  // Calls land(copy), in the order in which the copies began, for what lands when these lanes wait
  // until at most `pending` of their closed groups are unfinished.
  template <class Land>
  void wait(Mask lanes, std::uint64_t pending, Land land) {
    landWhere(
        [&](const Copy &copy) {
          return (lanes >> copy.lane & 1) && copy.group + pending < groups_[copy.lane];
        },
        land);
  }

  // The same for everything, in closed groups or not.
  template <class Land>
  void waitAll(Mask lanes, Land land) {
    landWhere([&](const Copy &copy) { return (lanes >> copy.lane & 1) != 0; }, land);
  }

 private:
  template <class Lands, class Land>
  void landWhere(Lands lands, Land land) {
    auto kept = copies_.begin();
    for (const Copy &copy : copies_) {
      if (lands(copy)) {
        land(copy);
      } else {
        *kept++ = copy;
      }
    }
    copies_.erase(kept, copies_.end());
  }

  // How many groups each lane has closed: the number of the group that is open.
  std::array<std::uint32_t, LANES> groups_{};
  std::vector<Copy> copies_;
};

}  // namespace ptx
