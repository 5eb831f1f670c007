// From a function's syntax to a program: looks names up, checks operands against the table of
// opcodes, inlines calls, and lays out the register file.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "kernel.h"
#include "memory.h"
#include "syntax.h"

namespace ptx {

// Throws PtxError. variables: where the module's .global and .const variables stand.
std::unique_ptr<Kernel> decode(const Function &entry, const Syntax &syntax,
                               const std::map<std::string, Allocation> &variables);

}  // namespace ptx
