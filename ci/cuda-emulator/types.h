// What every part of the emulator speaks of: grid coordinates, and the two ways in which it says no.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace ptx {

struct Dim3 {
  std::uint32_t x = 1;
  std::uint32_t y = 1;
  std::uint32_t z = 1;

  std::uint64_t volume() const { return std::uint64_t{x} * y * z; }
};

// The numbers of the CUDA errors that a running kernel can raise.
enum class CudaError {
  IllegalAddress = 700,
  LaunchTimeout = 702,
  MisalignedAddress = 716,
  LaunchFailed = 719,
};

// The PTX text cannot be executed: a syntax error, an unknown name, or an opcode that the emulator
// does not know. what() is "line N: message".
class PtxError : public std::runtime_error {
 public:
  PtxError(int line, const std::string &message)
      : std::runtime_error("line " + std::to_string(line) + ": " + message), line(line) {}

  int line;
};

// A running kernel did something that a GPU would stop for, or something whose result a GPU leaves
// to chance (a race, a read of memory that nothing has written). what() is one line with everything.
class Trap : public std::runtime_error {
 public:
  Trap(CudaError code, std::string kernel, Dim3 block, Dim3 thread, int ptxLine, std::string source,
       std::string message);

  CudaError code;
  std::string kernel;
  Dim3 block;
  Dim3 thread;
  int ptxLine;
  std::string source;  // "file.cu:line", empty unless the PTX was compiled with -lineinfo
  std::string message;
};

}  // namespace ptx
