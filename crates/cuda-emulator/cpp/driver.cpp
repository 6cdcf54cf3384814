// Settings, devices, contexts, events, synchronisation, errors.
#include "driver.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

namespace emu {

static long from_environment(const char* name, long otherwise) {
    const char* text = getenv(name);
    return text ? atol(text) : otherwise;
}

const Settings& settings() {
    static const Settings read = {
        from_environment("FAKE_CUDA_DEVICES", 1),
        (size_t)from_environment("FAKE_CUDA_FREE_BYTES", 1L << 30),
        (int)from_environment("FAKE_CUDA_DRIVER", 13000),
        (int)from_environment("FAKE_CUDA_CC", 90),
        from_environment("FAKE_CUDA_FAIL_AFTER", 0),
        from_environment("FAKE_CUDA_LAZY", 0),
    };
    return read;
}

Driver& driver() {
    static Driver* only = new Driver; // outlives the statics of other libraries
    return *only;
}

static Counts counts;
static thread_local Counts counts_of_thread;
void count(Counter counter) {
    counts.*counter += 1;
    counts_of_thread.*counter += 1;
}

const int DEVICES_MAX = 16;
static char contexts[DEVICES_MAX]; // the address is the handle
static thread_local char* current_context;
int current_device() { return current_context ? (int)(current_context - contexts) : -1; }

static bool exists(int device) { return device >= 0 && device < settings().devices && device < DEVICES_MAX; }

void finish_pending(Stream* only) {
    const bool all = settings().lazy < 2 || only == nullptr || only == &driver().default_stream;
    std::vector<std::pair<Stream*, Operation>> work, others;
    work.swap(driver().pending);
    for (auto& [stream, operation] : work) {
        if (all || stream == only) operation();
        else others.emplace_back(stream, std::move(operation));
    }
    driver().pending.swap(others);
}

static int synchronise_with(Stream* only) {
    count(&Counts::synchronisations);
    finish_pending(only);
    return SUCCESS;
}
static int synchronise() { return synchronise_with(nullptr); }

struct Event {
    bool timed, recorded;
    timespec time;
};

} // namespace emu

using namespace emu;

// ---------------------------------------------------------------- for the tests
extern "C" __attribute__((visibility("default"))) void emulator_counts(Counts* all, Counts* of_thread) {
    std::lock_guard<std::recursive_mutex> lock(driver().mutex);
    *all = counts;
    *of_thread = counts_of_thread;
}

// ---------------------------------------------------------------- devices
API cuInit(unsigned) { return settings().devices > 0 ? SUCCESS : NO_DEVICE; }
API cuDriverGetVersion(int* version) {
    *version = settings().driver;
    return SUCCESS;
}
API cuDeviceGetCount(int* n) {
    *n = (int)settings().devices;
    return SUCCESS;
}
API cuDeviceGet(int* device, int ordinal) {
    *device = ordinal;
    return exists(ordinal) ? SUCCESS : INVALID_DEVICE;
}
API cuDeviceGetName(char* name, int size, int device) {
    snprintf(name, (size_t)size, "emulated device %d", device);
    return exists(device) ? SUCCESS : INVALID_DEVICE;
}
API cuDeviceGetUuid_v2(char* uuid, int device) {
    memset(uuid, 0, 16);
    uuid[0] = (char)(device + 1);
    return exists(device) ? SUCCESS : INVALID_DEVICE;
}
API cuDeviceTotalMem_v2(size_t* bytes, int device) {
    *bytes = settings().memory;
    return exists(device) ? SUCCESS : INVALID_DEVICE;
}
API cuDeviceGetAttribute(int* value, int attribute, int device) {
    if (!exists(device)) return INVALID_DEVICE;
    switch (attribute) {
    case 1: // threads per block
    case 2: // block x
    case 3: *value = 1024; break;
    case 4: *value = 64; break; // block z
    case 5: *value = 2147483647; break; // grid x
    case 6: // grid y
    case 7: *value = 65535; break; // grid z
    case 8: // shared memory per block
    case 97: *value = 49152; break; // the same, opted in
    case 10: *value = 32; break; // warp
    case 12: *value = 65536; break; // registers per block
    case 16: *value = 4; break; // multiprocessors
    case 39: *value = 2048; break; // threads per multiprocessor
    case 31: // concurrent kernels
    case 40: // copy engines
    case 41: // unified addresses
    case 95: // cooperative launches
    case 115: *value = 1; break; // memory pools
    case 75: *value = settings().capability / 10; break;
    case 76: *value = settings().capability % 10; break;
    default: *value = 0;
    }
    return SUCCESS;
}

// ---------------------------------------------------------------- contexts
API cuDevicePrimaryCtxRetain(void** context, int device) {
    if (!exists(device)) return INVALID_DEVICE;
    *context = &contexts[device];
    return SUCCESS;
}
API cuDevicePrimaryCtxRelease_v2(int device) { return exists(device) ? SUCCESS : INVALID_DEVICE; }
API cuCtxSetCurrent(void* context) {
    current_context = static_cast<char*>(context);
    return SUCCESS;
}
API cuCtxGetCurrent(void** context) {
    *context = current_context;
    return SUCCESS;
}
API cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    *least = *greatest = 0;
    return SUCCESS;
}
API cuCtxSynchronize() { return guarded(synchronise); }

// ---------------------------------------------------------------- events
API cuEventCreate(void** event, unsigned flags) {
    return guarded([&] {
        const unsigned disable_timing = 2;
        *event = new Event{(flags & disable_timing) == 0, false, {}};
        return SUCCESS;
    });
}
API cuEventDestroy_v2(void* event) {
    return guarded([&] {
        finish_pending();
        delete static_cast<Event*>(event);
        return SUCCESS;
    });
}
API cuEventRecord(void* handle, void* stream) {
    return guarded([&] {
        Event* event = static_cast<Event*>(handle);
        return submit(stream, [event] {
            event->recorded = true;
            clock_gettime(CLOCK_MONOTONIC, &event->time);
        });
    });
}
API cuEventQuery(void*) {
    return guarded([] { return driver().pending.empty() ? SUCCESS : NOT_READY; });
}
API cuEventSynchronize(void*) { return guarded(synchronise); }
API cuStreamWaitEvent(void*, void*, unsigned) {
    return guarded([] {
        if (settings().lazy > 1) finish_pending(); // otherwise streams run in the order of submission anyway
        return SUCCESS;
    });
}
API cuEventElapsedTime(float* milliseconds, void* from, void* to) {
    return guarded([&] {
        const Event &a = *static_cast<Event*>(from), &b = *static_cast<Event*>(to);
        if (!driver().pending.empty()) return NOT_READY;
        if (!a.timed || !b.timed || !a.recorded || !b.recorded) return INVALID_HANDLE;
        const double seconds = (double)(b.time.tv_sec - a.time.tv_sec) + 1e-9 * (double)(b.time.tv_nsec - a.time.tv_nsec);
        *milliseconds = (float)(seconds * 1e3);
        return SUCCESS;
    });
}
API cuEventElapsedTime_v2(float* milliseconds, void* from, void* to) {
    return cuEventElapsedTime(milliseconds, from, to);
}

// ---------------------------------------------------------------- synchronisation
API cuStreamSynchronize(void* stream) {
    return guarded([&] { return stream_of(stream).captured ? (int)CAPTURE_UNSUPPORTED : synchronise_with(&stream_of(stream)); });
}

// ---------------------------------------------------------------- errors
API cuGetErrorName(int result, const char** name) {
    switch (result) {
    case SUCCESS: *name = "CUDA_SUCCESS"; break;
    case INVALID_VALUE: *name = "CUDA_ERROR_INVALID_VALUE"; break;
    case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case NO_DEVICE: *name = "CUDA_ERROR_NO_DEVICE"; break;
    case INVALID_DEVICE: *name = "CUDA_ERROR_INVALID_DEVICE"; break;
    case INVALID_CONTEXT: *name = "CUDA_ERROR_INVALID_CONTEXT"; break;
    case INVALID_PTX: *name = "CUDA_ERROR_INVALID_PTX"; break;
    case UNSUPPORTED_PTX_VERSION: *name = "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"; break;
    case INVALID_HANDLE: *name = "CUDA_ERROR_INVALID_HANDLE"; break;
    case NOT_FOUND: *name = "CUDA_ERROR_NOT_FOUND"; break;
    case NOT_READY: *name = "CUDA_ERROR_NOT_READY"; break;
    case ILLEGAL_ADDRESS: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; break;
    case LAUNCH_OUT_OF_RESOURCES: *name = "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"; break;
    case NOT_SUPPORTED: *name = "CUDA_ERROR_NOT_SUPPORTED"; break;
    case CAPTURE_UNSUPPORTED: *name = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"; break;
    default: *name = "an error that the emulator does not name";
    }
    return SUCCESS;
}
API cuGetErrorString(int result, const char** text) { return cuGetErrorName(result, text); }
