#include "module.h"

#include <cstring>

#include "decode.h"
#include "syntax.h"

namespace ptx {

namespace {

std::uint64_t valueOf(const Operand &operand, const std::map<std::string, Allocation> &variables,
                      int line) {
  if (operand.kind != Operand::Kind::Address) return operand.bits;
  const auto it = variables.find(std::string(operand.elements[0].name));
  if (it == variables.end()) {
    throw PtxError(line, "the initialiser names '" + std::string(operand.elements[0].name) +
                             "', which is no variable of the module");
  }
  return it->second.address + static_cast<std::uint64_t>(operand.displacement);
}

}  // namespace

std::unique_ptr<Module> Module::load(std::string_view ptx, Memory &memory) {
  const Syntax syntax = parse(ptx);
  std::unique_ptr<Module> module(new Module(memory));
  module->version_ = syntax.version;
  module->target_ = syntax.target;
  std::uint64_t constantBytes = 0;
  for (const Variable &variable : syntax.variables) {
    if (variable.space != Space::Global && variable.space != Space::Const) continue;
    if (variable.space == Space::Const) constantBytes += variable.bytes;
    const std::string name(variable.name);
    if (variable.external || variable.bytes == 0) {
      throw PtxError(variable.line, "variable '" + name + "' is defined in no module");
    }
    const DeviceAddress address = memory.allocate(variable.bytes);
    if (address == 0) {
      throw PtxError(variable.line, "no memory for the " + std::to_string(variable.bytes) +
                                        " bytes of variable '" + name + "'");
    }
    module->variables_[name] = {address, variable.bytes};
    memory.fill(address, 0, 1, variable.bytes);
  }
  for (const Variable &variable : syntax.variables) {
    if (variable.space != Space::Global && variable.space != Space::Const) continue;
    DeviceAddress at = module->variables_[std::string(variable.name)].address;
    for (const Operand &operand : variable.initialiser) {
      const std::uint64_t value = valueOf(operand, module->variables_, variable.line);
      if (!memory.copyFromHost(at, &value, variable.elementBytes)) {
        throw PtxError(variable.line, "too many initialisers");
      }
      at += variable.elementBytes;
    }
  }
  for (const Function &function : syntax.functions) {
    if (!function.entry || !function.defined) continue;
    std::unique_ptr<Kernel> kernel = decode(function, syntax, module->variables_);
    kernel->constantBytes = static_cast<std::uint32_t>(constantBytes);
    module->kernels_[kernel->name] = std::move(kernel);
  }
  return module;
}

Module::~Module() {
  for (const auto &[name, variable] : variables_) memory_.free(variable.address);
}

const Kernel *Module::kernel(const std::string &name) const {
  const auto it = kernels_.find(name);
  return it == kernels_.end() ? nullptr : it->second.get();
}

}  // namespace ptx
