// Runs a launch on one processor: block after block, every CUDA thread of a block as a fiber.
//
// A thread that never waits costs two switches of stacks and no stack of its own: stacks belong to workers,
// a worker is taken when a thread starts and is free again when the thread ends. Only threads that wait at a
// barrier keep theirs.
#include "device.h"
#include "fiber.h"
#include <algorithm>
#include <numeric>
#include <random>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <vector>

namespace emu {

uint3 thread_index, block_index;
dim3 block_size, grid_size;
unsigned lane;
uint64_t block_number;

namespace {

enum class State : uint8_t { NotStarted, Ready, AtBarrier, AtWarp, Done };

struct Thread {
    Fiber* fiber;
    State state;
    uint16_t x, y, z; // in the block
    // Of the call at which the thread waits.
    int line;
    const char* what;
    unsigned mask;
    int source;
    Fold fold;
    uint64_t result;
};

struct Warp {
    uint64_t values[32];
    unsigned arrived;
};

// Launches are serialised by the driver's lock, so one of each is enough.
const Kernel* running;
void** arguments;
Thread* current;
Context scheduler_context;
std::vector<Thread> threads; // of the block that runs
std::vector<Warp> warps;
unsigned thread_count, done, at_barrier;
int barrier_line;
std::vector<Fiber*> free_fibers;

struct Order {
    enum Kind { Forward, Reverse, Random } kind = Forward;
    std::mt19937 random;
};

Order& order() {
    static Order chosen = [] {
        Order order;
        const char* text = getenv("EMU_ORDER");
        std::string name = text ? text : "forward";
        if (name == "reverse") {
            order.kind = Order::Reverse;
        } else if (name.compare(0, 6, "random") == 0) {
            order.kind = Order::Random;
            order.random.seed(name.size() > 7 ? (unsigned)atoi(name.c_str() + 7) : 1u);
        } else if (name != "forward") {
            fail("EMU_ORDER=%s: forward, reverse or random:SEED", text);
        }
        return order;
    }();
    return chosen;
}

void fiber_main() {
    for (;;) {
        running->call(arguments);
        current->state = State::Done;
        switch_context(&current->fiber->context, &scheduler_context);
    }
}

void wait() { switch_context(&current->fiber->context, &scheduler_context); }

// Runs one thread until it waits or ends.
void resume(unsigned index) {
    Thread& thread = threads[index];
    thread_index = {thread.x, thread.y, thread.z};
    lane = index % 32;
    current = &thread;
    if (thread.state == State::NotStarted) {
        if (free_fibers.empty()) free_fibers.push_back(new_fiber(fiber_main));
        thread.fiber = free_fibers.back();
        free_fibers.pop_back();
    }
    thread.state = State::Ready;
    switch_context(&scheduler_context, &thread.fiber->context);
    if (thread.state == State::Done) {
        free_fibers.push_back(thread.fiber);
        ++done;
    }
}

unsigned existing_lanes(unsigned warp) {
    unsigned first = warp * 32;
    return thread_count - first >= 32 ? 0xffffffffu : (1u << (thread_count - first)) - 1;
}

// Whether every lane that `thread` waits for has come to the same call; reports those that never will.
bool complete(unsigned warp, const Thread& thread, unsigned needed) {
    for (unsigned i = 0; i < 32; ++i) {
        if (!(needed >> i & 1)) continue;
        const Thread& other = threads[warp * 32 + i];
        if (other.state == State::Done)
            fail("%s line %d: mask %08x names lane %u, which has exited", thread.what, thread.line, thread.mask, i);
        if (other.state == State::AtBarrier)
            fail("%s line %d: lane %u waits at __syncthreads line %d instead", thread.what, thread.line, i, other.line);
    }
    if ((warps[warp].arrived & needed) != needed) return false;
    for (unsigned i = 0; i < 32; ++i) {
        if (!(needed >> i & 1)) continue;
        const Thread& other = threads[warp * 32 + i];
        if (other.line != thread.line || other.mask != thread.mask || other.what != thread.what)
            fail("lanes of one warp meet at different calls: %s line %d mask %08x and %s line %d mask %08x", thread.what,
                 thread.line, thread.mask, other.what, other.line, other.mask);
    }
    return true;
}

// Lets the lanes of a warp go on whose masks are complete.
bool release_warp(unsigned warp) {
    Warp& meeting = warps[warp];
    bool released = false;
    for (unsigned i = 0; i < 32 && meeting.arrived; ++i) {
        if (!(meeting.arrived >> i & 1)) continue;
        const Thread& first = threads[warp * 32 + i];
        const unsigned existing = existing_lanes(warp), needed = first.mask & existing;
        if (!complete(warp, first, needed)) continue;
        const uint64_t folded = first.fold ? first.fold(meeting.values, needed) : 0;
        for (unsigned j = i; j < 32; ++j) {
            if (!(needed >> j & 1)) continue;
            Thread& thread = threads[warp * 32 + j];
            if (!thread.fold && !(thread.mask >> thread.source & 1))
                fail("%s line %d: lane %u reads lane %d, which mask %08x leaves out", thread.what, thread.line, j,
                     thread.source, thread.mask);
            // A lane that does not exist, in the last warp of an odd block, has nothing to give: NaN.
            if (thread.fold) thread.result = folded;
            else thread.result = existing >> thread.source & 1 ? meeting.values[thread.source] : ~0ull;
            thread.state = State::Ready;
        }
        meeting.arrived &= ~needed;
        released = true;
    }
    return released;
}

// One warp runs until all its threads wait at __syncthreads or have ended, while the others stand still:
// in forward order early warps read what late ones have not yet written, in reverse order late warps
// overwrite what early ones have not yet read. Random orders break off now and then.
bool run_warp(unsigned warp, const std::vector<unsigned>& lanes) {
    bool moved = false;
    for (bool again = true; again;) {
        for (unsigned i : lanes) {
            unsigned index = warp * 32 + i;
            if (index >= thread_count || threads[index].state > State::Ready) continue;
            resume(index);
            moved = true;
        }
        again = warps[warp].arrived && release_warp(warp);
        moved |= again;
        if (order().kind == Order::Random && order().random() % 4 == 0) break;
    }
    return moved;
}

bool release_block() {
    if (at_barrier == thread_count) {
        for (Thread& thread : threads) {
            if (thread.line != barrier_line)
                fail("__syncthreads reached at different lines: %d and %d", barrier_line, thread.line);
            thread.state = State::Ready;
        }
        at_barrier = 0;
        return true;
    }
    if (at_barrier > 0 && at_barrier + done == thread_count)
        fail("__syncthreads line %d: %u threads wait, %u have exited", barrier_line, at_barrier, done);
    return false;
}

void run_block(std::vector<unsigned>& warp_order, std::vector<unsigned>& lanes) {
    ++block_number;
    done = at_barrier = 0;
    for (Thread& thread : threads) thread.state = State::NotStarted;
    while (done < thread_count) {
        if (order().kind == Order::Random) {
            std::shuffle(warp_order.begin(), warp_order.end(), order().random);
            std::shuffle(lanes.begin(), lanes.end(), order().random);
        }
        bool moved = false;
        for (unsigned warp : warp_order) moved |= run_warp(warp, lanes);
        moved |= release_block();
        if (!moved) fail("deadlock: %u threads have ended, %u wait at __syncthreads", done, at_barrier);
    }
}

std::vector<unsigned> numbers(size_t count) {
    std::vector<unsigned> numbers(count);
    std::iota(numbers.begin(), numbers.end(), 0);
    if (order().kind == Order::Reverse) std::reverse(numbers.begin(), numbers.end());
    return numbers;
}

} // namespace

void launch(const Kernel& kernel, dim3 grid, dim3 block, void** parameters) {
    running = &kernel;
    arguments = parameters;
    block_size = block;
    grid_size = grid;
    thread_count = block.x * block.y * block.z;
    threads.resize(thread_count);
    warps.resize((thread_count + 31) / 32);
    for (Warp& warp : warps) warp.arrived = 0;
    Thread* thread = threads.data();
    for (unsigned z = 0; z < block.z; ++z)
        for (unsigned y = 0; y < block.y; ++y)
            for (unsigned x = 0; x < block.x; ++x, ++thread)
                thread->x = (uint16_t)x, thread->y = (uint16_t)y, thread->z = (uint16_t)z;

    std::vector<unsigned> warp_order = numbers(warps.size()), lanes = numbers(32);
    std::vector<unsigned> blocks = numbers((size_t)grid.x * grid.y * grid.z);
    if (order().kind == Order::Random) std::shuffle(blocks.begin(), blocks.end(), order().random);
    for (unsigned number : blocks) {
        block_index = {number % grid.x, number / grid.x % grid.y, number / (grid.x * grid.y)};
        run_block(warp_order, lanes);
    }
    running = nullptr;
}

void wait_for_block(int line) {
    current->state = State::AtBarrier;
    current->line = line;
    if (at_barrier++ == 0) barrier_line = line;
    wait();
}

uint64_t exchange(const char* what, int line, unsigned mask, uint64_t value, int source, Fold fold) {
    Thread& thread = *current;
    const unsigned me = lane;
    if (!(mask >> me & 1)) fail("%s line %d: lane %u calls with mask %08x, which leaves it out", what, line, me, mask);
    thread.state = State::AtWarp;
    thread.line = line;
    thread.what = what;
    thread.mask = mask;
    thread.source = source;
    thread.fold = fold;
    Warp& warp = warps[(size_t)(current - threads.data()) / 32];
    warp.values[me] = value;
    warp.arrived |= 1u << me;
    wait();
    return thread.result;
}

void poison_shared(unsigned declaration) {
    Shared& variables = shared[declaration];
    if (!variables.start) { // g++ before version 14 ignores the section of a variable in a template
        fail("__shared__ in a template is not emulated with this compiler: declare it in the kernel, pass a pointer");
    }
    variables.poisoned_in_block = block_number;
    memset(variables.start, 0xff, (size_t)(variables.stop - variables.start)); // NaN
}

bool in_kernel() { return running != nullptr; }

std::string where() {
    if (!running) return "outside a kernel";
    char text[200];
    snprintf(text, sizeof text, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u)", running->name, block_index.x,
             block_index.y, block_index.z, thread_index.x, thread_index.y, thread_index.z);
    return text;
}

void fail(const char* format, ...) {
    va_list list;
    va_start(list, format);
    fprintf(stderr, "cuda emulator: ");
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "\n  in %s\n", where().c_str());
    abort();
}

} // namespace emu
