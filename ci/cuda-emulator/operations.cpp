#include "operations.h"

#include <algorithm>
#include <array>

namespace ptx {

namespace {

// Qualifiers of memory instructions that change nothing here: the emulator performs every access at
// once, in the order of the program, and has no caches.
bool changesNothing(std::string_view qualifier) {
  static constexpr std::array<std::string_view, 22> NAMES = {
      "weak", "relaxed", "acquire", "release", "acq_rel", "volatile", "cta", "cluster",
      "gpu",  "sys",     "ca",      "cg",      "cs",      "lu",       "cv",  "wb",
      "wt",   "cop",     "nc",      "unified", "mmio",    "sc"};
  return std::find(NAMES.begin(), NAMES.end(), qualifier) != NAMES.end() ||
         qualifier.rfind("L1::", 0) == 0 ||
         (qualifier.rfind("L2::", 0) == 0 && qualifier != "L2::cache_hint");
}

// The state space without the part of it that .shared::cta and .param::entry name.
std::string_view plainSpace(std::string_view qualifier) {
  if (qualifier == "shared::cta") return "shared";
  if (qualifier == "param::entry" || qualifier == "param::func") return "param";
  return qualifier;
}

std::string plainName(std::string_view opcode) {
  const std::size_t dot = std::min(opcode.find('.'), opcode.size());
  const std::string_view root = opcode.substr(0, dot);
  std::string result(root);
  const bool access = root == "ld" || root == "st" || root == "atom" || root == "red";
  for (std::size_t at = dot; at < opcode.size();) {
    const std::size_t end = std::min(opcode.find('.', at + 1), opcode.size());
    const std::string_view qualifier = opcode.substr(at + 1, end - at - 1);
    at = end;
    const bool hint = qualifier.rfind("L2::", 0) == 0 && root == "cp";
    if ((access && changesNothing(qualifier)) || (hint && qualifier != "L2::cache_hint")) continue;
    result += '.';
    result += plainSpace(qualifier);
  }
  return result;
}

}  // namespace

const OperationTable &OperationTable::instance() {
  static const OperationTable table = [] {
    OperationTable t;
    addIntegerOperations(t);
    addFloatOperations(t);
    addHalfOperations(t);
    addComparisons(t);
    addConversions(t);
    addMoves(t);
    addMemoryOperations(t);
    addAtomics(t);
    addAsyncCopies(t);
    addWarpOperations(t);
    addMatrixOperations(t);
    addControl(t);
    return t;
  }();
  return table;
}

const Operation *OperationTable::find(std::string_view opcode) const {
  const auto it = operations_.find(plainName(opcode));
  return it == operations_.end() ? nullptr : &it->second;
}

}  // namespace ptx
