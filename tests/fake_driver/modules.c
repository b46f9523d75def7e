// Modules and kernels: cubins are read for the names and parameters of their kernels; launches go to Python.
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"

#define MAX_PARAMETERS 64
#define KPARAM_INFO 0x17 // of a kernel's .nv.info section: a parameter's number, place and size
#define SIZED 0x04       // an attribute that is followed by so many bytes

typedef struct Kernel {
    char *name;
    int device;    // -1: of a library, which has no device
    int is_played; // found out at the first launch
    int parameters;
    int sizes[MAX_PARAMETERS];
    struct Kernel *next;
} Kernel;

typedef struct Module {
    int device;
    Kernel *kernels;
} Module;

// ---- Cubins

static void read_parameters(const unsigned char *info, size_t size, Kernel *kernel) {
    for (size_t at = 0; at + 4 <= size;) {
        unsigned format = info[at], attribute = info[at + 1], length = info[at + 2] | info[at + 3] << 8;
        at += 4;
        if (format != SIZED) continue; // its value is in the length
        if (attribute == KPARAM_INFO && length >= 12 && at + 12 <= size) {
            uint16_t ordinal;
            uint32_t packed;
            memcpy(&ordinal, info + at + 4, 2);
            memcpy(&packed, info + at + 8, 4);
            if (ordinal < MAX_PARAMETERS) {
                kernel->sizes[ordinal] = packed >> 18;
                if (ordinal >= kernel->parameters) kernel->parameters = ordinal + 1;
            }
        }
        at += length;
    }
}

static Kernel *read_cubin(const unsigned char *image, int device) {
    static const char prefix[] = ".nv.info.";
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)image;
    if (memcmp(header->e_ident, ELFMAG, SELFMAG)) return NULL;
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(image + header->e_shoff);
    const char *names = (const char *)image + sections[header->e_shstrndx].sh_offset;
    Kernel *kernels = NULL;
    for (int number = 0; number < header->e_shnum; number++) {
        const char *name = names + sections[number].sh_name;
        if (strncmp(name, prefix, strlen(prefix))) continue;
        Kernel *kernel = calloc(1, sizeof *kernel);
        kernel->name = strdup(name + strlen(prefix));
        kernel->device = device;
        kernel->next = kernels;
        read_parameters(image + sections[number].sh_offset, sections[number].sh_size, kernel);
        kernels = kernel;
    }
    return kernels;
}

static Module *load(const void *image, int device) {
    Module *module = calloc(1, sizeof *module);
    module->device = device;
    module->kernels = read_cubin(image, device);
    return module;
}

static Status find_kernel(Kernel **found, const Module *module, const char *name) {
    for (Kernel *kernel = module->kernels; kernel; kernel = kernel->next)
        if (!strcmp(kernel->name, name)) {
            *found = kernel;
            return SUCCESS;
        }
    return NOT_FOUND;
}

EXPORT Status cuLibraryLoadData(Module **library, const void *image, int *jit_options, void **jit_values,
                                unsigned jit_count, int *options, void **values, unsigned option_count) {
    CALL();
    *library = load(image, -1);
    return SUCCESS;
}

EXPORT Status cuLibraryUnload(Module *library) { return SUCCESS; }

EXPORT Status cuLibraryGetKernel(Kernel **kernel, Module *library, const char *name) {
    CALL();
    return find_kernel(kernel, library, name);
}

EXPORT Status cuLibraryGetModule(Module **module, Module *library) {
    *module = library;
    return SUCCESS;
}

EXPORT Status cuModuleLoadDataEx(Module **module, const void *image, unsigned count, int *options, void **values) {
    CALL();
    if (!current_context()) return INVALID_CONTEXT;
    *module = load(image, current_context()->device);
    return SUCCESS;
}

EXPORT Status cuModuleLoadData(Module **module, const void *image) {
    return cuModuleLoadDataEx(module, image, 0, NULL, NULL);
}

EXPORT Status cuModuleUnload(Module *module) { return SUCCESS; }

EXPORT Status cuModuleGetFunction(Kernel **kernel, Module *module, const char *name) {
    CALL();
    return find_kernel(kernel, module, name);
}

EXPORT Status cuKernelGetFunction(Kernel **function, Kernel *kernel) {
    *function = kernel;
    return SUCCESS;
}

EXPORT Status cuFuncGetAttribute(int *value, int attribute, Kernel *kernel) {
    CALL();
    *value = attribute == 0 ? 1024 : attribute == 4 ? 40 : 0; // threads of a block, registers of a thread
    return SUCCESS;
}

EXPORT Status cuKernelGetAttribute(int *value, int attribute, Kernel *kernel, int device) {
    return cuFuncGetAttribute(value, attribute, kernel);
}

EXPORT Status cuFuncSetAttribute(Kernel *kernel, int attribute, int value) { return SUCCESS; }

EXPORT Status cuFuncGetModule(Module **module, Kernel *kernel) {
    static Module unknown;
    *module = &unknown;
    return SUCCESS;
}

// ---- Launches

// Plays a kernel. It returns 0, or the status with which the device is lost.
typedef Status (*Player)(const char *name, const unsigned *grid, const unsigned *block, int count, const int *sizes,
                         void *const *values, int device);

static Player player;
static int (*is_played)(const char *name);

EXPORT void fake_play_kernels(Player function, int (*predicate)(const char *name)) {
    player = function;
    is_played = predicate;
}

typedef struct Launch {
    const Kernel *kernel;
    unsigned grid[3], block[3];
    int device;
    unsigned char values[]; // each in as many words of 8 bytes as it needs
} Launch;

static int words_of(int size) { return (size + 7) / 8; }

static void launch_now(void *argument) {
    Launch *launch = argument;
    const Kernel *kernel = launch->kernel;
    void *values[MAX_PARAMETERS];
    size_t at = 0;
    for (int number = 0; number < kernel->parameters; number++) {
        values[number] = launch->values + at;
        at += 8 * words_of(kernel->sizes[number]);
    }
    if (lost_status()) return;
    Status status = player(kernel->name, launch->grid, launch->block, kernel->parameters, kernel->sizes, values,
                           launch->device);
    if (status) lose_devices(status);
}

static Status queue_launch(Kernel *kernel, const unsigned *grid, const unsigned *block, void *stream,
                           void **arguments) {
    if (!current_context()) return INVALID_CONTEXT;
    int device = current_context()->device;
    unsigned threads = block[0] * block[1] * block[2];
    if (!grid[0] || !grid[1] || !grid[2] || !threads || threads > 1024 || grid[1] > 65535 || grid[2] > 65535)
        return INVALID_VALUE;
    if (kernel->device >= 0 && kernel->device != device) return INVALID_HANDLE;
    Context *context;
    if (cuStreamGetCtx(stream, &context) || context->device != device) {
        fprintf(stderr, "fake driver: a launch on a stream of another device\n");
        return INVALID_HANDLE;
    }
    if (!kernel->is_played) kernel->is_played = player && is_played(kernel->name);
    if (!kernel->is_played) {
        fprintf(stderr, "fake driver: nothing plays the kernel %s\n", kernel->name);
        return NOT_SUPPORTED;
    }
    size_t bytes = 0;
    for (int number = 0; number < kernel->parameters; number++) bytes += 8 * words_of(kernel->sizes[number]);
    Launch *launch = calloc(1, sizeof *launch + bytes);
    launch->kernel = kernel;
    launch->device = device;
    memcpy(launch->grid, grid, sizeof launch->grid);
    memcpy(launch->block, block, sizeof launch->block);
    unsigned char *value = launch->values;
    for (int number = 0; number < kernel->parameters; number++) {
        memcpy(value, arguments[number], kernel->sizes[number]);
        value += 8 * words_of(kernel->sizes[number]);
    }
    return queue(stream, launch_now, launch, 0, 0, 0, 0);
}

EXPORT Status cuLaunchKernel(Kernel *kernel, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                             unsigned block_y, unsigned block_z, unsigned shared, void *stream, void **arguments,
                             void **extra) {
    CALL();
    unsigned grid[] = {grid_x, grid_y, grid_z}, block[] = {block_x, block_y, block_z};
    return queue_launch(kernel, grid, block, stream, arguments);
}

typedef struct LaunchConfig {
    unsigned grid[3], block[3], shared;
    void *stream, *attributes;
    unsigned attribute_count;
} LaunchConfig;

EXPORT Status cuLaunchKernelEx(const LaunchConfig *config, Kernel *kernel, void **arguments, void **extra) {
    CALL();
    return queue_launch(kernel, config->grid, config->block, config->stream, arguments);
}

// ---- Work of libraries that is played in Python

typedef struct Task {
    Status (*function)(long);
    long number;
} Task;

static void do_task(void *argument) {
    const Task *task = argument;
    if (lost_status()) return;
    Status status = task->function(task->number);
    if (status) lose_devices(status);
}

// Queue a call with a number, by which Python knows it again; it returns as a Player does.
EXPORT Status fake_queue(void *stream, Status (*function)(long), long number) {
    CALL();
    Task *task = malloc(sizeof *task);
    *task = (Task){function, number};
    return queue(stream, do_task, task, 0, 0, 0, 0);
}
