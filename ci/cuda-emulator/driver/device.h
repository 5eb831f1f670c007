// The limits of the emulated device: those of a well-known chip of its compute capability.
#pragma once

#include <cstdint>

namespace ptx {

// All that the device's memory can ever hold in one process, whatever PTX_EMULATOR_MEMORY says.
constexpr std::uint64_t DEVICE_ADDRESS_SPACE = std::uint64_t{16} << 30;

constexpr int WARP_SIZE = 32;
constexpr int MAX_THREADS_PER_BLOCK = 1024;
constexpr int MAX_BLOCK_DIM_XY = 1024;
constexpr int MAX_BLOCK_DIM_Z = 64;
constexpr int MAX_GRID_DIM_X = 0x7fff'ffff;
constexpr int MAX_GRID_DIM_YZ = 65'535;
constexpr int REGISTERS_PER_BLOCK = 65'536;
constexpr int REGISTERS_PER_THREAD = 255;
// What a block gets without asking; more of it must be dynamic, and opted in for.
constexpr int SHARED_PER_BLOCK = 48 << 10;

struct DeviceModel {
  int computeCapability;  // times ten
  int firstDriver;        // the CUDA version that brought this architecture's PTX target
  int multiprocessors;
  int threadsPerMultiprocessor;
  int blocksPerMultiprocessor;
  int sharedPerMultiprocessor;
  int sharedPerBlockOptin;
  int sharedReservedPerBlock;
  int l2Bytes;
  int busBits;
};

// Null if there is no such device.
const DeviceModel *deviceModel(std::uint64_t computeCapability);

// The newest PTX ISA (times ten) that a driver of this CUDA version takes.
int newestPtxVersion(int driverVersion);

}  // namespace ptx
