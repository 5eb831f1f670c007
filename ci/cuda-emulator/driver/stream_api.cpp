// Streams and events.
#include "driver.h"

using namespace ptx;

namespace {

// A query makes a little progress, so that a host that polls does not poll for ever.
void requireDone(Context &context, const Ticket &ticket) {
  if (context.done(ticket)) return;
  context.finish({ticket.stream, ticket.stream->pending.front().number});
  throw Failure{CUDA_ERROR_NOT_READY};
}

}  // namespace

CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int priority) {
  return callInContext([&](Driver &driver, Context &context) {
    require(stream != nullptr && (flags & ~CU_STREAM_NON_BLOCKING) == 0);
    *stream = driver.streams.add(context.newStream(flags, priority));
  });
}

CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
  return cuStreamCreateWithPriority(stream, flags, 0);
}

CUresult cuStreamGetFlags(CUstream stream, unsigned *flags) {
  return callInContext([&](Driver &driver, Context &context) {
    require(flags != nullptr);
    *flags = driver.stream(context, stream)->flags;
  });
}

CUresult cuStreamGetPriority(CUstream stream, int *priority) {
  return callInContext([&](Driver &driver, Context &context) {
    require(priority != nullptr);
    *priority = driver.stream(context, stream)->priority;
  });
}

CUresult cuStreamGetCtx(CUstream stream, CUcontext *handle) {
  return callInContext([&](Driver &driver, Context &context) {
    require(handle != nullptr);
    driver.stream(context, stream);
    *handle = Driver::stack().back();
  });
}

CUresult cuStreamDestroy_v2(CUstream stream) {
  return callInContext([&](Driver &driver, Context &context) {
    driver.streams.get(stream, context);
    // Its context does what is pending when something waits for it.
    driver.streams.remove(stream);
  });
}

CUresult cuStreamSynchronize(CUstream stream) {
  return callInContext(
      [&](Driver &driver, Context &context) { context.finish(driver.stream(context, stream)); });
}

CUresult cuStreamQuery(CUstream handle) {
  return callInContext([&](Driver &driver, Context &context) {
    const auto stream = driver.stream(context, handle);
    requireDone(context, {stream, stream->number});
  });
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent handle, unsigned flags) {
  return callInContext([&](Driver &driver, Context &context) {
    require(flags == 0);
    const auto event = driver.events.get(handle, context);
    const auto waiting = driver.stream(context, stream);
    if (event->recorded.stream == nullptr) return;
    context.enqueue(waiting, [] {}, {event->recorded});
  });
}

CUresult cuEventCreate(CUevent *event, unsigned flags) {
  return callInContext([&](Driver &driver, Context &context) {
    require(event != nullptr);
    require((flags & ~(CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING)) == 0);
    *event = driver.events.add(std::make_shared<Event>(Event{&context, flags, {}, {}}));
  });
}

CUresult cuEventDestroy_v2(CUevent event) {
  return callInContext([&](Driver &driver, Context &context) {
    driver.events.get(event, context);
    driver.events.remove(event);
  });
}

CUresult cuEventRecord(CUevent handle, CUstream stream) {
  return callInContext([&](Driver &driver, Context &context) {
    const auto event = driver.events.get(handle, context);
    event->reached.reset();
    event->recorded = context.enqueue(driver.stream(context, stream), [event] {
      event->reached = std::chrono::steady_clock::now();
    });
  });
}

CUresult cuEventSynchronize(CUevent handle) {
  return callInContext([&](Driver &driver, Context &context) {
    const auto event = driver.events.get(handle, context);
    if (event->recorded.stream != nullptr) context.finish(event->recorded);
  });
}

CUresult cuEventQuery(CUevent handle) {
  return callInContext([&](Driver &driver, Context &context) {
    const auto event = driver.events.get(handle, context);
    if (event->recorded.stream != nullptr) requireDone(context, event->recorded);
  });
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
  return callInContext([&](Driver &driver, Context &context) {
    require(milliseconds != nullptr);
    const auto first = driver.events.get(start, context);
    const auto last = driver.events.get(end, context);
    for (const auto &event : {first, last}) {
      require(event->recorded.stream != nullptr && (event->flags & CU_EVENT_DISABLE_TIMING) == 0,
              CUDA_ERROR_INVALID_HANDLE);
    }
    for (const auto &event : {first, last}) requireDone(context, event->recorded);
    *milliseconds =
        std::chrono::duration<float, std::milli>(*last->reached - *first->reached).count();
  });
}

CUresult cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end) {
  return cuEventElapsedTime(milliseconds, start, end);
}
