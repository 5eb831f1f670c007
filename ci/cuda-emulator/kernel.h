// One entry point of a module, ready to run: its interface for the host, its code for the executor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ptx {

struct Program;

struct Parameter {
  std::string name;
  std::uint32_t offset;  // in the packed parameter bytes that launch() takes
  std::uint32_t bytes;
};

struct Kernel {
  std::string name;
  std::vector<Parameter> parameters;
  std::uint32_t parameterBytes = 0;
  // Threads of a block at most (.maxntid or .reqntid), 0 where the PTX says nothing.
  std::uint32_t maxThreads = 0;
  std::uint32_t staticSharedBytes = 0;
  std::uint32_t constantBytes = 0;
  // Bytes of .local memory of one thread.
  std::uint32_t localBytes = 0;
  // 32-bit registers that would hold all virtual registers live at once; what a GPU would allocate
  // is for ptxas to say.
  std::uint32_t registers = 0;
  std::shared_ptr<const Program> program;
};

}  // namespace ptx
