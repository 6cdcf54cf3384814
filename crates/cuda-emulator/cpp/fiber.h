// Stacks to switch between.
#pragma once

// On x86-64 a few instructions do; elsewhere ucontext, which makes two system calls a switch.
#if defined(__x86_64__) && !defined(EMU_UCONTEXT)
#define EMU_ASSEMBLY 1
typedef void* Context; // the stack pointer; the registers lie on the stack
extern "C" __attribute__((visibility("hidden"))) void emu_switch_stack(void** save, void* load);
inline void switch_context(Context* from, Context* to) { emu_switch_stack(from, *to); }
#else
#include <ucontext.h>
typedef ucontext_t Context;
inline void switch_context(Context* from, Context* to) { swapcontext(from, to); }
#endif

namespace emu {
struct Fiber {
    Context context;
};
// A fiber that runs `body`, which never returns, at the first switch to it. Fibers live until the process ends.
Fiber* new_fiber(void (*body)());
// Whether `address` lies in the page below a fiber's stack.
bool is_stack_overflow(const void* address);
} // namespace emu
