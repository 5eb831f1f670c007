#include "operations.h"
namespace ptx { void addAtomics(OperationTable &) {} }
