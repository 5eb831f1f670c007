// The registers, constants and special registers of a program while it is decoded, each a number;
// and at the end their layout in a warp's register file.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "program.h"

namespace ptx {

class RegisterFile {
 public:
  RegisterFile() { sink_ = variable(8); }

  // A register of so many bytes a lane, 0 for a predicate.
  int variable(int width);
  // The same constant in every lane.
  int constant(int width, std::uint64_t bits);
  int constantMask(Mask mask);
  int special(Special kind);
  // A constant that is not known yet: fillPlaceholders adds this to its bits.
  int placeholder(int width, std::uint64_t bits);
  void fillPlaceholders(std::uint64_t value);
  // Takes what nobody wants.
  int sink() const { return sink_; }

  // Bytes of a lane's element, 0 for a predicate.
  int width(int reg) const { return entries_[static_cast<std::size_t>(reg)].width; }

  // Gives each register its place and puts that in place of its number into the code. always: the
  // constant predicate of instructions without a guard. Returns how many 32-bit registers hold all
  // variables.
  std::uint32_t layOut(Program &program, int always) const;

 private:
  struct Entry {
    enum class Kind : std::uint8_t { Variable, Constant, Placeholder, Special } kind;
    std::uint8_t width;
    ptx::Special special;
    std::uint64_t bits;
  };

  int add(const Entry &entry);
  // The place of each variable, -1 for what needs none; and the width of each place.
  std::vector<int> share(const Program &program, int always, std::vector<int> &places) const;

  std::vector<Entry> entries_;
  std::map<std::pair<int, std::uint64_t>, int> constants_;
  std::map<Special, int> specials_;
  int sink_;
};

}  // namespace ptx
