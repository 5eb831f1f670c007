// atom and red: one lane after another, in the order of lanes, and on global memory atomically for
// the blocks that other workers run at the same time.

#include <algorithm>

#include "access.h"
#include "operations.h"

namespace ptx {

namespace {

// An integer of the size of T, which the host can compare and exchange.
template <class T>
using Word = std::conditional_t<sizeof(T) == 2, u16, std::conditional_t<sizeof(T) == 4, u32, u64>>;

// Replaces the value at this place by f of it, and returns what was there.
template <class T, class F>
T replace(std::byte *place, F f) {
  auto *word = reinterpret_cast<Word<T> *>(place);
  Word<T> before = __atomic_load_n(word, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(word, &before, bitsAs<Word<T>>(f(bitsAs<T>(before))), false,
                                      __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
  }
  return bitsAs<T>(before);
}

// Runs act(lane, place) for each lane, on memory that may be accessed there.
template <class T, class Act>
void forPlaces(Space space, Warp &warp, const Instruction &instruction, const Addresses &addresses,
               Mask lanes, Act act) {
  constexpr u32 BYTES = sizeof(T);
  Block &block = warp.block;
  if (space == Space::Shared) {
    checkShared("atomic access", warp, addresses, BYTES, lanes);
    for (Mask rest = lanes; rest; rest &= rest - 1) {
      const int lane = __builtin_ctz(rest);
      const auto address = static_cast<u32>(addresses[lane]);
      block.shadow.atomic(warp.index, address, BYTES, lane, instruction.line);
      act(lane, block.shared.data() + address);
    }
  } else if (space == Space::Global) {
    block.global.beforeRead(addresses, BYTES, lanes);
    block.global.beforeWrite(addresses, BYTES, lanes);
    for (Mask rest = lanes; rest; rest &= rest - 1) {
      const int lane = __builtin_ctz(rest);
      act(lane, block.global.data(addresses[lane]));
    }
  } else {
    throw Fault{CudaError::IllegalAddress, __builtin_ctz(lanes),
                "atomic access to local or parameter memory"};
  }
}

template <Space space, class T, class Act>
void atAddresses(Warp &warp, const Instruction &instruction, int k, Mask lanes, Act act) {
  const Addresses addresses = addressesOf(warp, instruction, k);
  if constexpr (space == Space::Generic) {
    splitBySpace(addresses, lanes, [&](Space part, const Addresses &inPart, Mask lanesOfPart) {
      forPlaces<T>(part, warp, instruction, inPart, lanesOfPart, act);
    });
  } else {
    forPlaces<T>(space, warp, instruction, addresses, lanes, act);
  }
}

// d, [address], b
template <Space space, class T, class F>
void atom(Warp &warp, const Instruction &instruction, Mask lanes) {
  T *d = warp.operand<T>(instruction, 0);
  const T *b = warp.operand<T>(instruction, 2);
  atAddresses<space, T>(warp, instruction, 1, lanes, [&](int lane, std::byte *place) {
    const T value = b[lane];
    d[lane] = replace<T>(place, [&](T before) { return F()(before, value); });
  });
}

// [address], b
template <Space space, class T, class F>
void red(Warp &warp, const Instruction &instruction, Mask lanes) {
  const T *b = warp.operand<T>(instruction, 1);
  atAddresses<space, T>(warp, instruction, 0, lanes, [&](int lane, std::byte *place) {
    replace<T>(place, [&](T before) { return F()(before, b[lane]); });
  });
}

// d, [address], b, c: c goes where b was.
template <Space space, class T>
void compareAndSwap(Warp &warp, const Instruction &instruction, Mask lanes) {
  T *d = warp.operand<T>(instruction, 0);
  const T *b = warp.operand<T>(instruction, 2);
  const T *c = warp.operand<T>(instruction, 3);
  atAddresses<space, T>(warp, instruction, 1, lanes, [&](int lane, std::byte *place) {
    const T expected = b[lane];
    const T value = c[lane];
    d[lane] = replace<T>(place, [&](T before) { return before == expected ? value : before; });
  });
}

// ---- What becomes of the value in memory ---------------------------------------------------------

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return a + b;
  }
  f32 operator()(f32 a, f32 b) const { return canonical(a + b); }
  f16 operator()(f16 a, f16 b) const { return toF16<Round::Nearest>(toFloat(a) + toFloat(b)); }
  bf16 operator()(bf16 a, bf16 b) const { return toBf16<Round::Nearest>(toFloat(a) + toFloat(b)); }
  template <class T>
  Pair<T> operator()(Pair<T> a, Pair<T> b) const {
    return {(*this)(a.lo, b.lo), (*this)(a.hi, b.hi)};
  }
};
struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};
struct And {
  template <class T>
  T operator()(T a, T b) const {
    return a & b;
  }
};
struct Or {
  template <class T>
  T operator()(T a, T b) const {
    return a | b;
  }
};
struct Xor {
  template <class T>
  T operator()(T a, T b) const {
    return a ^ b;
  }
};
struct Exchange {
  template <class T>
  T operator()(T, T b) const {
    return b;
  }
};
// Up to b, then from 0 again; and down from b.
struct Increment {
  u32 operator()(u32 a, u32 b) const { return a >= b ? 0 : a + 1; }
};
struct Decrement {
  u32 operator()(u32 a, u32 b) const { return a == 0 || a > b ? b : a - 1; }
};

// ---- Registration --------------------------------------------------------------------------------

template <Space space>
class Adder {
 public:
  Adder(OperationTable &table, std::string name) : table_(table), space_(std::move(name)) {}

  template <class T, class F>
  void add(const std::string &operation) {
    Operation with{atom<space, T, F>, {result<T>, addressIn(space), input<T>}};
    with.accessBytes = sizeof(T);
    table_.add("atom" + space_ + "." + operation, with);
    if (std::is_same_v<F, Exchange>) return;
    Operation without{red<space, T, F>, {addressIn(space), input<T>}};
    without.accessBytes = sizeof(T);
    table_.add("red" + space_ + "." + operation, without);
  }

  template <class T>
  void addCompareAndSwap(const std::string &type) {
    Operation operation{compareAndSwap<space, T>,
                        {result<T>, addressIn(space), input<T>, input<T>}};
    operation.accessBytes = sizeof(T);
    table_.add("atom" + space_ + ".cas." + type, operation);
  }

 private:
  OperationTable &table_;
  const std::string space_;
};

template <Space space>
void addSpace(OperationTable &t, const std::string &name) {
  Adder<space> adder(t, name);
  adder.template add<u32, Add>("add.u32");
  adder.template add<u32, Add>("add.s32");
  adder.template add<u64, Add>("add.u64");
  adder.template add<u64, Add>("add.s64");
  adder.template add<f32, Add>("add.f32");
  adder.template add<f64, Add>("add.f64");
  adder.template add<f16, Add>("add.noftz.f16");
  adder.template add<f16x2, Add>("add.noftz.f16x2");
  adder.template add<bf16, Add>("add.noftz.bf16");
  adder.template add<bf16x2, Add>("add.noftz.bf16x2");
  adder.template add<u32, Minimum>("min.u32");
  adder.template add<s32, Minimum>("min.s32");
  adder.template add<u64, Minimum>("min.u64");
  adder.template add<s64, Minimum>("min.s64");
  adder.template add<u32, Maximum>("max.u32");
  adder.template add<s32, Maximum>("max.s32");
  adder.template add<u64, Maximum>("max.u64");
  adder.template add<s64, Maximum>("max.s64");
  adder.template add<u32, And>("and.b32");
  adder.template add<u64, And>("and.b64");
  adder.template add<u32, Or>("or.b32");
  adder.template add<u64, Or>("or.b64");
  adder.template add<u32, Xor>("xor.b32");
  adder.template add<u64, Xor>("xor.b64");
  adder.template add<u32, Exchange>("exch.b32");
  adder.template add<u64, Exchange>("exch.b64");
  adder.template add<u32, Increment>("inc.u32");
  adder.template add<u32, Decrement>("dec.u32");
  adder.template addCompareAndSwap<u16>("b16");
  adder.template addCompareAndSwap<u32>("b32");
  adder.template addCompareAndSwap<u64>("b64");
}

}  // namespace

void addAtomics(OperationTable &t) {
  addSpace<Space::Generic>(t, "");
  addSpace<Space::Global>(t, ".global");
  addSpace<Space::Shared>(t, ".shared");
}

}  // namespace ptx
