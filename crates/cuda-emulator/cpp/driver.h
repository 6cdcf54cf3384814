// State and rules that the entry points of the fake driver share.
#pragma once
#include "emulator.h"
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#define API extern "C" __attribute__((visibility("default"))) int

namespace emu {

// CUresult.
enum Result {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    INVALID_PTX = 218,
    UNSUPPORTED_PTX_VERSION = 222,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_OUT_OF_RESOURCES = 701,
    NOT_SUPPORTED = 801,
    CAPTURE_UNSUPPORTED = 900,
};

// The environment, read once when the library is loaded.
struct Settings {
    long devices;    // FAKE_CUDA_DEVICES
    size_t memory;   // FAKE_CUDA_FREE_BYTES, of each device
    int driver;      // FAKE_CUDA_DRIVER, as 12020 for 12.2
    int capability;  // FAKE_CUDA_CC, as 75 for 7.5
    long fail_after; // FAKE_CUDA_FAIL_AFTER: the launch or copy with this number loses the device; 0: none
    long lazy;       // FAKE_CUDA_LAZY: work waits until the host synchronises; 2: with its own stream
};
const Settings& settings();

// The same fields, in the same order, as `Counts` of the Rust side.
struct Counts {
    uint64_t launches, graph_launches;
    uint64_t host_to_device, device_to_host, device_to_device, memsets;
    uint64_t synchronisations;
    uint64_t device_allocations, device_frees, pinned_allocations, pinned_frees;
};
using Counter = uint64_t Counts::*;
void count(Counter counter);

using Operation = std::function<void()>;
struct Graph {
    std::vector<Operation> operations;
};
struct Stream {
    Graph* captured = nullptr; // while it captures
};
// The stream behind a handle; null and the two special handles mean the default stream.
Stream& stream_of(void* handle);

struct Driver {
    std::recursive_mutex mutex;
    bool lost = false;      // the device failed: every further call does
    long operations = 0;    // launches and copies so far
    Stream default_stream;
    std::vector<std::pair<Stream*, Operation>> pending; // in the order of submission, when settings().lazy
};
Driver& driver();

// Device of the calling thread's current context, -1 without one.
int current_device();

// Hands work to a stream: into the graph that it captures, or to be done now, or at the next synchronisation.
Result submit(void* stream, Operation operation);
// The same for a launch or a copy, which are counted and may lose the device.
Result submit_counted(void* stream, Counter counter, Operation operation);
// Does what is waiting, of all streams or, where streams wait for themselves, of this one.
void finish_pending(Stream* only = nullptr);

// Every call that needs a context: one at a time, and an error once the device is lost.
template <class Body>
int guarded(Body body) {
    std::lock_guard<std::recursive_mutex> lock(driver().mutex);
    if (driver().lost) return ILLEGAL_ADDRESS;
    if (current_device() < 0) return INVALID_CONTEXT;
    return body();
}

} // namespace emu
