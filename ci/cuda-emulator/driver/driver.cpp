#include "driver.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>

#include "../types.h"

namespace ptx {
namespace {

// A host that never synchronises is made to wait once this much work is pending, as by the queue of
// a real device.
constexpr std::size_t MAX_PENDING = 1000;

}  // namespace

Context::Context(unsigned flags) : flags(flags) { defaultStream = newStream(0, 0); }

Context::~Context() {
  // Work that waits for work of other streams holds on to them.
  for (const auto &stream : streams_) stream->pending.clear();
}

std::shared_ptr<Stream> Context::newStream(unsigned streamFlags, int priority) {
  auto stream = std::make_shared<Stream>(Stream{this, streamFlags, priority, {}});
  streams_.push_back(stream);
  return stream;
}

std::shared_ptr<Stream> Context::defaultStreamOfThread() {
  static std::atomic<std::uint64_t> threads{0};
  thread_local const std::uint64_t thread = ++threads;
  std::shared_ptr<Stream> &stream = streamsOfThreads_[thread];
  if (stream == nullptr) stream = newStream(0, 0);
  return stream;
}

Ticket Context::enqueue(const std::shared_ptr<Stream> &stream, std::function<void()> run,
                        std::vector<Ticket> after) {
  if (pending_ >= MAX_PENDING) finish();
  if (stream == defaultStream) {
    for (const auto &other : streams_) {
      if (other != stream && other->blocking() && !other->pending.empty()) {
        after.push_back({other, other->number});
      }
    }
  } else if (stream->blocking() && !defaultStream->pending.empty()) {
    after.push_back({defaultStream, defaultStream->number});
  }
  stream->number = Driver::instance().nextNumber();
  stream->pending.push_back({stream->number, std::move(after), std::move(run)});
  ++pending_;
  return {stream, stream->number};
}

bool Context::done(const Ticket &ticket) const {
  const auto &pending = ticket.stream->pending;
  return pending.empty() || pending.front().number > ticket.number;
}

void Context::finish(const Ticket &ticket) {
  execute(ticket);
  require(failure == CUDA_SUCCESS, failure);
}

void Context::finish() {
  for (const auto &stream : streams_) execute({stream, stream->number});
  // A stream that nothing else holds was destroyed.
  streams_.erase(std::remove_if(streams_.begin(), streams_.end(),
                                [](const auto &stream) { return stream.use_count() == 1; }),
                 streams_.end());
  require(failure == CUDA_SUCCESS, failure);
}

void Context::execute(const Ticket &ticket) {
  while (!done(ticket)) {
    const Work work = std::move(ticket.stream->pending.front());
    ticket.stream->pending.pop_front();
    --pending_;
    for (const Ticket &earlier : work.after) execute(earlier);
    run(work);
  }
}

void Context::run(const Work &work) {
  if (failure != CUDA_SUCCESS) return;
  Driver &driver = Driver::instance();
  try {
    work.run();
  } catch (const Trap &trap) {
    failure = static_cast<CUresult>(trap.code);
    driver.lastTrap = trap.what();
  } catch (const Fault &fault) {
    failure = fault.code;
    driver.lastTrap = fault.message;
  }
}

Driver &Driver::instance() {
  // Never destroyed: the process may end while another of its threads is in a call.
  static Driver *const driver = new Driver;
  return *driver;
}

std::vector<CUcontext> &Driver::stack() {
  thread_local std::vector<CUcontext> contexts;
  return contexts;
}

Context &Driver::current() {
  requireInitialised();
  require(!stack().empty(), CUDA_ERROR_INVALID_CONTEXT);
  const auto context = contexts.find(stack().back());
  require(context != nullptr, CUDA_ERROR_CONTEXT_IS_DESTROYED);
  require(context->failure == CUDA_SUCCESS, context->failure);
  return *context;
}

CUcontext Driver::create(unsigned flags) {
  require((flags & ~CU_CTX_FLAGS_MASK) == 0);
  return contexts.add(std::make_shared<Context>(flags));
}

void Driver::destroy(CUcontext handle) {
  const auto context = contexts.find(handle);
  require(context != nullptr, CUDA_ERROR_INVALID_CONTEXT);
  functions.removeAllOf(context.get());
  modules.removeAllOf(context.get());
  streams.removeAllOf(context.get());
  events.removeAllOf(context.get());
  for (auto it = pinned.begin(); it != pinned.end();) {
    const auto next = std::next(it);
    if (it->second.context == context.get()) unpin(it);
    it = next;
  }
  for (const DeviceAddress address : context->allocations) memory->free(address);
  contexts.remove(handle);
}

std::shared_ptr<Stream> Driver::stream(Context &context, CUstream handle) {
  if (handle == nullptr || handle == CU_STREAM_LEGACY) return context.defaultStream;
  if (handle == CU_STREAM_PER_THREAD) return context.defaultStreamOfThread();
  return streams.get(handle, context);
}

void Driver::requireDevice(CUdevice device) const {
  requireInitialised();
  require(device >= 0 && static_cast<std::uint64_t>(device) < settings[Switch::Devices],
          CUDA_ERROR_INVALID_DEVICE);
}

int Driver::version() const {
  const int version = static_cast<int>(settings[Switch::DriverVersion]);
  return version != 0 ? version : std::max(11'000, model().firstDriver);
}

const PinnedMemory *Driver::findPinned(const void *address, std::uint64_t bytes) const {
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  auto it = pinned.upper_bound(start);
  if (it == pinned.begin()) return nullptr;
  --it;
  const std::uint64_t offset = start - it->first;
  const bool inside = offset <= it->second.bytes && bytes <= it->second.bytes - offset;
  return inside ? &it->second : nullptr;
}

void Driver::unpin(std::map<std::uintptr_t, PinnedMemory>::iterator it) {
  if (!it->second.registered) munmap(reinterpret_cast<void *>(it->first), it->second.bytes);
  pinned.erase(it);
}

long Driver::liveObjects() const {
  std::size_t count = contexts.size() + modules.size() + streams.size() + events.size();
  count += pinned.size();
  contexts.forEach([&](const Context &context) { count += context.allocations.size(); });
  return static_cast<long>(count);
}

}  // namespace ptx
