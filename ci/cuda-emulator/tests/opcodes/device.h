// What a test needs to run PTX: a module, its memory, launches; and a way to run one instruction
// over many values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "../../launch.h"
#include "../../memory.h"
#include "../../module.h"
#include "../../syntax.h"
#include "../harness.h"

namespace test {

// Storage of the 16-bit floating-point formats, alone and in pairs; only the bits, since the tests
// have arithmetic of their own (reference.h).
struct Half {
  std::uint16_t bits;
};
struct Bfloat {
  std::uint16_t bits;
};
struct HalfPair {
  Half low, high;
};
struct BfloatPair {
  Bfloat low, high;
};

ptx::Memory &memory();

// An array in device memory, freed at the end of its life.
template <class T>
class Buffer {
 public:
  explicit Buffer(std::size_t count)
      : address_(memory().allocate(count * sizeof(T))), count_(count) {}
  explicit Buffer(const std::vector<T> &values) : Buffer(values.size()) { write(values); }
  ~Buffer() { memory().free(address_); }
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;

  ptx::DeviceAddress address() const { return address_; }
  void write(const std::vector<T> &values) {
    memory().copyFromHost(address_, values.data(), values.size() * sizeof(T));
  }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    memory().copyToHost(values.data(), address_, count_ * sizeof(T));
    return values;
  }

 private:
  ptx::DeviceAddress address_;
  std::size_t count_;
};

// A module made of this text behind the usual directives.
class Code {
 public:
  explicit Code(const std::string &body);

  template <class... A>
  void run(const char *kernel, ptx::Dim3 grid, ptx::Dim3 block, std::uint32_t dynamicShared,
           const ptx::Options &options, const A &...arguments) const {
    const ptx::Kernel &entry = *module_->kernel(kernel);
    std::vector<std::byte> packed(entry.parameterBytes);
    std::size_t next = 0;
    (std::memcpy(packed.data() + entry.parameters.at(next++).offset, &arguments, sizeof arguments),
     ...);
    ptx::launch(entry, grid, block, dynamicShared, packed, memory(), options);
    noteExecuted();
  }

  const ptx::Module &module() const { return *module_; }

 private:
  // All its opcodes count as covered once it has run.
  void noteExecuted() const;

  std::string text_;
  std::unique_ptr<ptx::Module> module_;
};

// The opcodes that code has run with, as written in its text.
std::set<std::string> &executedOpcodes();

// ---- One instruction over many values ------------------------------------------------------------

// How a value of a C++ type stands in PTX: the registers it takes, and the type of its load.
struct Carrier {
  const char *registers;
  const char *load;
};

template <class T>
constexpr Carrier carrier() {
  if constexpr (std::is_same_v<T, bool>) {
    return {"pred", "u32"};
  } else if constexpr (sizeof(T) == 1) {
    return {"b16", std::is_signed_v<T> ? "s8" : "u8"};
  } else if constexpr (sizeof(T) == 2) {
    return {"b16", "b16"};
  } else if constexpr (sizeof(T) == 4) {
    return {"b32", "b32"};
  } else {
    return {"b64", "b64"};
  }
}

// A kernel that loads values %a0, %a1, ... of each thread, executes the instructions and stores %d.
std::string snippetText(const std::string &instructions, const std::vector<Carrier> &arguments,
                        Carrier result);
std::vector<std::uint64_t> runSnippet(const std::string &text,
                                      const std::vector<std::uint64_t> &arguments,
                                      std::size_t count);

template <class T>
std::uint64_t toSlot(const T &value) {
  std::uint64_t slot = 0;
  if constexpr (std::is_same_v<T, bool>) {
    slot = value ? 1 : 0;
  } else {
    std::memcpy(&slot, &value, sizeof value);
  }
  return slot;
}

template <class T>
T fromSlot(std::uint64_t slot) {
  if constexpr (std::is_same_v<T, bool>) {
    return static_cast<std::uint32_t>(slot) != 0;
  } else {
    T value;
    std::memcpy(&value, &slot, sizeof value);
    return value;
  }
}

// The values of %d after these instructions, for each tuple of %a0, %a1, ...
template <class R, class... A>
std::vector<R> evaluate(const std::string &instructions,
                        const std::vector<std::tuple<A...>> &arguments) {
  std::vector<std::uint64_t> slots;
  slots.reserve(arguments.size() * sizeof...(A));
  for (const auto &tuple : arguments) {
    std::apply([&](const A &...values) { (slots.push_back(toSlot(values)), ...); }, tuple);
  }
  const std::string text = snippetText(instructions, {carrier<A>()...}, carrier<R>());
  std::vector<R> results;
  for (const std::uint64_t slot : runSnippet(text, slots, arguments.size())) {
    results.push_back(fromSlot<R>(slot));
  }
  return results;
}

}  // namespace test
