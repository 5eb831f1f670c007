// mov, with packing and unpacking of vectors, and cvta and isspacep, which move addresses between a
// state space and the generic one.

#include "address.h"
#include "operations.h"

namespace ptx {

namespace {

// {elements} -> one register of E x COUNT bits.
template <class D, class E>
void pack(Warp &warp, const Instruction &instruction, Mask lanes) {
  constexpr int COUNT = sizeof(D) / sizeof(E);
  D *d = warp.operand<D>(instruction, 0);
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    D value = 0;
    for (int k = 0; k < COUNT; k++) {
      value |= static_cast<D>(warp.operand<E>(instruction, 1 + k)[lane]) << 8 * sizeof(E) * k;
    }
    d[lane] = value;
  }
}

template <class S, class E>
void unpack(Warp &warp, const Instruction &instruction, Mask lanes) {
  constexpr int COUNT = sizeof(S) / sizeof(E);
  const S *s = warp.operand<S>(instruction, COUNT);
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    const S value = s[lane];
    for (int k = 0; k < COUNT; k++) {
      warp.operand<E>(instruction, k)[lane] = static_cast<E>(value >> 8 * sizeof(E) * k);
    }
  }
}

// The table knows the forms of mov with a vector by the types of both sides; the decoder spells
// them so: "mov.b32<-v2.b16".
template <class W, class E>
void addPacking(OperationTable &t, const std::string &whole, const std::string &vector) {
  constexpr int COUNT = sizeof(W) / sizeof(E);
  t.add("mov." + whole + "<-" + vector, {pack<W, E>, {result<W>, input<E>.vector(COUNT)}});
  t.add("mov." + vector + "<-" + whole, {unpack<W, E>, {result<E>.vector(COUNT), input<W>}});
}

template <class T>
void addMove(OperationTable &t, const std::string &type) {
  t.pure<T, T>("mov." + type, [](T a) { return a; });
}

template <Space space, bool toSpace, class T>
void addCvta(OperationTable &t, const char *name) {
  const std::string type = sizeof(T) == 8 ? ".u64" : ".u32";
  t.pure<T, T>((toSpace ? "cvta.to." : "cvta.") + (name + type), [](T address) {
    return static_cast<T>(toSpace ? address - window(space) : address + window(space));
  });
}

template <Space space>
void addAddresses(OperationTable &t, const char *name) {
  addCvta<space, false, u64>(t, name);
  addCvta<space, true, u64>(t, name);
  t.compare<u64>(std::string("isspacep.") + name,
                 [](u64 address) { return spaceOf(address) == space; });
}

}  // namespace

void addMoves(OperationTable &t) {
  for (const char *type : {"b16", "u16", "s16", "f16", "bf16"}) addMove<u16>(t, type);
  for (const char *type : {"b32", "u32", "s32"}) addMove<u32>(t, type);
  for (const char *type : {"b64", "u64", "s64"}) addMove<u64>(t, type);
  addMove<f32>(t, "f32");
  addMove<f64>(t, "f64");
  addPacking<u32, u16>(t, "b32", "v2");
  addPacking<u64, u32>(t, "b64", "v2");
  addPacking<u64, u16>(t, "b64", "v4");

  addAddresses<Space::Global>(t, "global");
  addAddresses<Space::Const>(t, "const");
  addAddresses<Space::Shared>(t, "shared");
  addAddresses<Space::Local>(t, "local");
  addAddresses<Space::Param>(t, "param");
}

}  // namespace ptx
