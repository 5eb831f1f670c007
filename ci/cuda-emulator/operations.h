// The table of opcodes: for every spelling of an instruction that the emulator knows, what its
// operands are and which handler executes it. The ops_*.cpp files fill it, each with one family.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "program.h"
#include "scalar.h"
#include "warp.h"

namespace ptx {

// What an opcode expects in one place.
struct Slot {
  enum class Kind : std::uint8_t { Predicate, Integer, Single, Double, Address };
  Kind kind = Kind::Integer;
  std::uint8_t bytes = 4;
  bool result = false;
  // The register may be wider than the type (ld, st, cvt).
  bool widens = false;
  // The q of "p|q"; q may be left out.
  bool second = false;
  // Whether the instruction as written has it. Where it has not, its value is this constant (-1:
  // all bits, so a true predicate), or what it would receive is dropped.
  enum class Presence : std::uint8_t { Required, Optional, Absent };
  Presence presence = Presence::Required;
  std::int32_t otherwise = 0;
  // Or the value of another slot, this one.
  int otherwiseAs = -1;
  // Elements of a vector operand {a,b,...}; 0: the operand is no vector.
  std::uint8_t elements = 0;
  // The state space of an address.
  Space space = Space::Generic;

  Slot vector(int count) const {
    Slot slot = *this;
    slot.elements = static_cast<std::uint8_t>(count);
    return slot;
  }
  Slot wide() const {
    Slot slot = *this;
    slot.widens = true;
    return slot;
  }
  Slot orElse(std::int32_t value) const {
    Slot slot = *this;
    slot.presence = Presence::Optional;
    slot.otherwise = value;
    return slot;
  }
  Slot orElseAs(int k) const {
    Slot slot = orElse(0);
    slot.otherwiseAs = k;
    return slot;
  }
  Slot always(std::int32_t value) const {
    Slot slot = orElse(value);
    slot.presence = Presence::Absent;
    return slot;
  }
};

// The slot of a C++ type: a number by its size and kind, bool for a predicate.
template <class T>
constexpr Slot slotOf(bool result = false) {
  Slot slot;
  slot.result = result;
  if constexpr (std::is_same_v<T, bool>) {
    slot.kind = Slot::Kind::Predicate;
    slot.bytes = 0;
  } else {
    slot.bytes = sizeof(T);
    slot.kind = std::is_same_v<T, f32>   ? Slot::Kind::Single
                : std::is_same_v<T, f64> ? Slot::Kind::Double
                                         : Slot::Kind::Integer;
  }
  return slot;
}

template <class T>
constexpr Slot input = slotOf<T>(false);
template <class T>
constexpr Slot result = slotOf<T>(true);

inline Slot secondResult(Slot slot) {
  slot.result = true;
  slot.second = true;
  return slot;
}

inline Slot addressIn(Space space) {
  Slot slot;
  slot.kind = Slot::Kind::Address;
  slot.space = space;
  slot.bytes = 8;
  return slot;
}

struct Operation {
  Handler handler = nullptr;
  std::vector<Slot> slots;
  Flow flow = Flow::Next;
  std::uint8_t variant = 0;
  // Bytes that each lane touches at its address, 0 if it touches no memory.
  std::uint8_t accessBytes = 0;
};

class OperationTable {
 public:
  // All that the emulator knows.
  static const OperationTable &instance();

  // Null if there is no such opcode. Qualifiers that change nothing here (cache hints, memory
  // ordering, performance) may stand in the name.
  const Operation *find(std::string_view opcode) const;
  const std::unordered_map<std::string, Operation> &all() const { return operations_; }

  void add(const std::string &name, Operation operation) {
    operations_.emplace(name, std::move(operation));
  }

  // An opcode whose result in a lane is f of its operands in that lane, and nothing else happens.
  template <class D, class... S, class F>
  void pure(const std::string &name, F f) {
    add(name, {remember<PureHandler<D, F, S...>>(f), {result<D>, input<S>...}});
  }

 private:
  // A handler calls the function that it was registered with; a closure without captures has no
  // state, so what is kept is only its type.
  template <class H, class F>
  static Handler remember(const F &f) {
    static_assert(std::is_empty_v<F>, "an operation has no state");
    static const F kept(f);
    H::function = &kept;
    return H::run;
  }

  template <class D, class F, class... S>
  struct PureHandler {
    static inline const F *function;

    static void run(Warp &warp, const Instruction &instruction, Mask lanes) {
      run(warp, instruction, lanes, std::index_sequence_for<S...>());
    }

    template <std::size_t... K>
    static void run(Warp &warp, const Instruction &instruction, Mask lanes,
                    std::index_sequence<K...>) {
      forLanes(warp.operand<D>(instruction, 0), lanes, warp.operand<S>(instruction, K + 1)...);
    }

    static void forLanes(D *d, Mask lanes, const S *...s) {
      if (lanes == ALL_LANES) {
#pragma GCC ivdep
        for (int lane = 0; lane < LANES; lane++) d[lane] = (*function)(s[lane]...);
      } else {
#pragma GCC ivdep
        for (int lane = 0; lane < LANES; lane++) {
          const D value = (*function)(s[lane]...);
          d[lane] = lanes >> lane & 1 ? value : d[lane];
        }
      }
    }
  };

 public:
  // What becomes of a comparison: a predicate p (and its opposite q) with or without another
  // predicate, or a number: all bits set, or 1 as an f32, f16 or bf16.
  enum class Outcome : std::uint8_t { Predicate, And, Or, Xor, AllOnes, One, HalfOne, BrainOne };

  // An opcode that compares its operands in each lane by f. Of two Pairs the lower halves make p and
  // the upper ones q, or each the half of a number. d: the type of the number.
  template <class... S, class F>
  void compare(const std::string &name, F f, Outcome outcome = Outcome::Predicate,
               Slot d = result<bool>) {
    std::vector<Slot> slots{d, secondResult(d), input<S>...};
    if (outcome == Outcome::And || outcome == Outcome::Or || outcome == Outcome::Xor) {
      slots.push_back(input<bool>);
    }
    Operation operation{remember<CompareHandler<F, S...>>(f), std::move(slots)};
    operation.variant = static_cast<std::uint8_t>(outcome);
    add(name, operation);
  }

 private:
  template <class F, class... S>
  struct CompareHandler {
    static inline const F *function;
    static constexpr bool PAIRS = (isPair<S> || ...);

    static void run(Warp &warp, const Instruction &instruction, Mask lanes) {
      run(warp, instruction, lanes, std::index_sequence_for<S...>());
    }

    template <std::size_t... K>
    static void run(Warp &warp, const Instruction &instruction, Mask lanes,
                    std::index_sequence<K...>) {
      if constexpr (PAIRS) {
        const Mask lo = forLanes([](const S &...s) { return (*function)(s.lo...); },
                                 warp.operand<S>(instruction, K + 2)...);
        const Mask hi = forLanes([](const S &...s) { return (*function)(s.hi...); },
                                 warp.operand<S>(instruction, K + 2)...);
        finish(warp, instruction, lanes, lo, &hi);
      } else {
        finish(warp, instruction, lanes,
               forLanes(*function, warp.operand<S>(instruction, K + 2)...), nullptr);
      }
    }

    template <class G>
    static Mask forLanes(const G &g, const S *...s) {
      Mask holds = 0;
      for (int lane = 0; lane < LANES; lane++) {
        holds |= (g(s[lane]...) ? Mask{1} : Mask{0}) << lane;
      }
      return holds;
    }
  };

  // Writes the outcome of a comparison that holds in these lanes; upper: of the upper halves.
  static void finish(Warp &warp, const Instruction &instruction, Mask lanes, Mask holds,
                     const Mask *upper);

  std::unordered_map<std::string, Operation> operations_;
};

// Each family of opcodes, in a file of its own.
void addIntegerOperations(OperationTable &table);
void addFloatOperations(OperationTable &table);
void addHalfOperations(OperationTable &table);
void addComparisons(OperationTable &table);
void addConversions(OperationTable &table);
void addMoves(OperationTable &table);
void addMemoryOperations(OperationTable &table);
void addAtomics(OperationTable &table);
void addAsyncCopies(OperationTable &table);
void addWarpOperations(OperationTable &table);
void addMatrixOperations(OperationTable &table);
void addControl(OperationTable &table);

}  // namespace ptx
