#include "device.h"

namespace ptx {
namespace {

// Source: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"; the chips
// are V100, T4, A100, RTX 3090, L40S, H100 SXM, B200, RTX PRO 6000.
constexpr DeviceModel MODELS[] = {
    {70, 9000, 80, 2048, 32, 96 << 10, 96 << 10, 0, 6 << 20, 4096},
    {75, 10000, 40, 1024, 16, 64 << 10, 64 << 10, 0, 4 << 20, 256},
    {80, 11000, 108, 2048, 32, 164 << 10, 163 << 10, 1024, 40 << 20, 5120},
    {86, 11010, 82, 1536, 16, 100 << 10, 99 << 10, 1024, 6 << 20, 384},
    {89, 11080, 142, 1536, 24, 100 << 10, 99 << 10, 1024, 96 << 20, 384},
    {90, 11080, 132, 2048, 32, 228 << 10, 227 << 10, 1024, 50 << 20, 5120},
    {100, 12080, 148, 2048, 32, 228 << 10, 227 << 10, 1024, 126 << 20, 8192},
    {120, 12080, 188, 1536, 24, 100 << 10, 99 << 10, 1024, 128 << 20, 512},
};

struct PtxRelease {
  int driver;
  int ptx;
};

// Source: PTX ISA, "Release Notes", the table of CUDA releases and driver versions.
constexpr PtxRelease RELEASES[] = {
    {13000, 90}, {12090, 88}, {12080, 87}, {12070, 86}, {12050, 85}, {12040, 84},
    {12030, 83}, {12020, 82}, {12010, 81}, {12000, 80}, {11080, 78}, {11070, 77},
    {11060, 76}, {11050, 75}, {11040, 74}, {11030, 73}, {11020, 72}, {11010, 71},
    {11000, 70}, {10020, 65}, {10010, 64}, {10000, 63}, {9020, 62},  {9010, 61},
};

}  // namespace

const DeviceModel *deviceModel(std::uint64_t computeCapability) {
  for (const DeviceModel &model : MODELS) {
    if (static_cast<std::uint64_t>(model.computeCapability) == computeCapability) return &model;
  }
  return nullptr;
}

int newestPtxVersion(int driverVersion) {
  for (const PtxRelease &release : RELEASES) {
    if (driverVersion >= release.driver) return release.ptx;
  }
  return 60;
}

}  // namespace ptx
