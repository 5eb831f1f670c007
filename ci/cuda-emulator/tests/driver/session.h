// What the tests of the driver API have in common: a context for the length of a test, that leaves
// nothing behind, and a module to run.
#pragma once

#include <string>
#include <vector>

#include "../../driver/cuda_abi.h"
#include "../harness.h"

namespace test {

inline std::ostream &operator<<(std::ostream &out, CUresult code) {
  const char *name = nullptr;
  cuGetErrorName(code, &name);
  return out << static_cast<int>(code) << " " << (name == nullptr ? "?" : name);
}

#define CHECK_CODE(call, code) CHECK_EQUAL((call), (code))
#define CHECK_DONE(call) CHECK_EQUAL((call), CUDA_SUCCESS)

// Changes a switch of the emulator until the end of its life.
class Switched {
 public:
  Switched(const char *name, const char *value) : name_(name) {
    CHECK_DONE(ptx_emulator_set(name, value));
  }
  ~Switched() { ptx_emulator_set(name_, nullptr); }
  Switched(const Switched &) = delete;
  Switched &operator=(const Switched &) = delete;

 private:
  const char *name_;
};

// A context that is current in this thread. Its end must leave as many objects as there were.
class Session {
 public:
  Session() {
    CHECK_DONE(cuInit(0));
    before_ = ptx_emulator_live_objects();
    CHECK_DONE(cuCtxCreate_v2(&context_, 0, 0));
  }
  ~Session() {
    if (context_ != nullptr) CHECK_DONE(cuCtxDestroy_v2(context_));
    CHECK_EQUAL(ptx_emulator_live_objects(), before_);
  }
  Session(const Session &) = delete;
  Session &operator=(const Session &) = delete;

  CUcontext context() const { return context_; }
  // The test destroys it itself.
  CUcontext release() {
    const CUcontext context = context_;
    context_ = nullptr;
    return context;
  }

 private:
  CUcontext context_ = nullptr;
  long before_ = 0;
};

// add(buffer, count, value): adds value to the first count words. limited has .maxntid 64, shared
// has 1000 bytes of static shared memory, stray writes far behind its buffer, packed takes a byte, a
// pointer and a structure of 12 bytes.
extern const char MODULE[];

CUfunction function(CUmodule module, const char *name);
CUmodule loadModule();
CUresult add(CUfunction add, CUdeviceptr buffer, unsigned count, unsigned value,
             CUstream stream = nullptr);
CUdeviceptr allocate(std::size_t bytes);

}  // namespace test
