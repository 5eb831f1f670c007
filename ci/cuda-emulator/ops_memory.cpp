// ld and st, of every space, type and vector length. Cache hints and memory ordering (.volatile,
// .relaxed, ...) change nothing here; OperationTable::find takes them out of the name.

#include <cstring>

#include "access.h"
#include "operations.h"

namespace ptx {

namespace {

// Instruction::variant of a load: what fills a register wider than the element.
enum class Extend : std::uint8_t { Zero, Sign };

// ---- Between registers and memory ----------------------------------------------------------------

// N elements for each lane, from the bytes that source(lane) points to.
template <class T, int N, class Source>
void toRegisters(Warp &warp, const Instruction &instruction, Mask lanes, Source source) {
  const int width = instruction.width[0];
  if (width == sizeof(T)) {
    std::array<T *, N> d;
    for (int k = 0; k < N; k++) d[k] = warp.operand<T>(instruction, k);
    const auto copy = [&](int lane) {
      T values[N];
      std::memcpy(values, source(lane), sizeof values);
      for (int k = 0; k < N; k++) d[k][lane] = values[k];
    };
    if (lanes == ALL_LANES) {
      for (int lane = 0; lane < LANES; lane++) copy(lane);
    } else {
      for (Mask rest = lanes; rest; rest &= rest - 1) copy(__builtin_ctz(rest));
    }
    return;
  }
  const bool sign = static_cast<Extend>(instruction.variant) == Extend::Sign;
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    for (int k = 0; k < N; k++) {
      T element;
      std::memcpy(&element, source(lane) + k * sizeof(T), sizeof element);
      const u64 value = sign ? static_cast<u64>(static_cast<s64>(std::make_signed_t<T>(element)))
                             : static_cast<u64>(element);
      std::memcpy(warp.operand<std::byte>(instruction, k) + lane * width, &value,
                  static_cast<std::size_t>(width));
    }
  }
}

// N elements of each lane, to the bytes that target(lane) points to, in the order of lanes.
template <class T, int N, class Target>
void fromRegisters(Warp &warp, const Instruction &instruction, Mask lanes, Target target) {
  const int width = instruction.width[1];
  std::array<const std::byte *, N> s;
  for (int k = 0; k < N; k++) s[k] = warp.operand<std::byte>(instruction, k + 1);
  const auto copy = [&](int lane, int step) {
    T values[N];
    for (int k = 0; k < N; k++) std::memcpy(&values[k], s[k] + lane * step, sizeof(T));
    std::memcpy(target(lane), values, sizeof values);
  };
  if (lanes == ALL_LANES && width == sizeof(T)) {
    for (int lane = 0; lane < LANES; lane++) copy(lane, sizeof(T));
  } else {
    for (Mask rest = lanes; rest; rest &= rest - 1) copy(__builtin_ctz(rest), width);
  }
}

// ---- Loads ---------------------------------------------------------------------------------------

template <class T, int N>
void loadFrom(Space space, Warp &warp, const Instruction &instruction, const Addresses &addresses,
              Mask lanes) {
  constexpr u32 BYTES = sizeof(T) * N;
  Block &block = warp.block;
  switch (space) {
    case Space::Shared: {
      checkShared("read", warp, addresses, BYTES, lanes);
      block.shadow.read(warp.index, addresses, BYTES, lanes, instruction.line);
      const std::byte *shared = block.shared.data();
      toRegisters<T, N>(warp, instruction, lanes,
                        [&](int lane) { return shared + addresses[lane]; });
      break;
    }
    case Space::Local:
      checkSpace("read", "local", addresses, BYTES, block.grid.program.localBytes, lanes);
      toRegisters<T, N>(warp, instruction, lanes,
                        [&](int lane) { return warp.local(lane) + addresses[lane]; });
      break;
    case Space::Param: {
      const std::vector<std::byte> &parameters = block.grid.parameters;
      checkSpace("read", "param", addresses, BYTES, parameters.size(), lanes);
      toRegisters<T, N>(warp, instruction, lanes,
                        [&](int lane) { return parameters.data() + addresses[lane]; });
      break;
    }
    default: {
      block.global.beforeRead(addresses, BYTES, lanes);
      const std::byte *base = block.global.data(0);
      toRegisters<T, N>(warp, instruction, lanes, [&](int lane) { return base + addresses[lane]; });
    }
  }
}

template <Space space, class T, int N>
void load(Warp &warp, const Instruction &instruction, Mask lanes) {
  const Addresses addresses = addressesOf(warp, instruction, N);
  if constexpr (space == Space::Generic) {
    splitBySpace(addresses, lanes, [&](Space part, const Addresses &inPart, Mask lanesOfPart) {
      loadFrom<T, N>(part, warp, instruction, inPart, lanesOfPart);
    });
  } else {
    loadFrom<T, N>(space, warp, instruction, addresses, lanes);
  }
}

// ---- Stores --------------------------------------------------------------------------------------

template <class T, int N>
void storeTo(Space space, Warp &warp, const Instruction &instruction, const Addresses &addresses,
             Mask lanes) {
  constexpr u32 BYTES = sizeof(T) * N;
  Block &block = warp.block;
  switch (space) {
    case Space::Shared: {
      checkShared("write", warp, addresses, BYTES, lanes);
      block.shadow.write(warp.index, addresses, BYTES, lanes, instruction.line);
      std::byte *shared = block.shared.data();
      fromRegisters<T, N>(warp, instruction, lanes,
                          [&](int lane) { return shared + addresses[lane]; });
      break;
    }
    case Space::Local:
      checkSpace("write", "local", addresses, BYTES, block.grid.program.localBytes, lanes);
      fromRegisters<T, N>(warp, instruction, lanes,
                          [&](int lane) { return warp.local(lane) + addresses[lane]; });
      break;
    case Space::Param:
      throw Fault{CudaError::IllegalAddress, __builtin_ctz(lanes),
                  "write to the parameters of the kernel"};
    default: {
      block.global.beforeWrite(addresses, BYTES, lanes);
      std::byte *base = block.global.data(0);
      fromRegisters<T, N>(warp, instruction, lanes,
                          [&](int lane) { return base + addresses[lane]; });
    }
  }
}

template <Space space, class T, int N>
void store(Warp &warp, const Instruction &instruction, Mask lanes) {
  const Addresses addresses = addressesOf(warp, instruction, 0);
  if constexpr (space == Space::Generic) {
    splitBySpace(addresses, lanes, [&](Space part, const Addresses &inPart, Mask lanesOfPart) {
      storeTo<T, N>(part, warp, instruction, inPart, lanesOfPart);
    });
  } else {
    storeTo<T, N>(space, warp, instruction, addresses, lanes);
  }
}

// ---- Registration --------------------------------------------------------------------------------

template <Space space, class T, int N>
void addVector(OperationTable &t, const std::string &spaceName, const std::string &type,
               Slot element) {
  if constexpr (sizeof(T) * N <= 16) {
    const std::string name = spaceName + (N == 1 ? "" : ".v" + std::to_string(N)) + "." + type;
    Slot value = element;
    if (N > 1) value = value.vector(N);
    Operation store{ptx::store<space, T, N>, {addressIn(space), value}};
    store.accessBytes = sizeof(T) * N;
    if (space != Space::Const) t.add("st" + name, store);
    value.result = true;
    Operation load{ptx::load<space, T, N>, {value, addressIn(space)}};
    load.accessBytes = sizeof(T) * N;
    load.variant = static_cast<std::uint8_t>(type[0] == 's' ? Extend::Sign : Extend::Zero);
    t.add("ld" + name, load);
  }
}

template <Space space, class T>
void addType(OperationTable &t, const std::string &spaceName, const std::string &type,
             Slot element) {
  addVector<space, T, 1>(t, spaceName, type, element.wide());
  addVector<space, T, 2>(t, spaceName, type, element.wide());
  addVector<space, T, 4>(t, spaceName, type, element.wide());
}

template <Space space>
void addSpace(OperationTable &t, const std::string &name) {
  for (const char *type : {"b8", "u8", "s8"}) addType<space, u8>(t, name, type, input<u8>);
  for (const char *type : {"b16", "u16", "s16"}) addType<space, u16>(t, name, type, input<u16>);
  for (const char *type : {"b32", "u32", "s32"}) addType<space, u32>(t, name, type, input<u32>);
  for (const char *type : {"b64", "u64", "s64"}) addType<space, u64>(t, name, type, input<u64>);
  addType<space, u32>(t, name, "f32", input<f32>);
  addType<space, u64>(t, name, "f64", input<f64>);
}

void nothing(Warp &, const Instruction &, Mask) {}

}  // namespace

void addMemoryOperations(OperationTable &t) {
  addSpace<Space::Generic>(t, "");
  addSpace<Space::Global>(t, ".global");
  addSpace<Space::Const>(t, ".const");
  addSpace<Space::Shared>(t, ".shared");
  addSpace<Space::Local>(t, ".local");
  addSpace<Space::Param>(t, ".param");

  // Hints, and the order of memory accesses as other blocks see them: all of them are performed in
  // the order of the program.
  for (const char *level : {"L1", "L2"}) {
    t.add(std::string("prefetch.") + level, {nothing, {addressIn(Space::Generic)}});
    t.add(std::string("prefetch.global.") + level, {nothing, {addressIn(Space::Global)}});
    t.add(std::string("prefetch.local.") + level, {nothing, {addressIn(Space::Local)}});
  }
  t.add("prefetchu.L1", {nothing, {addressIn(Space::Generic)}});
  for (const char *level : {"cta", "gl", "sys"})
    t.add(std::string("membar.") + level, {nothing, {}});
  for (const char *scope : {"cta", "gpu", "sys"}) {
    for (const char *order : {"fence.", "fence.sc.", "fence.acq_rel."}) {
      t.add(order + std::string(scope), {nothing, {}});
    }
  }
}

}  // namespace ptx
