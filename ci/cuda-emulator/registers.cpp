#include "registers.h"

#include <algorithm>
#include <cstring>

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

std::uint32_t RegisterFile::layOut(Program &program) const {
  std::vector<std::uint32_t> offsets(entries_.size());
  std::uint32_t end = 0;
  std::uint32_t registers = 0;
  // Wide ones first, so that all are aligned; predicates, of four bytes each, last.
  const auto place = [&](bool constants) {
    for (int width : {8, 4, 2, 0}) {
      for (std::size_t k = 0; k < entries_.size(); k++) {
        const Entry &entry = entries_[k];
        if (entry.width != width || (entry.kind == Entry::Kind::Constant) != constants) continue;
        offsets[k] = end;
        end += static_cast<std::uint32_t>(width == 0 ? sizeof(Mask) : width * LANES);
        if (!constants) registers += width == 8 ? 2 : width > 0 ? 1 : 0;
      }
    }
    end = (end + 63) / 64 * 64;
  };
  place(true);
  program.constants.resize(end);
  place(false);
  program.registerBytes = end;

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
