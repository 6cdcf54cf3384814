// What the parts of the emulator say to each other: the kernels of the program, the scheduler that runs them,
// the memory they may touch.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string>

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

namespace emu {

struct Kernel {
    const char* name;
    const size_t* parameter_sizes;
    size_t parameters;
    unsigned max_threads;            // of __launch_bounds__, 0 when the kernel names none
    void (*call)(void** parameters); // runs the body for the current thread
};

// kernels.cpp: made by the Rust side, tables of what the kernel source declares.
extern const Kernel kernels[];
extern const size_t kernel_count;

// The variables of one `__shared__` declaration, and the block for which they were last poisoned.
struct Shared {
    char *start, *stop;
    uint64_t poisoned_in_block;
};
extern Shared shared[];

// scheduler.cpp
extern uint64_t block_number; // counts all blocks that ever ran
void poison_shared(unsigned declaration);
void launch(const Kernel& kernel, dim3 grid, dim3 block, void** parameters);
bool in_kernel();
// Kernel, block and thread that run now.
std::string where();
// Reports a bug of the program under test, and where it is, and ends the process.
[[noreturn]] void fail(const char* format, ...);

// memory.cpp: device memory. The caller holds the driver's lock.
uint64_t allocate(size_t bytes, int device); // 0: no memory left
bool release(uint64_t pointer);
size_t bytes_allocated(int device);
// Whether [pointer, pointer + bytes) lies inside one allocation.
bool inside(uint64_t pointer, size_t bytes);
// Takes the memory of all devices but this one out of reach while a kernel runs.
struct OtherDevicesFenced {
    explicit OtherDevicesFenced(int device);
    ~OtherDevicesFenced();
    int device;
};

} // namespace emu
