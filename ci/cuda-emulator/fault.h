// What goes wrong in an instruction, before the executor adds where that was.
#pragma once

#include <string>

#include "types.h"

namespace ptx {

struct Fault {
  CudaError code;
  int lane;
  std::string message;
};

}  // namespace ptx
