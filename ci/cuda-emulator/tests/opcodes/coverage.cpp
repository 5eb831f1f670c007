// Runs last: has every opcode of the emulator's table been executed by a test?
#include <algorithm>
#include <set>

#include "../../operations.h"
#include "device.h"

using namespace test;

TEST("every opcode of the table has been tested", 1) {
  const ptx::OperationTable &table = ptx::OperationTable::instance();
  std::set<const ptx::Operation *> executed;
  for (const std::string &opcode : executedOpcodes()) executed.insert(table.find(opcode));
  std::vector<std::string> missing;
  for (const auto &entry : table.all()) {
    if (executed.count(&entry.second) == 0) missing.push_back(entry.first);
  }
  std::sort(missing.begin(), missing.end());
  check(missing.empty(), __FILE__, __LINE__, [&] {
    std::string text = std::to_string(missing.size()) + " of " +
                       std::to_string(table.all().size()) + " opcodes have not been executed:";
    for (std::size_t k = 0; k < missing.size() && k < 40; ++k) text += " " + missing[k];
    if (missing.size() > 40) text += " ...";
    return text;
  });
}
