// Decoded code: what the executor runs. An instruction knows its handler and where in a warp's
// register file its operands stand; names are gone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "syntax.h"
#include "types.h"

namespace ptx {

constexpr int LANES = 32;

// One bit per lane of a warp.
using Mask = std::uint32_t;
constexpr Mask ALL_LANES = ~Mask{0};

// The addresses that the lanes of a warp hold; only those of active lanes mean anything.
using Addresses = std::array<std::uint64_t, LANES>;

class Warp;
struct Instruction;

// Executes an instruction for these lanes (at least one) of a warp.
using Handler = void (*)(Warp &warp, const Instruction &instruction, Mask lanes);

// What an instruction does to the program counter and with whom it waits.
enum class Flow : std::uint8_t {
  Next,
  Branch,         // to target
  BranchIndexed,  // to one of the program's branch targets, by an index in operand 0
  Exit,
  WarpSync,     // together with the lanes of its member mask
  WarpAligned,  // together with all 32 lanes of the warp
  Barrier,      // together with other warps
};

// Register files are laid out as one array of LANES elements of 2, 4 or 8 bytes per register; a
// predicate is one Mask. Constants and special registers are registers that no instruction writes.
struct Instruction {
  static constexpr int MAX_OPERANDS = 14;

  Handler handler = nullptr;
  // Lanes execute where (guard ^ guardFlip) has their bit; without @%p, guard is a constant.
  std::uint32_t guard = 0;
  Mask guardFlip = 0;
  // Byte offsets into the register file, destinations first.
  std::array<std::uint32_t, MAX_OPERANDS> operand{};
  // Bytes of one element of each operand, 0 for a predicate.
  std::array<std::uint8_t, MAX_OPERANDS> width{};
  Flow flow = Flow::Next;
  std::uint8_t operands = 0;
  std::uint8_t results = 0;  // how many operands are destinations
  std::uint8_t variant = 0;  // what a handler for several opcodes needs to tell them apart
  // One bit for each operand, set for a predicate that was written !%p.
  std::uint16_t negated = 0;
  // Added to the address operands, in their order.
  std::array<std::int64_t, 2> displacements{};
  std::int32_t target = 0;
  std::int32_t line = 0;
  SourceLocation location;

  // What flips the bits of predicate operand k.
  Mask flip(int k) const { return negated >> k & 1 ? ALL_LANES : 0; }
};

// clang-format off
enum class Special : std::uint8_t {
  TidX, TidY, TidZ, NtidX, NtidY, NtidZ, CtaidX, CtaidY, CtaidZ, NctaidX, NctaidY, NctaidZ,
  LaneId, WarpId, NwarpId,
  LaneMaskEq, LaneMaskLt, LaneMaskLe, LaneMaskGt, LaneMaskGe,
  SmId, NsmId, GridId, DynamicSharedBytes, TotalSharedBytes,
};
// clang-format on

// Instruction::variant and the operands of a barrier instruction, all present in each of them.
enum class BarrierKind : std::uint8_t { Sync, Arrive, Popc, And, Or };
constexpr int BAR_RESULT = 0;
constexpr int BAR_NUMBER = 1;
constexpr int BAR_THREADS = 2;
constexpr int BAR_PREDICATE = 3;

struct SpecialRegister {
  Special kind;
  std::uint32_t offset;
};

struct Program {
  std::vector<Instruction> code;
  std::vector<std::vector<std::int32_t>> branchTargets;
  // The register file begins with the constants, as given here.
  std::vector<std::byte> constants;
  std::uint32_t registerBytes = 0;
  std::vector<SpecialRegister> specials;
  // Where dynamic shared memory begins, behind the kernel's own arrays.
  std::uint32_t dynamicSharedOffset = 0;
  // No access to shared memory is smaller than this, a power of two up to 16.
  std::uint32_t sharedGranule = 16;
  std::uint32_t localBytes = 0;
  std::vector<std::string> files;  // by number; empty where there is none
};

}  // namespace ptx
