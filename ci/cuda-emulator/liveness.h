// Which registers of a program hold a value that is still needed, and where.
#pragma once

#include <vector>

#include "program.h"

namespace ptx {

// From the first instruction at which a register may hold a value that is read later, to the last;
// empty (first > last) for a register that no instruction names.
struct LiveRange {
  int first = 0;
  int last = -1;
};

// The ranges of so many registers in code whose operands are still their numbers. always: the
// constant predicate that guards what executes in any case.
std::vector<LiveRange> liveRanges(const Program &program, int registers, int always);

}  // namespace ptx
