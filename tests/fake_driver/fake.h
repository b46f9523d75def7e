// What the files of the fake driver share. See README.md.
#ifndef FAKE_H
#define FAKE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
#define MAX_DEVICES 8

typedef int Status;
typedef unsigned long long Address;

enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_FAILED = 719,
    NOT_SUPPORTED = 801,
};

// ---- Calls (calls.c): counted, and failing where a test asks for it

typedef struct Counter {
    const char *name;
    long calls;
    struct Counter *next;
} Counter;

Status count_call(Counter *counter);
Status lost_status(void);
void lose_devices(Status status);

// The first statement of each function that may fail: it counts, and returns what a test, or a lost device, demands.
#define CALL()                                                                                                         \
    do {                                                                                                               \
        static Counter counter = {__func__, -1, 0};                                                                    \
        Status demanded = count_call(&counter);                                                                        \
        if (demanded) return demanded;                                                                                 \
    } while (0)

// ---- Devices and contexts (devices.c)

typedef struct Context {
    int device;
} Context;

int device_count(void);
Context *current_context(void);
Context *context_of(int device);
Status cuStreamGetCtx(void *stream, Context **context);

// ---- Memory (memory.c)

enum { UNKNOWN_MEMORY = 0, HOST_MEMORY = 1, DEVICE_MEMORY = 2 };

typedef struct Allocation {
    Address base;
    size_t size;
    int device;
    int kind;
} Allocation;

int find_allocation(Address address, Allocation *found);

// ---- Streams (streams.c): all of these hold the one lock of all queues

typedef struct Stream Stream;
typedef void (*Work)(void *argument);

extern pthread_mutex_t queues_lock;

// Queue an operation; it gets its argument, which is freed after it. With a target it changes those bytes alone.
Status queue(void *stream, Work work, void *argument, Address target, size_t target_size, Address source,
             size_t source_size);
Status finish_stream(void *stream);
void finish_device(int device);
int is_running_work(void);

#endif
