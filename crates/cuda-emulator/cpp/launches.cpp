// Modules, kernels, streams and graphs.
#include "driver.h"
#include <memory>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace emu {

Stream& stream_of(void* handle) {
    const uintptr_t legacy_default = 1, per_thread_default = 2;
    const uintptr_t value = reinterpret_cast<uintptr_t>(handle);
    const bool is_default = value == 0 || value == legacy_default || value == per_thread_default;
    return is_default ? driver().default_stream : *static_cast<Stream*>(handle);
}

Result submit(void* handle, Operation operation) {
    Stream& stream = stream_of(handle);
    if (stream.captured) {
        stream.captured->operations.push_back(std::move(operation));
    } else if (settings().lazy) {
        driver().pending.emplace_back(&stream, std::move(operation));
    } else {
        operation();
    }
    return SUCCESS;
}

// A launch or copy, or a graph of them, goes to the device.
static Result count_operation(Counter counter) {
    count(counter);
    Driver& state = driver();
    ++state.operations;
    if (settings().fail_after > 0 && state.operations >= settings().fail_after) {
        state.lost = true;
        state.pending.clear();
        return ILLEGAL_ADDRESS;
    }
    return SUCCESS;
}

Result submit_counted(void* stream, Counter counter, Operation operation) {
    if (!stream_of(stream).captured) {
        if (Result error = count_operation(counter)) return error;
    }
    return submit(stream, std::move(operation));
}

namespace {

// The text is not executed; it must name what is asked of it, and the driver must be new enough to read it.
struct Module {
    std::string ptx; // empty for a binary image
};

// The newest PTX ISA that a driver reads, as 80 for 8.0 (table of the PTX ISA's release notes).
int newest_isa(int driver) {
    static const struct {
        int driver, isa;
    } table[] = {{13000, 90}, {12090, 88}, {12080, 87}, {12070, 86}, {12050, 85}, {12040, 84}, {12030, 83}, {12020, 82},
                 {12010, 81}, {12000, 80}, {11080, 78}, {11070, 77}, {11060, 76}, {11050, 75}, {11040, 74}, {11030, 73},
                 {11020, 72}, {11010, 71}, {11000, 70}};
    for (const auto& entry : table)
        if (driver >= entry.driver) return entry.isa;
    return 65;
}

Result check_ptx(const char* text) {
    int major = 0, minor = 0, target = 0;
    const char* version = strstr(text, ".version ");
    if (!version || sscanf(version, ".version %d.%d", &major, &minor) != 2) return INVALID_PTX;
    if (major * 10 + minor > newest_isa(settings().driver)) return UNSUPPORTED_PTX_VERSION;
    const char* line = strstr(text, ".target ");
    if (line && sscanf(line, ".target sm_%d", &target) == 1 && target > settings().capability) return INVALID_PTX;
    return SUCCESS;
}

const Kernel* find_kernel(const std::string& name) {
    for (size_t i = 0; i < kernel_count; ++i)
        if (name == kernels[i].name) return &kernels[i];
    return nullptr;
}

// A copy of the parameters, as a launch takes one.
struct Parameters {
    struct alignas(16) Slot {
        char bytes[16];
    };
    std::vector<Slot> slots;
    std::vector<void*> pointers;

    Parameters(const Kernel& kernel, void** given) : pointers(kernel.parameters) {
        std::vector<size_t> first(kernel.parameters);
        size_t total = 0;
        for (size_t i = 0; i < kernel.parameters; ++i) {
            first[i] = total;
            total += (kernel.parameter_sizes[i] + sizeof(Slot) - 1) / sizeof(Slot);
        }
        slots.resize(total);
        for (size_t i = 0; i < kernel.parameters; ++i) {
            pointers[i] = &slots[first[i]];
            memcpy(pointers[i], given[i], kernel.parameter_sizes[i]);
        }
    }
};

Result check_launch(const Kernel& kernel, dim3 grid, dim3 block, unsigned dynamic_shared) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || block.x == 0 || block.y == 0 || block.z == 0) return INVALID_VALUE;
    if (grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535) return INVALID_VALUE;
    if (block.x > 1024 || block.y > 1024 || block.z > 64) return INVALID_VALUE;
    const unsigned threads = block.x * block.y * block.z;
    if (threads > 1024) return INVALID_VALUE;
    if (kernel.max_threads && threads > kernel.max_threads) return LAUNCH_OUT_OF_RESOURCES;
    if (dynamic_shared > 0) {
        fprintf(stderr, "cuda emulator: %s is launched with dynamic shared memory, which is not emulated\n", kernel.name);
        return NOT_SUPPORTED;
    }
    return SUCCESS;
}

} // namespace
} // namespace emu

using namespace emu;

// ---------------------------------------------------------------- modules
API cuModuleLoadData(void** module, const void* image) {
    return guarded([&] {
        const char* text = static_cast<const char*>(image);
        const bool binary = memcmp(text, "\x7f" "ELF", 4) == 0;
        if (!binary) {
            if (Result error = check_ptx(text)) return error;
        }
        *module = new Module{binary ? "" : text};
        return SUCCESS;
    });
}
API cuModuleUnload(void* module) {
    return guarded([&] {
        delete static_cast<Module*>(module);
        return SUCCESS;
    });
}
API cuModuleGetFunction(void** function, void* module, const char* name) {
    return guarded([&] {
        const std::string& ptx = static_cast<Module*>(module)->ptx;
        const Kernel* kernel = find_kernel(name);
        const bool named = ptx.empty() || ptx.find(std::string(".entry ") + name + "(") != std::string::npos;
        *function = const_cast<Kernel*>(kernel);
        return kernel && named ? SUCCESS : NOT_FOUND;
    });
}
API cuFuncGetAttribute(int* value, int attribute, void* function) {
    const unsigned bound = static_cast<Kernel*>(function)->max_threads;
    const int max_threads_per_block = 0, registers = 4;
    *value = attribute == max_threads_per_block ? (int)(bound ? bound : 1024) : attribute == registers ? 32 : 0;
    return SUCCESS;
}
API cuFuncSetAttribute(void*, int, int) { return SUCCESS; }
API cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, void*, int, size_t, unsigned) {
    *blocks = 8;
    return SUCCESS;
}
API cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void*, int, size_t) {
    *blocks = 8;
    return SUCCESS;
}

// ---------------------------------------------------------------- launches
API cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned dynamic_shared, void* stream, void** given, void**) {
    return guarded([&] {
        const Kernel& kernel = *static_cast<const Kernel*>(function);
        const dim3 grid = {grid_x, grid_y, grid_z}, block = {block_x, block_y, block_z};
        if (Result error = check_launch(kernel, grid, block, dynamic_shared)) return error;
        auto parameters = std::make_shared<Parameters>(kernel, given);
        const int device = current_device();
        return submit_counted(stream, &Counts::launches, [=, &kernel] {
            if (settings().devices == 1) return launch(kernel, grid, block, parameters->pointers.data());
            OtherDevicesFenced fence(device);
            launch(kernel, grid, block, parameters->pointers.data());
        });
    });
}
API cuLaunchCooperativeKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*,
                              void**) {
    return NOT_SUPPORTED; // blocks run one after the other and cannot wait for each other
}
API cuLaunchHostFunc(void* stream, void (*function)(void*), void* data) {
    return guarded([&] { return submit(stream, [=] { function(data); }); });
}

// ---------------------------------------------------------------- streams
API cuStreamCreate(void** stream, unsigned) {
    return guarded([&] {
        *stream = new Stream;
        return SUCCESS;
    });
}
API cuStreamCreateWithPriority(void** stream, unsigned flags, int) { return cuStreamCreate(stream, flags); }
API cuStreamDestroy_v2(void* stream) {
    return guarded([&] {
        finish_pending(static_cast<Stream*>(stream));
        delete static_cast<Stream*>(stream);
        return SUCCESS;
    });
}

// ---------------------------------------------------------------- graphs
API cuStreamBeginCapture_v2(void* handle, int) {
    return guarded([&] {
        Stream& stream = stream_of(handle);
        if (&stream == &driver().default_stream) return CAPTURE_UNSUPPORTED;
        if (stream.captured) return INVALID_VALUE;
        stream.captured = new Graph;
        return SUCCESS;
    });
}
API cuStreamEndCapture(void* handle, void** graph) {
    return guarded([&] {
        Stream& stream = stream_of(handle);
        *graph = stream.captured;
        stream.captured = nullptr;
        return *graph ? SUCCESS : INVALID_VALUE;
    });
}
API cuStreamIsCapturing(void* stream, int* status) {
    return guarded([&] {
        *status = stream_of(stream).captured != nullptr;
        return SUCCESS;
    });
}
API cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
    return guarded([&] {
        *executable = new Graph(*static_cast<Graph*>(graph));
        return SUCCESS;
    });
}
API cuGraphUpload(void*, void*) {
    return guarded([] { return SUCCESS; });
}
API cuGraphLaunch(void* executable, void* stream) {
    return guarded([&] {
        const Graph graph = *static_cast<Graph*>(executable); // it may be destroyed before the work is done
        return submit_counted(stream, &Counts::graph_launches, [graph] {
            for (const Operation& operation : graph.operations) operation();
        });
    });
}
API cuGraphExecDestroy(void* executable) {
    return guarded([&] {
        delete static_cast<Graph*>(executable);
        return SUCCESS;
    });
}
API cuGraphDestroy(void* graph) {
    return guarded([&] {
        delete static_cast<Graph*>(graph);
        return SUCCESS;
    });
}
