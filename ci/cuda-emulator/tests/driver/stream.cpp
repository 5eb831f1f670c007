// Streams and events: who waits for whom.
#include "session.h"

using namespace test;

namespace {

CUstream newStream(unsigned flags) {
  CUstream stream = nullptr;
  CHECK_DONE(cuStreamCreate(&stream, flags));
  return stream;
}

CUevent newEvent(unsigned flags = 0) {
  CUevent event = nullptr;
  CHECK_DONE(cuEventCreate(&event, flags));
  return event;
}

struct Fixture {
  Session session;
  CUfunction kernel = function(loadModule(), "add");
  CUdeviceptr buffer = allocate(4);
  unsigned *seen = nullptr;

  Fixture() {
    void *memory = nullptr;
    CHECK_DONE(cuMemAllocHost_v2(&memory, 4));
    seen = static_cast<unsigned *>(memory);
    CHECK_DONE(cuMemsetD32_v2(buffer, 0, 1));
    CHECK_DONE(cuCtxSynchronize());
  }

  // What the buffer holds when a stream gets there.
  void look(CUstream stream) { CHECK_DONE(cuMemcpyDtoHAsync_v2(seen, buffer, 4, stream)); }
};

}  // namespace

TEST("streams by themselves are not ordered") {
  Fixture f;
  const CUstream a = newStream(CU_STREAM_NON_BLOCKING);
  const CUstream b = newStream(CU_STREAM_NON_BLOCKING);
  CHECK_DONE(add(f.kernel, f.buffer, 1, 1, a));
  f.look(b);
  CHECK_DONE(cuStreamSynchronize(b));
  CHECK_EQUAL(*f.seen, 0u);
  CHECK_DONE(cuStreamSynchronize(a));
  f.look(b);
  CHECK_DONE(cuStreamSynchronize(b));
  CHECK_EQUAL(*f.seen, 1u);
  // A synchronous copy in the default stream does not wait for a stream that asked not to be.
  CHECK_DONE(add(f.kernel, f.buffer, 1, 1, a));
  unsigned word = 9;
  CHECK_DONE(cuMemcpyDtoH_v2(&word, f.buffer, 4));
  CHECK_EQUAL(word, 1u);
}

TEST("the default stream orders itself with the others") {
  Fixture f;
  const CUstream a = newStream(0);
  const CUstream b = newStream(0);
  CHECK_DONE(add(f.kernel, f.buffer, 1, 1, a));
  CHECK_DONE(add(f.kernel, f.buffer, 1, 10, nullptr));
  f.look(b);
  CHECK_DONE(cuStreamSynchronize(b));
  CHECK_EQUAL(*f.seen, 11u);
  CHECK_DONE(add(f.kernel, f.buffer, 1, 100, a));
  unsigned word = 0;
  CHECK_DONE(cuMemcpyDtoH_v2(&word, f.buffer, 4));
  CHECK_EQUAL(word, 111u);
}

TEST("a stream waits for an event of another") {
  Fixture f;
  const CUstream a = newStream(CU_STREAM_NON_BLOCKING);
  const CUstream b = newStream(CU_STREAM_NON_BLOCKING);
  const CUevent event = newEvent();
  CHECK_DONE(cuStreamWaitEvent(b, event, 0));  // never recorded: nothing to wait for
  CHECK_DONE(add(f.kernel, f.buffer, 1, 1, a));
  CHECK_DONE(cuEventRecord(event, a));
  CHECK_DONE(add(f.kernel, f.buffer, 1, 10, a));
  CHECK_DONE(cuStreamWaitEvent(b, event, 0));
  f.look(b);
  CHECK_DONE(cuStreamSynchronize(b));
  CHECK_EQUAL(*f.seen, 1u);
  CHECK_DONE(cuStreamSynchronize(a));
}

TEST("events: query, synchronise, elapsed time") {
  Fixture f;
  const CUstream stream = newStream(0);
  const CUevent start = newEvent();
  const CUevent end = newEvent();
  const CUevent untimed = newEvent(CU_EVENT_DISABLE_TIMING);
  float milliseconds = -1;
  CHECK_CODE(cuEventElapsedTime(&milliseconds, start, end), CUDA_ERROR_INVALID_HANDLE);
  CHECK_DONE(cuEventSynchronize(start));
  CHECK_DONE(cuEventQuery(start));
  CHECK_DONE(cuEventRecord(start, stream));
  CHECK_CODE(cuEventElapsedTime(&milliseconds, start, end), CUDA_ERROR_INVALID_HANDLE);
  CHECK_DONE(add(f.kernel, f.buffer, 1, 1, stream));
  CHECK_DONE(cuEventRecord(end, stream));
  CHECK_DONE(cuEventRecord(untimed, stream));
  CHECK_CODE(cuEventQuery(end), CUDA_ERROR_NOT_READY);
  CHECK_CODE(cuStreamQuery(stream), CUDA_ERROR_NOT_READY);
  CHECK_DONE(cuEventSynchronize(end));
  CHECK_DONE(cuEventElapsedTime(&milliseconds, start, end));
  CHECK(milliseconds > 0 && milliseconds < 10000);
  CHECK_DONE(cuStreamSynchronize(stream));
  CHECK_CODE(cuEventElapsedTime(&milliseconds, start, untimed), CUDA_ERROR_INVALID_HANDLE);
  // A host that polls comes to an end.
  for (int k = 0; k < 5; ++k) CHECK_DONE(add(f.kernel, f.buffer, 1, 1, stream));
  int polls = 0;
  while (cuStreamQuery(stream) == CUDA_ERROR_NOT_READY && polls < 100) ++polls;
  CHECK(polls > 0 && polls < 100);
  CHECK_DONE(cuStreamQuery(stream));
}

TEST("handles of streams and events") {
  Fixture f;
  const CUstream stream = newStream(0);
  const CUevent event = newEvent();
  CHECK_CODE(cuStreamSynchronize(reinterpret_cast<CUstream>(event)), CUDA_ERROR_INVALID_HANDLE);
  CHECK_CODE(cuEventRecord(reinterpret_cast<CUevent>(stream), stream), CUDA_ERROR_INVALID_HANDLE);
  CHECK_CODE(cuEventRecord(nullptr, stream), CUDA_ERROR_INVALID_HANDLE);
  CHECK_CODE(cuStreamSynchronize(reinterpret_cast<CUstream>(&f)), CUDA_ERROR_INVALID_HANDLE);
  CHECK_DONE(cuEventDestroy_v2(event));
  CHECK_CODE(cuEventDestroy_v2(event), CUDA_ERROR_INVALID_HANDLE);
  CHECK_DONE(cuStreamDestroy_v2(stream));
  CHECK_CODE(cuStreamDestroy_v2(stream), CUDA_ERROR_INVALID_HANDLE);
  CHECK_CODE(cuStreamDestroy_v2(nullptr), CUDA_ERROR_INVALID_HANDLE);
  CUstream bad = nullptr;
  CHECK_CODE(cuStreamCreate(&bad, 8), CUDA_ERROR_INVALID_VALUE);
  // A stream of another context.
  const CUstream foreign = newStream(0);
  {
    Session other;
    CHECK_CODE(cuStreamSynchronize(foreign), CUDA_ERROR_INVALID_HANDLE);
  }
  // What a destroyed stream was given is done all the same.
  const CUstream gone = newStream(0);
  CHECK_DONE(add(f.kernel, f.buffer, 1, 4, gone));
  CHECK_DONE(cuStreamDestroy_v2(gone));
  CHECK_DONE(cuCtxSynchronize());
  unsigned word = 0;
  CHECK_DONE(cuMemcpyDtoH_v2(&word, f.buffer, 4));
  CHECK_EQUAL(word, 4u);
}

TEST("a host that never synchronises is slowed down, not stopped") {
  Fixture f;
  const CUstream stream = newStream(0);
  for (int k = 0; k < 1500; ++k) {
    CHECK_DONE(add(f.kernel, f.buffer, 1, 1, k % 2 == 0 ? stream : nullptr));
  }
  unsigned word = 0;
  CHECK_DONE(cuMemcpyDtoH_v2(&word, f.buffer, 4));
  CHECK_EQUAL(word, 1500u);
}
