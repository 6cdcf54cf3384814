// Device memory, pinned host memory, copies and fills.
#include "driver.h"
#include <map>
#include <memory>
#include <stdlib.h>
#include <string.h>

using namespace emu;

namespace {

std::map<uint64_t, size_t>& pinned() {
    static auto* map = new std::map<uint64_t, size_t>;
    return *map;
}

bool is_pinned(const void* pointer) {
    auto next = pinned().upper_bound((uint64_t)pointer);
    if (next == pinned().begin()) return false;
    --next;
    return (uint64_t)pointer < next->first + next->second;
}

// For work that runs now: memory that was there when the work was submitted or captured may be gone.
void* device_memory(uint64_t pointer, size_t bytes) {
    if (!inside(pointer, bytes)) fail("a copy or fill of %zu bytes runs after its memory was freed", bytes);
    return reinterpret_cast<void*>(pointer);
}

int allocate_device(uint64_t* pointer, size_t bytes) {
    const int device = current_device();
    if (bytes == 0) return INVALID_VALUE;
    if (bytes_allocated(device) + bytes > settings().memory) finish_pending(); // it may hold frees
    if (bytes_allocated(device) + bytes > settings().memory) return OUT_OF_MEMORY;
    *pointer = allocate(bytes, device);
    if (*pointer == 0) return OUT_OF_MEMORY;
    count(&Counts::device_allocations);
    return SUCCESS;
}

} // namespace

API cuMemGetInfo_v2(size_t* available, size_t* total) {
    return guarded([&] {
        *total = settings().memory;
        *available = *total - bytes_allocated(current_device());
        return SUCCESS;
    });
}
API cuMemAlloc_v2(uint64_t* pointer, size_t bytes) {
    return guarded([&] { return allocate_device(pointer, bytes); });
}
// Graphs that allocate are not emulated.
API cuMemAllocAsync(uint64_t* pointer, size_t bytes, void* stream) {
    return guarded([&] { return stream_of(stream).captured ? (int)CAPTURE_UNSUPPORTED : allocate_device(pointer, bytes); });
}
API cuMemFree_v2(uint64_t pointer) {
    return guarded([&] {
        finish_pending();
        if (!release(pointer)) return INVALID_VALUE;
        count(&Counts::device_frees);
        return SUCCESS;
    });
}
API cuMemFreeAsync(uint64_t pointer, void* stream) {
    return guarded([&] {
        if (stream_of(stream).captured) return CAPTURE_UNSUPPORTED;
        if (!inside(pointer, 1)) return INVALID_VALUE;
        count(&Counts::device_frees);
        return submit(stream, [pointer] { release(pointer); });
    });
}
API cuMemHostAlloc(void** pointer, size_t bytes, unsigned) {
    return guarded([&] {
        if (bytes == 0) return INVALID_VALUE;
        *pointer = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
        if (*pointer == nullptr) return OUT_OF_MEMORY;
        memset(*pointer, 0xff, bytes);
        pinned()[(uint64_t)*pointer] = bytes;
        count(&Counts::pinned_allocations);
        return SUCCESS;
    });
}
API cuMemFreeHost(void* pointer) {
    return guarded([&] {
        auto found = pinned().find((uint64_t)pointer);
        if (found == pinned().end()) return INVALID_VALUE;
        memset(pointer, 0xff, found->second); // no driver promises to wait for copies that still read it
        pinned().erase(found);
        finish_pending();
        free(pointer);
        count(&Counts::pinned_frees);
        return SUCCESS;
    });
}

// The driver reads pageable memory before it returns, pinned memory when the stream gets there.
API cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void* stream) {
    return guarded([&] {
        if (!inside(to, bytes)) return INVALID_VALUE;
        if (is_pinned(from)) {
            return submit_counted(stream, &Counts::host_to_device,
                                  [=] { memcpy(device_memory(to, bytes), from, bytes); });
        }
        const char* source = static_cast<const char*>(from);
        auto staged = std::make_shared<std::vector<char>>(source, source + bytes);
        return submit_counted(stream, &Counts::host_to_device,
                              [=] { memcpy(device_memory(to, bytes), staged->data(), bytes); });
    });
}
// A copy to pageable memory has ended when the call returns; to pinned memory, when the stream gets there.
API cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void* stream) {
    return guarded([&] {
        if (!inside(from, bytes)) return INVALID_VALUE;
        Result result = submit_counted(stream, &Counts::device_to_host,
                                       [=] { memcpy(to, device_memory(from, bytes), bytes); });
        if (!is_pinned(to)) finish_pending(&stream_of(stream));
        return result;
    });
}
API cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void* stream) {
    return guarded([&] {
        if (!inside(to, bytes) || !inside(from, bytes)) return INVALID_VALUE;
        return submit_counted(stream, &Counts::device_to_device,
                              [=] { memmove(device_memory(to, bytes), device_memory(from, bytes), bytes); });
    });
}
API cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void* stream) {
    return guarded([&] {
        if (!inside(to, bytes)) return INVALID_VALUE;
        count(&Counts::memsets);
        return submit(stream, [=] { memset(device_memory(to, bytes), value, bytes); });
    });
}
API cuMemcpyPeerAsync(uint64_t to, void*, uint64_t from, void*, size_t bytes, void* stream) {
    return cuMemcpyDtoDAsync_v2(to, from, bytes, stream);
}

// The calls without a stream end before they return.
static int finished(int result) {
    if (result != SUCCESS) return result;
    return guarded([] {
        finish_pending();
        return SUCCESS;
    });
}
API cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) {
    return finished(cuMemcpyHtoDAsync_v2(to, from, bytes, nullptr));
}
API cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes) {
    return finished(cuMemcpyDtoHAsync_v2(to, from, bytes, nullptr));
}
API cuMemcpyDtoD_v2(uint64_t to, uint64_t from, size_t bytes) {
    return finished(cuMemcpyDtoDAsync_v2(to, from, bytes, nullptr));
}
API cuMemsetD8_v2(uint64_t to, unsigned char value, size_t bytes) {
    return finished(cuMemsetD8Async(to, value, bytes, nullptr));
}
