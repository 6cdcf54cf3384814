// Device memory. An allocation ends, up to 16 bytes of alignment, at an inaccessible page and starts out as
// 0xff, so that reading what was never written gives NaN. Whatever lies around it within its pages keeps that
// value too: when the memory is freed, anything else there was written out of bounds.
#include "emulator.h"
#include "fiber.h"
#include <map>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

namespace emu {

namespace {

const size_t PAGE = 4096, ALIGNMENT = 16;

struct Allocation {
    char* map;
    size_t mapped; // without the inaccessible page
    size_t bytes;
    int device;
};

std::map<uint64_t, Allocation>& allocations() {
    static auto* map = new std::map<uint64_t, Allocation>; // outlives the statics of other libraries
    return *map;
}

struct sigaction previous_segv, previous_bus;

void report(const char* address) {
    char text[600];
    int length = snprintf(text, sizeof text, "cuda emulator: illegal address %p in %s\n", (const void*)address,
                          where().c_str());
    for (const auto& [pointer, memory] : allocations()) {
        if (address < memory.map || address >= memory.map + memory.mapped + PAGE) continue;
        const uint64_t at = (uint64_t)address, end = pointer + memory.bytes;
        char* rest = text + length;
        const size_t room = sizeof text - (size_t)length;
        if (at < pointer)
            length += snprintf(rest, room, "  %llu bytes before an allocation of %zu bytes\n",
                               (unsigned long long)(pointer - at), memory.bytes);
        else if (at < end)
            length += snprintf(rest, room, "  the allocation belongs to device %d\n", memory.device);
        else
            length += snprintf(rest, room, "  %llu bytes past the end of an allocation of %zu bytes\n",
                               (unsigned long long)(at - end), memory.bytes);
        break;
    }
    if (is_stack_overflow(address)) length += snprintf(text + length, sizeof text - length, "  a thread's stack is full\n");
    if (write(2, text, (size_t)length) < 0) _exit(135);
}

void on_fault(int signal, siginfo_t* info, void*) {
    if (!in_kernel()) { // not ours: the fault happens again under the previous handler
        sigaction(signal, signal == SIGSEGV ? &previous_segv : &previous_bus, nullptr);
        return;
    }
    report(static_cast<const char*>(info->si_addr));
    _exit(134);
}

void catch_faults() {
    static bool caught = false;
    if (caught) return;
    caught = true;
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &previous_segv);
    sigaction(SIGBUS, &action, &previous_bus);
}

bool is_fresh(const char* from, const char* to) {
    for (; from < to; ++from)
        if ((unsigned char)*from != 0xff) return false;
    return true;
}

} // namespace

uint64_t allocate(size_t bytes, int device) {
    catch_faults();
    const size_t mapped = (bytes + PAGE - 1) / PAGE * PAGE, used = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void* map = mmap(nullptr, mapped + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return 0;
    char* start = static_cast<char*>(map);
    mprotect(start + mapped, PAGE, PROT_NONE);
    memset(start, 0xff, mapped);
    const uint64_t pointer = (uint64_t)(start + mapped - used);
    allocations()[pointer] = {start, mapped, bytes, device};
    return pointer;
}

bool release(uint64_t pointer) {
    auto found = allocations().find(pointer);
    if (found == allocations().end()) return false;
    const Allocation& memory = found->second;
    const char* start = reinterpret_cast<const char*>(pointer);
    if (!is_fresh(memory.map, start) || !is_fresh(start + memory.bytes, memory.map + memory.mapped)) {
        fprintf(stderr, "cuda emulator: something was written next to an allocation of %zu bytes\n", memory.bytes);
        abort();
    }
    munmap(memory.map, memory.mapped + PAGE);
    allocations().erase(found);
    return true;
}

size_t bytes_allocated(int device) {
    size_t sum = 0;
    for (const auto& entry : allocations())
        if (entry.second.device == device) sum += entry.second.bytes;
    return sum;
}

bool inside(uint64_t pointer, size_t bytes) {
    auto next = allocations().upper_bound(pointer);
    if (next == allocations().begin()) return bytes == 0;
    const auto& [start, memory] = *--next;
    return pointer + bytes <= start + memory.bytes;
}

static void protect_others(int device, int protection) {
    for (const auto& entry : allocations()) {
        const Allocation& memory = entry.second;
        if (memory.device != device) mprotect(memory.map, memory.mapped, protection);
    }
}
OtherDevicesFenced::OtherDevicesFenced(int device) : device(device) { protect_others(device, PROT_NONE); }
OtherDevicesFenced::~OtherDevicesFenced() { protect_others(device, PROT_READ | PROT_WRITE); }

} // namespace emu
