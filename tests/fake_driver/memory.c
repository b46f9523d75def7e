// Memory of devices and pinned memory, both of which are the host's; copies, which land when their stream is run.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"

#define TOTAL_BYTES (80ull << 30)
#define GARBAGE 0xA5
#define ALIGNMENT 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Allocation *allocations;
static size_t count, room;
static size_t used[MAX_DEVICES];
static size_t capacity = TOTAL_BYTES;

static Allocation *find(Address address) {
    for (size_t number = count; number-- > 0;)
        if (address >= allocations[number].base && address < allocations[number].base + allocations[number].size)
            return &allocations[number];
    return NULL;
}

int find_allocation(Address address, Allocation *found) {
    pthread_mutex_lock(&lock);
    Allocation *allocation = find(address);
    if (allocation) *found = *allocation;
    pthread_mutex_unlock(&lock);
    return allocation != NULL;
}

static void add(Address base, size_t size, int device, int kind) {
    if (count == room) allocations = realloc(allocations, (room = room ? 2 * room : 256) * sizeof *allocations);
    allocations[count++] = (Allocation){base, size, device, kind};
}

static Status take(Address *address, size_t size, int kind) {
    if (!current_context()) return INVALID_CONTEXT;
    int device = current_context()->device;
    size_t bytes = size ? size : 1;
    void *memory;
    pthread_mutex_lock(&lock);
    Status status = OUT_OF_MEMORY;
    if ((kind != DEVICE_MEMORY || used[device] + bytes <= capacity) && !posix_memalign(&memory, ALIGNMENT, bytes)) {
        memset(memory, GARBAGE, bytes);
        add((Address)memory, bytes, device, kind);
        if (kind == DEVICE_MEMORY) used[device] += bytes;
        *address = (Address)memory;
        status = SUCCESS;
    }
    pthread_mutex_unlock(&lock);
    return status;
}

// As in CUDA, all that the device was given is done before its memory is gone.
static Status give_back(Address address) {
    Allocation found;
    if (!find_allocation(address, &found) || found.base != address) return INVALID_VALUE;
    if (is_running_work()) return SUCCESS; // of a kernel's emulation: left where it is
    finish_device(found.device);
    pthread_mutex_lock(&lock);
    Allocation *allocation = find(address);
    if (allocation) {
        if (found.kind == DEVICE_MEMORY) used[found.device] -= found.size;
        *allocation = allocations[--count];
        memset((void *)address, GARBAGE, found.size < ALIGNMENT ? found.size : ALIGNMENT);
        free((void *)address);
    }
    pthread_mutex_unlock(&lock);
    return SUCCESS;
}

// ---- For the tests

// How much memory each device has from now on.
EXPORT void fake_set_capacity(size_t bytes) { capacity = bytes ? bytes : TOTAL_BYTES; }

// The device of an address, -1 for memory that is not a device's; and how many bytes there are from it on.
EXPORT int fake_device_of(Address address, size_t *bytes) {
    Allocation found;
    if (!find_allocation(address, &found)) return -1;
    *bytes = found.base + found.size - address;
    return found.kind == DEVICE_MEMORY ? found.device : -1;
}

// ---- Allocation

EXPORT Status cuDeviceTotalMem_v2(size_t *bytes, int device) {
    CALL();
    *bytes = capacity;
    return SUCCESS;
}

EXPORT Status cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    CALL();
    if (!current_context()) return INVALID_CONTEXT;
    size_t in_use = used[current_context()->device];
    *total = capacity;
    *free_bytes = capacity > in_use ? capacity - in_use : 0;
    return SUCCESS;
}

EXPORT Status cuMemAlloc_v2(Address *address, size_t size) {
    CALL();
    return take(address, size, DEVICE_MEMORY);
}

EXPORT Status cuMemFree_v2(Address address) {
    CALL();
    return give_back(address);
}

EXPORT Status cuMemAllocAsync(Address *address, size_t size, void *stream) { return NOT_SUPPORTED; }

EXPORT Status cuMemFreeAsync(Address address, void *stream) { return NOT_SUPPORTED; }

EXPORT Status cuMemHostAlloc(Address *address, size_t size, unsigned flags) {
    CALL();
    return take(address, size, HOST_MEMORY);
}

EXPORT Status cuMemFreeHost(Address address) {
    CALL();
    return give_back(address);
}

EXPORT Status cuMemHostRegister_v2(Address address, size_t size, unsigned flags) {
    CALL();
    pthread_mutex_lock(&lock);
    add(address, size, 0, HOST_MEMORY);
    pthread_mutex_unlock(&lock);
    return SUCCESS;
}

EXPORT Status cuMemHostUnregister(Address address) {
    CALL();
    pthread_mutex_lock(&lock);
    Allocation *allocation = find(address);
    if (allocation) *allocation = allocations[--count];
    pthread_mutex_unlock(&lock);
    return allocation ? SUCCESS : INVALID_VALUE;
}

// ---- Pointers

EXPORT Status cuMemGetAddressRange_v2(Address *base, size_t *size, Address address) {
    CALL();
    Allocation found;
    if (!find_allocation(address, &found)) return NOT_FOUND;
    if (base) *base = found.base;
    if (size) *size = found.size;
    return SUCCESS;
}

static void describe(int attribute, Address address, int is_known, const Allocation *found, void *out) {
    switch (attribute) {
    case 1: *(Context **)out = is_known ? context_of(found->device) : NULL; break;
    case 2: *(int *)out = is_known ? found->kind : UNKNOWN_MEMORY; break;
    case 3: // on the device
    case 4: *(Address *)out = is_known ? address : 0; break; // on the host
    case 8: *(int *)out = 0; break; // managed
    case 9: *(int *)out = is_known ? found->device : -2; break;
    default: memset(out, 0, 8);
    }
}

EXPORT Status cuPointerGetAttribute(void *out, int attribute, Address address) {
    CALL();
    Allocation found;
    if (!find_allocation(address, &found)) return INVALID_VALUE;
    describe(attribute, address, 1, &found, out);
    return SUCCESS;
}

EXPORT Status cuPointerGetAttributes(unsigned attributes, const int *attribute, void **out, Address address) {
    CALL();
    Allocation found;
    int is_known = find_allocation(address, &found);
    for (unsigned number = 0; number < attributes; number++)
        describe(attribute[number], address, is_known, &found, out[number]);
    return SUCCESS;
}

// ---- Copies

typedef struct Copy {
    Address target;
    const void *source;
    size_t size;
    unsigned char bytes[]; // of pageable memory, which is read at once
} Copy;

static void copy_now(void *argument) {
    const Copy *copy = argument;
    memmove((void *)copy->target, copy->source, copy->size);
}

static int is_outside(Address address, size_t size, int is_known, const Allocation *allocation) {
    return is_known && address + size > allocation->base + allocation->size;
}

static Status queue_copy(Address target, Address source, size_t size, void *stream) {
    Allocation into = {0}, from = {0};
    int is_into = find_allocation(target, &into), is_from = find_allocation(source, &from);
    if (is_outside(target, size, is_into, &into) || is_outside(source, size, is_from, &from)) {
        fprintf(stderr, "fake driver: a copy of %zu bytes reaches beyond its memory\n", size);
        return INVALID_VALUE;
    }
    if (!size) return SUCCESS;
    Copy *copy = malloc(sizeof *copy + (is_from ? 0 : size));
    *copy = (Copy){target, (void *)source, size};
    if (!is_from) copy->source = memcpy(copy->bytes, (void *)source, size);
    Status status = queue(stream, copy_now, copy, target, size, is_from ? source : 0, is_from ? size : 0);
    if (status) free(copy);
    return status || is_into ? status : finish_stream(stream); // to pageable memory: the host waits
}

EXPORT Status cuMemcpyAsync(Address target, Address source, size_t size, void *stream) {
    CALL();
    return queue_copy(target, source, size, stream);
}

EXPORT Status cuMemcpyHtoDAsync_v2(Address target, Address source, size_t size, void *stream) {
    CALL();
    return queue_copy(target, source, size, stream);
}

EXPORT Status cuMemcpyDtoHAsync_v2(Address target, Address source, size_t size, void *stream) {
    CALL();
    return queue_copy(target, source, size, stream);
}

EXPORT Status cuMemcpyBatchAsync_v2(Address *targets, Address *sources, size_t *sizes, size_t copies, void *attributes,
                                    size_t *indices, size_t attribute_count, void *stream) {
    CALL();
    Status status = SUCCESS;
    for (size_t number = 0; number < copies && !status; number++)
        status = queue_copy(targets[number], sources[number], sizes[number], stream);
    return status;
}

static Status copy_and_wait(Address target, Address source, size_t size) {
    Status status = queue_copy(target, source, size, NULL);
    return status ? status : finish_stream(NULL);
}

EXPORT Status cuMemcpy(Address target, Address source, size_t size) {
    CALL();
    return copy_and_wait(target, source, size);
}

EXPORT Status cuMemcpyHtoD_v2(Address target, Address source, size_t size) {
    CALL();
    return copy_and_wait(target, source, size);
}

EXPORT Status cuMemcpyDtoH_v2(Address target, Address source, size_t size) {
    CALL();
    return copy_and_wait(target, source, size);
}

typedef struct Fill {
    Address target;
    size_t size;
    unsigned char value;
} Fill;

static void fill_now(void *argument) {
    const Fill *fill = argument;
    memset((void *)fill->target, fill->value, fill->size);
}

EXPORT Status cuMemsetD8Async(Address target, unsigned char value, size_t size, void *stream) {
    CALL();
    Allocation into = {0};
    if (is_outside(target, size, find_allocation(target, &into), &into)) return INVALID_VALUE;
    if (!size) return SUCCESS;
    Fill *fill = malloc(sizeof *fill);
    *fill = (Fill){target, size, value};
    return queue(stream, fill_now, fill, target, size, 0, 0);
}
