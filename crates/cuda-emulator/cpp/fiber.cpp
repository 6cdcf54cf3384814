#include "fiber.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <vector>

#ifdef EMU_ASSEMBLY
// Saves the registers that a call must keep, changes stacks, takes the other stack's registers. It jumps back
// instead of returning: the processor predicts a jump by where it went before, a return by the last call, which
// was another stack's.
asm(R"(
    .text
    .hidden emu_switch_stack
    .globl emu_switch_stack
    .type emu_switch_stack,@function
emu_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    popq %rcx
    jmp *%rcx
    .size emu_switch_stack,.-emu_switch_stack
    .section .note.GNU-stack,"",@progbits
    .text
)");
#endif

namespace emu {

namespace {
const size_t STACK = 128 * 1024, PAGE = 4096;
std::vector<char*> stacks; // each with an inaccessible page at its low end
} // namespace

Fiber* new_fiber(void (*body)()) {
    void* map = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED || mprotect(map, PAGE, PROT_NONE) != 0) {
        perror("cuda emulator: no memory for a stack");
        abort();
    }
    char* stack = static_cast<char*>(map);
    // Tops at the same place of every stack would share a few lines of the processor's caches.
    const size_t size = STACK - stacks.size() * 320 % 8192;
    stacks.push_back(stack);
    Fiber* fiber = new Fiber;
#ifdef EMU_ASSEMBLY
    // Six registers, then the address to return to; at `body` the stack is aligned as after a call.
    void** top = reinterpret_cast<void**>(stack + size);
    top[-2] = reinterpret_cast<void*>(body);
    fiber->context = top - 8;
#else
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = stack;
    fiber->context.uc_stack.ss_size = size;
    fiber->context.uc_link = nullptr;
    makecontext(&fiber->context, body, 0);
#endif
    return fiber;
}

bool is_stack_overflow(const void* address) {
    for (const char* stack : stacks)
        if (address >= stack && address < stack + PAGE) return true;
    return false;
}

} // namespace emu
