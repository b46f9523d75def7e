// Devices, contexts, and how a library finds the functions of the driver.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"

#define VERSION 13000

static Context contexts[MAX_DEVICES] = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}};
static __thread Context *stack[256];
static __thread int depth;

int device_count(void) {
    const char *wanted = getenv("FAKE_DEVICES");
    int count = wanted ? atoi(wanted) : 1;
    return count < MAX_DEVICES ? count : MAX_DEVICES;
}

Context *current_context(void) { return depth ? stack[depth - 1] : NULL; }

Context *context_of(int device) { return &contexts[device]; }

static int is_context(const Context *context) {
    return context >= contexts && context < contexts + MAX_DEVICES;
}

EXPORT Status cuInit(unsigned flags) { return SUCCESS; }

EXPORT Status cuDriverGetVersion(int *version) {
    *version = VERSION;
    return SUCCESS;
}

// ---- Devices

EXPORT Status cuDeviceGetCount(int *count) {
    CALL();
    *count = device_count();
    return SUCCESS;
}

EXPORT Status cuDeviceGet(int *device, int ordinal) {
    CALL();
    *device = ordinal;
    return ordinal >= 0 && ordinal < device_count() ? SUCCESS : INVALID_DEVICE;
}

EXPORT Status cuDeviceGetName(char *name, int length, int device) {
    CALL();
    snprintf(name, length, "Fake H100");
    return SUCCESS;
}

EXPORT Status cuDeviceGetUuid_v2(void *uuid, int device) {
    CALL();
    memset(uuid, device + 1, 16);
    return SUCCESS;
}

EXPORT Status cuDeviceGetAttribute(int *value, int attribute, int device) {
    static const int h100[][2] = {
        {1, 1024},       // threads of a block
        {2, 1024},       // along x
        {3, 1024},       // along y
        {4, 64},         // along z
        {5, 2147483647}, // blocks along x
        {6, 65535},      // along y
        {7, 65535},      // along z
        {8, 49152},      // shared memory of a block
        {10, 32},        // threads of a warp
        {12, 65536},     // registers of a block
        {16, 132},       // multiprocessors
        {39, 2048},      // threads of a multiprocessor
        {41, 1},         // unified addressing
        {75, 9},         // compute capability
        {97, 232448},    // shared memory of a block on request
        {115, 1},        // memory pools
    };
    CALL();
    *value = 0;
    for (size_t row = 0; row < sizeof h100 / sizeof *h100; row++)
        if (h100[row][0] == attribute) *value = h100[row][1];
    return SUCCESS;
}

// ---- Contexts: the primary one of each device

EXPORT Status cuDevicePrimaryCtxRetain(Context **context, int device) {
    CALL();
    *context = &contexts[device];
    return SUCCESS;
}

EXPORT Status cuDevicePrimaryCtxRelease_v2(int device) { return SUCCESS; }

EXPORT Status cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *is_active) {
    *flags = 0;
    *is_active = 1;
    return SUCCESS;
}

EXPORT Status cuDevicePrimaryCtxSetFlags_v2(int device, unsigned flags) { return SUCCESS; }

EXPORT Status cuDevicePrimaryCtxReset_v2(int device) { return NOT_SUPPORTED; }

EXPORT Status cuCtxCreate_v4(Context **context, void *parameters, unsigned flags, int device) { return NOT_SUPPORTED; }

EXPORT Status cuCtxDestroy_v2(Context *context) { return NOT_SUPPORTED; }

EXPORT Status cuCtxPushCurrent_v2(Context *context) {
    CALL();
    if (!is_context(context)) return INVALID_CONTEXT;
    stack[depth++] = context;
    return SUCCESS;
}

EXPORT Status cuCtxPopCurrent_v2(Context **context) {
    CALL();
    if (!depth) return INVALID_CONTEXT;
    depth--;
    if (context) *context = stack[depth];
    return SUCCESS;
}

EXPORT Status cuCtxSetCurrent(Context *context) {
    CALL();
    if (depth) depth--;
    if (context) stack[depth++] = context;
    return SUCCESS;
}

EXPORT Status cuCtxGetCurrent(Context **context) {
    *context = current_context();
    return SUCCESS;
}

// There is no cuCtxGetDevice_v2: cuda-bindings would take it for this one.
EXPORT Status cuCtxGetDevice(int *device) {
    if (!current_context()) return INVALID_CONTEXT;
    *device = current_context()->device;
    return SUCCESS;
}

EXPORT Status cuCtxGetFlags(unsigned *flags) {
    *flags = 0;
    return SUCCESS;
}

EXPORT Status cuCtxGetId(Context *context, unsigned long long *id) {
    *id = (context ? context : current_context())->device + 1;
    return SUCCESS;
}

EXPORT Status cuCtxSynchronize(void) {
    CALL();
    if (!current_context()) return INVALID_CONTEXT;
    finish_device(current_context()->device);
    return lost_status(); // what was running may have lost the device
}

// ---- Errors

EXPORT Status cuGetErrorName(Status status, const char **name) {
    switch (status) {
    case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case ILLEGAL_ADDRESS: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; break;
    case LAUNCH_FAILED: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
    default: *name = "CUDA_ERROR_OF_THE_FAKE_DRIVER";
    }
    return SUCCESS;
}

EXPORT Status cuGetErrorString(Status status, const char **sentence) {
    *sentence = "an error of the fake driver";
    return SUCCESS;
}

// ---- Functions

EXPORT Status cuGetExportTable(const void **table, const void *id) {
    *table = NULL;
    return INVALID_VALUE;
}

EXPORT Status cuGetProcAddress_v2(const char *symbol, void **function, int version, unsigned long long flags,
                                  int *status) {
    static const char *suffixes[] = {"_v4", "_v3", "_v2", ""};
    char name[256];
    void *self = dlopen("libcuda.so.1", RTLD_NOLOAD | RTLD_NOW);
    *function = NULL;
    for (int number = 0; number < 4 && !*function; number++) {
        snprintf(name, sizeof name, "%s%s", symbol, suffixes[number]);
        *function = dlsym(self, name);
    }
    if (status) *status = *function ? 0 : 1;
    return *function ? SUCCESS : NOT_FOUND;
}

EXPORT Status cuGetProcAddress(const char *symbol, void **function, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(symbol, function, version, flags, NULL);
}
