// Streams and events. What is queued runs as late as it may: when it, or what has to wait for it, is waited for.
//
// Every operation has a ticket; they count up over all streams. To run a stream up to a ticket is to run its operations
// in their order, and before each one what it has to wait for: all of them have lower tickets, so that this ends.
// An operation of the legacy default stream waits for all that blocking streams of its device were given before it, and
// one of a blocking stream for all that the default stream was given before it.
#include <stdlib.h>
#include <string.h>

#include "fake.h"

#define MAGIC 0x57A3
#define GARBAGE 0xA5
#define NON_BLOCKING 1

typedef struct Operation {
    unsigned long ticket;
    Work work; // NULL: nothing but its place in the queue
    void *argument;
    Address target, source;
    size_t target_size, source_size;
    Stream *other; // wait there until
    unsigned long other_ticket;
    struct Operation *next;
} Operation;

struct Stream {
    int magic, device, blocks, is_default;
    Operation *first, *last;
    unsigned long last_ticket; // of the last one that was queued
    Stream *next;
};

typedef struct Event {
    Stream *stream; // NULL: never recorded
    unsigned long ticket;
} Event;

pthread_mutex_t queues_lock;
static Stream defaults[MAX_DEVICES], per_thread[MAX_DEVICES];
static Stream *streams; // all of them; none is ever freed, because events still name them
static unsigned long tickets;
static int running;

static void add_stream(Stream *stream, int device, int blocks, int is_default) {
    *stream = (Stream){MAGIC, device, blocks, is_default, NULL, NULL, 0, streams};
    streams = stream;
}

__attribute__((constructor)) static void start(void) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&queues_lock, &attributes);
    for (int device = 0; device < MAX_DEVICES; device++) {
        add_stream(&defaults[device], device, 0, 1);
        add_stream(&per_thread[device], device, 1, 0);
    }
}

static Stream *stream_of(void *handle) {
    if (!current_context()) return NULL;
    int device = current_context()->device;
    if ((uintptr_t)handle <= 1) return &defaults[device];
    if ((uintptr_t)handle == 2) return &per_thread[device];
    Stream *stream = handle;
    return stream->magic == MAGIC ? stream : NULL;
}

static void run(Stream *stream, unsigned long ticket);

static void run_what_it_waits_for(Stream *stream, const Operation *operation) {
    if (operation->other) run(operation->other, operation->other_ticket);
    if (stream->blocks) run(&defaults[stream->device], operation->ticket - 1);
    if (!stream->is_default) return;
    for (Stream *other = streams; other; other = other->next)
        if (other->blocks && other->device == stream->device) run(other, operation->ticket - 1);
}

static void run(Stream *stream, unsigned long ticket) {
    while (stream->first && stream->first->ticket <= ticket) {
        Operation *operation = stream->first;
        stream->first = operation->next;
        if (!stream->first) stream->last = NULL;
        run_what_it_waits_for(stream, operation);
        running++;
        if (operation->work) operation->work(operation->argument);
        running--;
        free(operation->argument);
        free(operation);
    }
}

int is_running_work(void) { return running > 0; }

static int overlaps(Address a, size_t a_size, Address b, size_t b_size) {
    return a < b + b_size && b < a + a_size;
}

// Whether a queued operation may read or write these bytes. Those that do not say what they use are kernels, which use
// memory of the device.
static int is_in_use(Address target, size_t size) {
    Allocation allocation;
    int is_host = find_allocation(target, &allocation) && allocation.kind == HOST_MEMORY;
    for (Stream *stream = streams; stream; stream = stream->next)
        for (Operation *operation = stream->first; operation; operation = operation->next) {
            if (!operation->work) continue;
            if (!operation->target_size && !is_host) return 1;
            if (overlaps(target, size, operation->target, operation->target_size)) return 1;
            if (overlaps(target, size, operation->source, operation->source_size)) return 1;
        }
    return 0;
}

static Operation *append(Stream *stream) {
    Operation *operation = calloc(1, sizeof *operation);
    operation->ticket = stream->last_ticket = ++tickets;
    if (stream->last) stream->last->next = operation;
    else stream->first = operation;
    stream->last = operation;
    return operation;
}

Status queue(void *handle, Work work, void *argument, Address target, size_t target_size, Address source,
             size_t source_size) {
    Stream *stream = stream_of(handle);
    if (!stream) return current_context() ? INVALID_HANDLE : INVALID_CONTEXT;
    pthread_mutex_lock(&queues_lock);
    if (target_size && !is_in_use(target, target_size)) {
        if (source_size && overlaps(target, target_size, source, source_size)) source_size = 0;
        else memset((void *)target, GARBAGE, target_size);
    }
    Operation *operation = append(stream);
    operation->work = work;
    operation->argument = argument;
    operation->target = target;
    operation->target_size = target_size;
    operation->source = source;
    operation->source_size = source_size;
    pthread_mutex_unlock(&queues_lock);
    return SUCCESS;
}

Status finish_stream(void *handle) {
    Stream *stream = stream_of(handle);
    if (!stream) return current_context() ? INVALID_HANDLE : INVALID_CONTEXT;
    pthread_mutex_lock(&queues_lock);
    run(stream, stream->last_ticket);
    pthread_mutex_unlock(&queues_lock);
    return SUCCESS;
}

void finish_device(int device) {
    pthread_mutex_lock(&queues_lock);
    for (Stream *stream = streams; stream; stream = stream->next)
        if (stream->device == device) run(stream, stream->last_ticket);
    pthread_mutex_unlock(&queues_lock);
}

// ---- Streams

EXPORT Status cuStreamCreateWithPriority(Stream **stream, unsigned flags, int priority) {
    CALL();
    if (!current_context()) return INVALID_CONTEXT;
    pthread_mutex_lock(&queues_lock);
    *stream = malloc(sizeof **stream);
    add_stream(*stream, current_context()->device, !(flags & NON_BLOCKING), 0);
    pthread_mutex_unlock(&queues_lock);
    return SUCCESS;
}

EXPORT Status cuStreamCreate(Stream **stream, unsigned flags) { return cuStreamCreateWithPriority(stream, flags, 0); }

EXPORT Status cuStreamDestroy_v2(Stream *stream) { // what it was given still runs
    CALL();
    return stream_of(stream) ? SUCCESS : INVALID_HANDLE;
}

EXPORT Status cuStreamSynchronize(void *stream) {
    CALL();
    Status status = finish_stream(stream);
    if (status) return status;
    return lost_status(); // what was running may have lost the device
}

// It says once that a stream is at work, and has it done by the next time.
EXPORT Status cuStreamQuery(void *handle) {
    CALL();
    Stream *stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    pthread_mutex_lock(&queues_lock);
    Status status = stream->first ? NOT_READY : SUCCESS;
    run(stream, stream->last_ticket);
    pthread_mutex_unlock(&queues_lock);
    return status;
}

EXPORT Status cuStreamWaitEvent(void *handle, Event *event, unsigned flags) {
    CALL();
    Stream *stream = stream_of(handle);
    if (!stream || !event) return INVALID_HANDLE;
    pthread_mutex_lock(&queues_lock);
    Operation *operation = append(stream);
    operation->other = event->stream;
    operation->other_ticket = event->ticket;
    pthread_mutex_unlock(&queues_lock);
    return SUCCESS;
}

EXPORT Status cuStreamGetCtx(void *stream, Context **context) {
    CALL();
    if (!stream_of(stream)) return INVALID_HANDLE;
    *context = context_of(stream_of(stream)->device);
    return SUCCESS;
}

EXPORT Status cuStreamIsCapturing(void *stream, int *is_capturing) {
    CALL();
    *is_capturing = 0;
    return SUCCESS;
}

typedef struct HostFunction {
    Work function;
    void *data;
} HostFunction;

static void call_host_function(void *argument) {
    HostFunction *host = argument;
    host->function(host->data);
}

EXPORT Status cuLaunchHostFunc(void *stream, Work function, void *data) {
    CALL();
    HostFunction *host = malloc(sizeof *host);
    *host = (HostFunction){function, data};
    return queue(stream, call_host_function, host, 0, 0, 0, 0);
}

// ---- Events

EXPORT Status cuEventCreate(Event **event, unsigned flags) {
    CALL();
    *event = calloc(1, sizeof **event);
    return SUCCESS;
}

EXPORT Status cuEventDestroy_v2(Event *event) {
    CALL();
    free(event);
    return SUCCESS;
}

EXPORT Status cuEventRecord(Event *event, void *handle) {
    CALL();
    Stream *stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    pthread_mutex_lock(&queues_lock);
    event->stream = stream;
    event->ticket = append(stream)->ticket;
    pthread_mutex_unlock(&queues_lock);
    return SUCCESS;
}

EXPORT Status cuEventSynchronize(Event *event) {
    CALL();
    pthread_mutex_lock(&queues_lock);
    if (event->stream) run(event->stream, event->ticket);
    pthread_mutex_unlock(&queues_lock);
    return lost_status();
}

EXPORT Status cuEventQuery(Event *event) {
    CALL();
    pthread_mutex_lock(&queues_lock);
    Stream *stream = event->stream;
    Status status = stream && stream->first && stream->first->ticket <= event->ticket ? NOT_READY : SUCCESS;
    if (stream) run(stream, event->ticket);
    pthread_mutex_unlock(&queues_lock);
    return status;
}
