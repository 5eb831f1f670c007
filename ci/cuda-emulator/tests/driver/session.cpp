#include "session.h"

namespace test {

const char MODULE[] = R"(.version 7.0
.target sm_80
.address_size 64

.global .align 4 .u32 counter = 5;

.visible .entry add(.param .u64 buffer, .param .u32 count, .param .u32 value)
{
  .reg .pred %p;
  .reg .b32 %r<8>;
  .reg .b64 %rd<4>;
  ld.param.u64 %rd1, [buffer];
  ld.param.u32 %r1, [count];
  ld.param.u32 %r2, [value];
  mov.u32 %r3, %ctaid.x;
  mov.u32 %r4, %ntid.x;
  mov.u32 %r5, %tid.x;
  mad.lo.u32 %r3, %r3, %r4, %r5;
  setp.ge.u32 %p, %r3, %r1;
  @%p ret;
  mul.wide.u32 %rd2, %r3, 4;
  add.u64 %rd1, %rd1, %rd2;
  ld.global.u32 %r4, [%rd1];
  add.u32 %r4, %r4, %r2;
  st.global.u32 [%rd1], %r4;
  ret;
}

.visible .entry limited() .maxntid 64, 1, 1
{
  ret;
}

.visible .entry shared()
{
  .shared .align 8 .b8 bytes[1000];
  ret;
}

.visible .entry stray(.param .u64 buffer)
{
  .reg .b64 %rd1;
  ld.param.u64 %rd1, [buffer];
  st.global.u32 [%rd1+4096], 1;
  ret;
}

.visible .entry packed(.param .u8 flag, .param .u64 out, .param .align 4 .b8 numbers[12])
{
  .reg .b32 %r<4>;
  .reg .b64 %out;
  ld.param.u8 %r1, [flag];
  ld.param.u64 %out, [out];
  ld.param.u32 %r2, [numbers];
  ld.param.u32 %r3, [numbers+8];
  st.global.u32 [%out], %r1;
  st.global.u32 [%out+4], %r2;
  st.global.u32 [%out+8], %r3;
  ret;
}
)";

CUfunction function(CUmodule module, const char *name) {
  CUfunction function = nullptr;
  CHECK_DONE(cuModuleGetFunction(&function, module, name));
  return function;
}

CUmodule loadModule() {
  CUmodule module = nullptr;
  CHECK_DONE(cuModuleLoadData(&module, MODULE));
  return module;
}

CUresult add(CUfunction add, CUdeviceptr buffer, unsigned count, unsigned value, CUstream stream) {
  void *parameters[] = {&buffer, &count, &value};
  return cuLaunchKernel(add, (count + 63) / 64, 1, 1, 64, 1, 1, 0, stream, parameters, nullptr);
}

CUdeviceptr allocate(std::size_t bytes) {
  CUdeviceptr address = 0;
  CHECK_DONE(cuMemAlloc_v2(&address, bytes));
  return address;
}

}  // namespace test
