// A PTX module, parsed and decoded: what cuModuleLoadData makes of a text.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "kernel.h"
#include "memory.h"
#include "types.h"

namespace ptx {

class Module {
 public:
  // Everything is decoded here, so that what the emulator cannot execute is an error now: throws
  // PtxError. Module variables are allocated in this memory, which must outlive the module, and
  // freed with it.
  static std::unique_ptr<Module> load(std::string_view ptx, Memory &memory);

  ~Module();
  Module(const Module &) = delete;
  Module &operator=(const Module &) = delete;

  // The kernel (.entry) of this name, or null. It lives as long as the module.
  const Kernel *kernel(const std::string &name) const;
  const std::map<std::string, std::unique_ptr<Kernel>> &kernels() const { return kernels_; }
  // The variables of the module (.global and .const), by name.
  const std::map<std::string, Allocation> &variables() const { return variables_; }
  // .version times ten: 70 for 7.0; .target's number: 80 for sm_80.
  int version() const { return version_; }
  int target() const { return target_; }

 private:
  explicit Module(Memory &memory) : memory_(memory) {}

  Memory &memory_;
  std::map<std::string, std::unique_ptr<Kernel>> kernels_;
  std::map<std::string, Allocation> variables_;
  int version_ = 0;
  int target_ = 0;
};

}  // namespace ptx
