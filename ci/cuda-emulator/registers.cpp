#include "registers.h"

#include <algorithm>
#include <cstring>

#include "liveness.h"

namespace ptx {

int RegisterFile::add(const Entry &entry) {
  entries_.push_back(entry);
  return static_cast<int>(entries_.size()) - 1;
}

int RegisterFile::variable(int width) {
  return add({Entry::Kind::Variable, static_cast<std::uint8_t>(width), {}, 0});
}

int RegisterFile::constant(int width, std::uint64_t bits) {
  width = width == 1 ? 2 : width;
  if (width < 8) bits &= (std::uint64_t{1} << 8 * width) - 1;
  const auto [it, isNew] = constants_.try_emplace({width, bits}, 0);
  if (isNew) {
    it->second = add({Entry::Kind::Constant, static_cast<std::uint8_t>(width), {}, bits});
  }
  return it->second;
}

int RegisterFile::constantMask(Mask mask) {
  const auto [it, isNew] = constants_.try_emplace({0, mask}, 0);
  if (isNew) it->second = add({Entry::Kind::Constant, 0, {}, mask});
  return it->second;
}

int RegisterFile::special(Special kind) {
  const auto [it, isNew] = specials_.try_emplace(kind, 0);
  if (isNew) it->second = add({Entry::Kind::Special, 4, kind, 0});
  return it->second;
}

int RegisterFile::placeholder(int width, std::uint64_t bits) {
  return add({Entry::Kind::Placeholder, static_cast<std::uint8_t>(width), {}, bits});
}

void RegisterFile::fillPlaceholders(std::uint64_t value) {
  for (Entry &entry : entries_) {
    if (entry.kind == Entry::Kind::Placeholder) {
      entry.kind = Entry::Kind::Constant;
      entry.bits += value;
    }
  }
}

namespace {

std::uint32_t bytesOf(int width) {
  return static_cast<std::uint32_t>(width == 0 ? sizeof(Mask)
                                               : static_cast<std::size_t>(width * LANES));
}

// Widest first, so that all are aligned; predicates, of four bytes each, last.
constexpr int WIDTHS[] = {8, 4, 2, 0};

}  // namespace

// Gives variables that are never live at the same time one place, if they are of one width: places
// of another would mix up the lanes. So the register file of a kernel of thousands of virtual
// registers stays in the processor's cache. (That lanes run apart changes nothing: each lane follows
// a path of its own through the code, and writes only its own elements.)
std::vector<int> RegisterFile::share(const Program &program, int always,
                                     std::vector<int> &places) const {
  const std::vector<LiveRange> ranges =
      liveRanges(program, static_cast<int>(entries_.size()), always);
  std::vector<int> order;
  for (std::size_t k = 0; k < entries_.size(); k++) {
    if (entries_[k].kind == Entry::Kind::Variable && ranges[k].first <= ranges[k].last) {
      order.push_back(static_cast<int>(k));
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return ranges[a].first < ranges[b].first; });
  std::vector<int> placeOf(entries_.size(), -1);
  // For each width: places that are free now, and those in use by the end of their range.
  std::map<int, std::vector<int>> free;
  std::map<int, std::multimap<int, int>> busy;
  for (int reg : order) {
    const int width = entries_[reg].width;
    auto &ending = busy[width];
    while (!ending.empty() && ending.begin()->first < ranges[reg].first) {
      free[width].push_back(ending.begin()->second);
      ending.erase(ending.begin());
    }
    if (free[width].empty()) {
      free[width].push_back(static_cast<int>(places.size()));
      places.push_back(width);
    }
    placeOf[reg] = free[width].back();
    free[width].pop_back();
    // Nobody reads the sink, but everybody may write it.
    const int last = reg == sink_ ? static_cast<int>(program.code.size()) : ranges[reg].last;
    ending.emplace(last, placeOf[reg]);
  }
  return placeOf;
}

std::uint32_t RegisterFile::layOut(Program &program, int always) const {
  std::vector<int> places;  // the width of each
  const std::vector<int> placeOf = share(program, always, places);
  std::vector<std::uint32_t> offsets(entries_.size());
  std::uint32_t end = 0;
  const auto place = [&](Entry::Kind kind) {
    for (int width : WIDTHS) {
      for (std::size_t k = 0; k < entries_.size(); k++) {
        if (entries_[k].width != width || entries_[k].kind != kind) continue;
        offsets[k] = end;
        end += bytesOf(width);
      }
    }
  };
  const auto align = [&] { end = (end + 63) / 64 * 64; };
  place(Entry::Kind::Constant);
  align();
  program.constants.resize(end);
  place(Entry::Kind::Special);
  std::uint32_t registers = 0;
  std::vector<std::uint32_t> placeOffsets(places.size());
  for (int width : WIDTHS) {
    for (std::size_t number = 0; number < places.size(); number++) {
      if (places[number] != width) continue;
      placeOffsets[number] = end;
      end += bytesOf(width);
      registers += width == 8 ? 2 : width > 0 ? 1 : 0;
    }
  }
  align();
  program.registerBytes = end;
  for (std::size_t k = 0; k < entries_.size(); k++) {
    if (placeOf[k] >= 0) offsets[k] = placeOffsets[static_cast<std::size_t>(placeOf[k])];
  }

  for (std::size_t k = 0; k < entries_.size(); k++) {
    const Entry &entry = entries_[k];
    if (entry.kind == Entry::Kind::Special) program.specials.push_back({entry.special, offsets[k]});
    if (entry.kind != Entry::Kind::Constant) continue;
    std::byte *at = program.constants.data() + offsets[k];
    if (entry.width == 0) std::memcpy(at, &entry.bits, sizeof(Mask));
    for (int lane = 0; lane < LANES && entry.width > 0; lane++) {
      std::memcpy(at + lane * entry.width, &entry.bits, entry.width);
    }
  }
  for (Instruction &instruction : program.code) {
    instruction.guard = offsets[instruction.guard];
    for (int k = 0; k < instruction.operands; k++) {
      instruction.operand[k] = offsets[instruction.operand[k]];
    }
  }
  return registers;
}

}  // namespace ptx
