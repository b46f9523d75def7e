// Counts of calls, and faults on request.
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Counter *counters;
static Status lost; // what every call returns once the devices are lost

static struct {
    char pattern[64];
    long skip, times;
    Status status;
} fault;

Status count_call(Counter *counter) {
    pthread_mutex_lock(&lock);
    if (counter->calls < 0) {
        counter->calls = 0;
        counter->next = counters;
        counters = counter;
    }
    counter->calls++;
    Status status = lost;
    if (!status && fault.times && !fnmatch(fault.pattern, counter->name, 0)) {
        if (fault.skip > 0) {
            fault.skip--;
        } else {
            if (fault.times > 0) fault.times--;
            status = fault.status;
        }
    }
    pthread_mutex_unlock(&lock);
    return status;
}

Status lost_status(void) { return lost; }

void lose_devices(Status status) {
    pthread_mutex_lock(&lock);
    if (!lost) lost = status;
    pthread_mutex_unlock(&lock);
}

// ---- For the tests

// Fail calls whose names match a pattern of the shell: skip so many, then fail so many (-1: all of them).
EXPORT void fake_fail(const char *pattern, Status status, long skip, long times) {
    pthread_mutex_lock(&lock);
    strncpy(fault.pattern, pattern, sizeof fault.pattern - 1);
    fault.status = status;
    fault.skip = skip;
    fault.times = times;
    pthread_mutex_unlock(&lock);
}

// From now on every call returns this status.
EXPORT void fake_lose(Status status) { lose_devices(status); }

// What no real driver can do: end all faults.
EXPORT void fake_mend(void) {
    pthread_mutex_lock(&lock);
    lost = SUCCESS;
    fault.times = 0;
    pthread_mutex_unlock(&lock);
}

// Calls so far of all functions whose names match a pattern.
EXPORT long fake_calls(const char *pattern) {
    long calls = 0;
    pthread_mutex_lock(&lock);
    for (Counter *counter = counters; counter; counter = counter->next)
        if (!fnmatch(pattern, counter->name, 0)) calls += counter->calls;
    pthread_mutex_unlock(&lock);
    return calls;
}
