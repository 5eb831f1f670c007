// The state behind the driver API: contexts and what they own, handles, and the work that streams
// have been given and not yet done.
//
// Work is done as late as the API allows: a launch, an asynchronous copy or a memset waits in its
// stream until something synchronises with it. A host that reads a result, or reuses a staging
// buffer, without synchronising sees what a real device only shows on an unlucky day.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../kernel.h"
#include "../memory.h"
#include "../module.h"
#include "cuda_abi.h"
#include "device.h"
#include "settings.h"

namespace ptx {

// What an API function throws to return an error.
struct Failure {
  CUresult code;
};

inline void require(bool condition, CUresult otherwise = CUDA_ERROR_INVALID_VALUE) {
  if (!condition) throw Failure{otherwise};
}

// What work in a stream throws to kill its context, besides Trap.
struct Fault {
  CUresult code;
  std::string message;
};

struct Context;
struct Stream;

// A point in a stream's work: everything up to this number.
struct Ticket {
  std::shared_ptr<Stream> stream;
  std::uint64_t number = 0;
};

struct Work {
  std::uint64_t number;
  std::vector<Ticket> after;
  std::function<void()> run;
};

struct Stream {
  Context *context;
  unsigned flags;
  int priority;
  std::deque<Work> pending;
  // Of the work that it was given last.
  std::uint64_t number = 0;

  bool blocking() const { return (flags & CU_STREAM_NON_BLOCKING) == 0; }
};

struct Event {
  Context *context;
  unsigned flags;
  // Where it was recorded last, and when the work got there.
  Ticket recorded;
  std::optional<std::chrono::steady_clock::time_point> reached;
};

struct LoadedModule {
  Context *context;
  std::unique_ptr<Module> module;
  std::map<std::string, CUfunction> functions;
};

struct Function {
  Context *context;
  CUmodule module;
  // One of the module's, which it keeps alive for the launches that are pending.
  std::shared_ptr<const Kernel> kernel;
  int maxDynamicShared;
  int carveout = -1;
};

// Host memory that asynchronous copies may use in place.
struct PinnedMemory {
  Context *context;
  std::uint64_t bytes;
  unsigned flags;
  // The host's own memory, which it registered.
  bool registered;
  // Tells it from another that once began at the same address.
  std::uint64_t number;
};

// The next handle of any kind, far from what a host allocates: one taken for another kind is no
// handle of that kind.
inline std::uintptr_t nextHandle() {
  static std::uintptr_t last = 0x0e00'0000'0000;
  return last += 16;
}

// The handles of one kind that are alive. None is ever given out twice, so that one that is used
// after its end is told from one that is valid.
template <typename Handle, typename Object>
class Handles {
 public:
  Handle add(std::shared_ptr<Object> object) {
    const auto handle = reinterpret_cast<Handle>(nextHandle());
    objects_.emplace(handle, std::move(object));
    return handle;
  }

  std::shared_ptr<Object> find(Handle handle) const {
    const auto found = objects_.find(handle);
    return found == objects_.end() ? nullptr : found->second;
  }

  // The object, which must live in this context.
  std::shared_ptr<Object> get(Handle handle, const Context &context) const {
    std::shared_ptr<Object> object = find(handle);
    require(object != nullptr && object->context == &context, CUDA_ERROR_INVALID_HANDLE);
    return object;
  }

  void remove(Handle handle) { objects_.erase(handle); }

  void removeAllOf(const Context *context) {
    for (auto it = objects_.begin(); it != objects_.end();) {
      it = it->second->context == context ? objects_.erase(it) : std::next(it);
    }
  }

  template <typename Visitor>
  void forEach(Visitor visit) const {
    for (const auto &entry : objects_) visit(*entry.second);
  }

  std::size_t size() const { return objects_.size(); }

 private:
  std::map<Handle, std::shared_ptr<Object>> objects_;
};

struct Context {
  explicit Context(unsigned flags);
  ~Context();
  Context(const Context &) = delete;
  Context &operator=(const Context &) = delete;

  // Adds work to the end of a stream. The default stream orders itself with the blocking streams.
  Ticket enqueue(const std::shared_ptr<Stream> &stream, std::function<void()> run,
                 std::vector<Ticket> after = {});
  // Do the work of one stream up to a point, of a stream, of all streams, in their order, and throw
  // Failure if the context is dead then.
  void finish(const Ticket &ticket);
  void finish(const std::shared_ptr<Stream> &stream) { finish({stream, stream->number}); }
  void finish();
  bool done(const Ticket &ticket) const;

  std::shared_ptr<Stream> newStream(unsigned flags, int priority);
  std::shared_ptr<Stream> defaultStreamOfThread();

  unsigned flags;
  // Why it is dead, or CUDA_SUCCESS.
  CUresult failure = CUDA_SUCCESS;
  std::shared_ptr<Stream> defaultStream;
  std::set<DeviceAddress> allocations;

 private:
  void execute(const Ticket &ticket);
  void run(const Work &work);

  // With those that have been destroyed and whose work is not done.
  std::vector<std::shared_ptr<Stream>> streams_;
  std::map<std::uint64_t, std::shared_ptr<Stream>> streamsOfThreads_;
  std::size_t pending_ = 0;
};

class Driver {
 public:
  static Driver &instance();

  // The context of the calling thread, alive.
  Context &current();
  // Contexts that this thread has made current, the current one last.
  static std::vector<CUcontext> &stack();
  CUcontext create(unsigned flags);
  // With everything that lives in it.
  void destroy(CUcontext context);

  // The stream that a handle means in this context; throws Failure if none.
  std::shared_ptr<Stream> stream(Context &context, CUstream handle);

  void requireInitialised() const { require(memory != nullptr, CUDA_ERROR_NOT_INITIALIZED); }
  void requireDevice(CUdevice device) const;
  const DeviceModel &model() const { return *deviceModel(settings[Switch::ComputeCapability]); }
  int version() const;

  // The pinned memory that contains all these bytes, or null.
  const PinnedMemory *findPinned(const void *address, std::uint64_t bytes) const;
  void unpin(std::map<std::uintptr_t, PinnedMemory>::iterator pinned);

  std::uint64_t nextNumber() { return ++number_; }
  long liveObjects() const;

  std::mutex mutex;
  Settings settings;
  // From cuInit on.
  std::unique_ptr<Memory> memory;
  Handles<CUcontext, Context> contexts;
  Handles<CUmodule, LoadedModule> modules;
  Handles<CUfunction, Function> functions;
  Handles<CUstream, Stream> streams;
  Handles<CUevent, Event> events;
  std::map<std::uintptr_t, PinnedMemory> pinned;
  CUcontext primary = nullptr;
  unsigned primaryUses = 0;
  unsigned primaryFlags = 0;
  std::string lastTrap;

 private:
  std::uint64_t number_ = 0;
};

// The frame of every API function: one at a time, and nothing but its code comes out.
template <typename Body>
CUresult call(Body body) noexcept {
  try {
    Driver &driver = Driver::instance();
    const std::lock_guard<std::mutex> lock(driver.mutex);
    body(driver);
    return CUDA_SUCCESS;
  } catch (const Failure &failure) {
    return failure.code;
  } catch (const std::bad_alloc &) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  } catch (const std::exception &) {
    return CUDA_ERROR_UNKNOWN;
  }
}

// A call that needs a live context.
template <typename Body>
CUresult callInContext(Body body) noexcept {
  return call([&](Driver &driver) { body(driver, driver.current()); });
}

}  // namespace ptx
