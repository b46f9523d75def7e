// Stands in for C functions of cupy_backends.cuda.api.runtime, on the fake driver.
//
// CuPy's CUDA runtime is linked statically and asks the driver for tables that no document describes. So these functions
// take the place of those that the module offers to the rest of CuPy (its __pyx_capi__), before the rest is imported.
// All of them are called with Python's lock, which none holds while it waits for a queue: what runs there needs it.
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

typedef int Status;
typedef unsigned long long Address;

extern Status cuCtxGetCurrent(void **), cuCtxSetCurrent(void *), cuCtxGetDevice(int *), cuCtxSynchronize(void);
extern Status cuDevicePrimaryCtxRetain(void **, int), cuDeviceGetCount(int *), cuDeviceGetAttribute(int *, int, int);
extern Status cuMemAlloc_v2(Address *, size_t), cuMemFree_v2(Address), cuMemGetInfo_v2(size_t *, size_t *);
extern Status cuMemHostAlloc(Address *, size_t, unsigned), cuMemFreeHost(Address);
extern Status cuMemcpy(Address, Address, size_t), cuMemcpyAsync(Address, Address, size_t, void *);
extern Status cuMemsetD8Async(Address, unsigned char, size_t, void *);
extern Status cuPointerGetAttributes(unsigned, const int *, void **, Address);
extern Status cuStreamCreate(void **, unsigned), cuStreamDestroy_v2(void *), cuStreamSynchronize(void *);
extern Status cuStreamQuery(void *), cuStreamWaitEvent(void *, void *, unsigned);
extern Status cuEventCreate(void **, unsigned), cuEventDestroy_v2(void *), cuEventRecord(void *, void *);
extern Status cuEventSynchronize(void *), cuEventQuery(void *);

#define VERSION 13000
#define INVALID_DEVICE 101

static PyObject *runtime; // CuPy's module
static __thread int chosen;

static PyObject *result(Status status) {
    if (!status) Py_RETURN_NONE;
    Py_XDECREF(PyObject_CallMethod(runtime, "check_status", "i", status)); // raises
    return NULL;
}

// A call of the driver without Python's lock, in a context, as the CUDA runtime makes one where there is none.
#define CALL(status, call)                                                                                             \
    do {                                                                                                               \
        Py_BEGIN_ALLOW_THREADS;                                                                                        \
        status = enter();                                                                                              \
        if (!status) status = (call);                                                                                  \
        Py_END_ALLOW_THREADS;                                                                                          \
    } while (0)

#define RETURN(call)                                                                                                   \
    do {                                                                                                               \
        Status status;                                                                                                 \
        CALL(status, call);                                                                                            \
        return result(status);                                                                                         \
    } while (0)

#define RETURN_HANDLE(type, call)                                                                                      \
    do {                                                                                                               \
        Status status;                                                                                                 \
        type made = 0;                                                                                                 \
        CALL(status, call);                                                                                            \
        Py_XDECREF(result(status));                                                                                    \
        return status ? 0 : (intptr_t)made;                                                                            \
    } while (0)

static Status enter(void) {
    void *context = NULL;
    cuCtxGetCurrent(&context);
    if (context) return 0;
    Status status = cuDevicePrimaryCtxRetain(&context, chosen);
    return status ? status : cuCtxSetCurrent(context);
}

// ---- Devices. The last argument of each function, which Cython adds, says whether a subclass may override it.

static int getDevice(int skip) {
    void *context = NULL;
    int device = chosen;
    cuCtxGetCurrent(&context);
    if (context) cuCtxGetDevice(&device);
    return device;
}

static PyObject *setDevice(int device, int skip) {
    int count = 0;
    void *context;
    Status status = cuDeviceGetCount(&count);
    if (!status && (device < 0 || device >= count)) status = INVALID_DEVICE;
    if (!status) status = cuDevicePrimaryCtxRetain(&context, device);
    if (!status) status = cuCtxSetCurrent(context);
    if (!status) chosen = device;
    return result(status);
}

static int getDeviceCount(int skip) {
    int count = 0;
    Status status = cuDeviceGetCount(&count);
    Py_XDECREF(result(status));
    return status ? -1 : count;
}

static int deviceGetAttribute(int attribute, int device, int skip) {
    int value = 0;
    Status status = cuDeviceGetAttribute(&value, attribute, device);
    Py_XDECREF(result(status));
    return status ? -1 : value;
}

static int deviceCanAccessPeer(int device, int peer, int skip) { return 0; } // copies between devices do not need it

static int driverGetVersion(int skip) { return VERSION; }

static int runtimeGetVersion(int skip) { return VERSION; }

static PyObject *deviceSynchronize(int skip) { RETURN(cuCtxSynchronize()); }

static PyObject *_ensure_context(void) { RETURN(0); }

// ---- Memory

static intptr_t fake_malloc(size_t size, int skip) { RETURN_HANDLE(Address, cuMemAlloc_v2(&made, size)); }

static PyObject *fake_free(intptr_t address, int skip) {
    if (!address) Py_RETURN_NONE;
    RETURN(cuMemFree_v2(address));
}

static intptr_t hostAlloc(size_t size, unsigned flags, int skip) {
    RETURN_HANDLE(Address, cuMemHostAlloc(&made, size, flags));
}

static PyObject *freeHost(intptr_t address, int skip) {
    if (!address) Py_RETURN_NONE;
    RETURN(cuMemFreeHost(address));
}

static PyObject *memGetInfo(int skip) {
    size_t free_bytes = 0, total = 0;
    Status status;
    CALL(status, cuMemGetInfo_v2(&free_bytes, &total));
    return status ? result(status) : Py_BuildValue("(nn)", (Py_ssize_t)free_bytes, (Py_ssize_t)total);
}

static PyObject *fake_memcpy(intptr_t target, intptr_t source, size_t size, int kind, int skip) {
    RETURN(cuMemcpy(target, source, size));
}

static PyObject *memcpyAsync(intptr_t target, intptr_t source, size_t size, int kind, intptr_t stream, int skip) {
    RETURN(cuMemcpyAsync(target, source, size, (void *)stream));
}

static PyObject *memcpyPeer(intptr_t target, int target_device, intptr_t source, int source_device, size_t size,
                            int skip) {
    RETURN(cuMemcpy(target, source, size));
}

static PyObject *memcpyPeerAsync(intptr_t target, int target_device, intptr_t source, int source_device, size_t size,
                                 intptr_t stream, int skip) {
    RETURN(cuMemcpyAsync(target, source, size, (void *)stream));
}

static PyObject *fake_memset(intptr_t address, int value, size_t size, int skip) {
    RETURN(cuMemsetD8Async(address, value, size, NULL));
}

static PyObject *memsetAsync(intptr_t address, int value, size_t size, intptr_t stream, int skip) {
    RETURN(cuMemsetD8Async(address, value, size, (void *)stream));
}

static Status describe(intptr_t address, int *kind, int *device) {
    static const int attributes[] = {2, 9};
    void *out[] = {kind, device};
    return cuPointerGetAttributes(2, attributes, out, address);
}

static PyObject *pointerGetAttributes(intptr_t address, int skip) {
    int kind = 0, device = -2;
    Status status = describe(address, &kind, &device);
    if (status) return result(status);
    long long on_device = kind ? address : 0, on_host = kind == 1 ? address : 0;
    PyObject *attributes = PyObject_GetAttrString(runtime, "PointerAttributes");
    if (!attributes) return NULL;
    PyObject *made = PyObject_CallFunction(attributes, "iLLi", device, on_device, on_host, kind);
    Py_DECREF(attributes);
    return made;
}

static int pointerGetMemoryType(intptr_t address, int skip) {
    int kind = 0, device = -2;
    describe(address, &kind, &device);
    return kind;
}

// ---- Streams and events

static intptr_t streamCreateWithFlags(unsigned flags, int skip) { RETURN_HANDLE(void *, cuStreamCreate(&made, flags)); }

static intptr_t streamCreate(int skip) { RETURN_HANDLE(void *, cuStreamCreate(&made, 0)); }

static intptr_t streamCreateWithPriority(unsigned flags, int priority, int skip) {
    RETURN_HANDLE(void *, cuStreamCreate(&made, flags));
}

static PyObject *streamDestroy(intptr_t stream, int skip) { RETURN(cuStreamDestroy_v2((void *)stream)); }

static PyObject *streamSynchronize(intptr_t stream, int skip) { RETURN(cuStreamSynchronize((void *)stream)); }

static PyObject *streamQuery(intptr_t stream, int skip) { RETURN(cuStreamQuery((void *)stream)); }

static PyObject *streamWaitEvent(intptr_t stream, intptr_t event, int skip, void *optional) {
    RETURN(cuStreamWaitEvent((void *)stream, (void *)event, 0));
}

static int streamIsCapturing(intptr_t stream, int skip) { return 0; }

static intptr_t eventCreateWithFlags(unsigned flags, int skip) { RETURN_HANDLE(void *, cuEventCreate(&made, flags)); }

static intptr_t eventCreate(int skip) { RETURN_HANDLE(void *, cuEventCreate(&made, 0)); }

static PyObject *eventDestroy(intptr_t event, int skip) { RETURN(cuEventDestroy_v2((void *)event)); }

static PyObject *eventRecord(intptr_t event, intptr_t stream, int skip) {
    RETURN(cuEventRecord((void *)event, (void *)stream));
}

static PyObject *eventSynchronize(intptr_t event, int skip) { RETURN(cuEventSynchronize((void *)event)); }

static PyObject *eventQuery(intptr_t event, int skip) { return PyLong_FromLong(cuEventQuery((void *)event)); }

// ---- Their places in CuPy

static const struct {
    const char *name;
    void *function;
} replacements[] = {
#define SAME(name) {#name, name}
    SAME(getDevice), SAME(setDevice), SAME(getDeviceCount), SAME(deviceGetAttribute), SAME(deviceCanAccessPeer), SAME(driverGetVersion),
    SAME(runtimeGetVersion), SAME(deviceSynchronize), SAME(_ensure_context), {"malloc", fake_malloc},
    {"free", fake_free}, SAME(hostAlloc), SAME(freeHost), SAME(memGetInfo), {"memcpy", fake_memcpy}, SAME(memcpyAsync),
    SAME(memcpyPeer), SAME(memcpyPeerAsync), {"memset", fake_memset}, SAME(memsetAsync), SAME(pointerGetAttributes),
    SAME(pointerGetMemoryType), SAME(streamCreateWithFlags), SAME(streamCreate), SAME(streamCreateWithPriority),
    SAME(streamDestroy), SAME(streamSynchronize), SAME(streamQuery), SAME(streamWaitEvent), SAME(streamIsCapturing),
    SAME(eventCreateWithFlags), SAME(eventCreate), SAME(eventDestroy), SAME(eventRecord), SAME(eventSynchronize),
    SAME(eventQuery),
};

static PyObject *replace(PyObject *self, PyObject *module) {
    Py_INCREF(module);
    runtime = module;
    PyObject *offered = PyObject_GetAttrString(module, "__pyx_capi__");
    if (!offered) return NULL;
    for (size_t number = 0; number < sizeof replacements / sizeof *replacements; number++) {
        PyObject *capsule = PyDict_GetItemString(offered, replacements[number].name);
        if (!capsule) {
            Py_DECREF(offered);
            return PyErr_Format(PyExc_KeyError, "CuPy's runtime has no %s", replacements[number].name);
        }
        if (PyCapsule_SetPointer(capsule, replacements[number].function)) return NULL;
    }
    Py_DECREF(offered);
    Py_RETURN_NONE;
}

// ---- What is called through Python

#define FROM_PYTHON(name, format, declarations, call, ...)                                                             \
    static PyObject *py_##name(PyObject *self, PyObject *arguments) {                                                  \
        declarations;                                                                                                  \
        if (!PyArg_ParseTuple(arguments, format, ##__VA_ARGS__)) return NULL;                                          \
        return call;                                                                                                   \
    }

static PyObject *number(int value) { return PyErr_Occurred() ? NULL : PyLong_FromLong(value); }

static PyObject *handle(intptr_t value) { return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(value); }

FROM_PYTHON(getDevice, "", , number(getDevice(0)))
FROM_PYTHON(getDeviceCount, "", , number(getDeviceCount(0)))
FROM_PYTHON(setDevice, "i", int device, setDevice(device, 0), &device)
FROM_PYTHON(deviceGetAttribute, "ii", int attribute; int device, number(deviceGetAttribute(attribute, device, 0)),
            &attribute, &device)
FROM_PYTHON(memcpyAsync, "nnniL", Py_ssize_t target; Py_ssize_t source; Py_ssize_t size; int kind; long long stream,
            memcpyAsync(target, source, size, kind, stream, 0), &target, &source, &size, &kind, &stream)
FROM_PYTHON(memsetAsync, "ninL", Py_ssize_t address; int value; Py_ssize_t size; long long stream,
            memsetAsync(address, value, size, stream, 0), &address, &value, &size, &stream)
FROM_PYTHON(malloc, "n", Py_ssize_t size, handle(fake_malloc(size, 0)), &size)
FROM_PYTHON(free, "n", Py_ssize_t address, fake_free(address, 0), &address)
FROM_PYTHON(hostAlloc, "nI", Py_ssize_t size; unsigned flags, handle(hostAlloc(size, flags, 0)), &size, &flags)
FROM_PYTHON(freeHost, "n", Py_ssize_t address, freeHost(address, 0), &address)
FROM_PYTHON(memGetInfo, "", , memGetInfo(0))
FROM_PYTHON(deviceSynchronize, "", , deviceSynchronize(0))
FROM_PYTHON(runtimeGetVersion, "", , number(VERSION))
FROM_PYTHON(driverGetVersion, "", , number(VERSION))
FROM_PYTHON(pointerGetAttributes, "n", Py_ssize_t address, pointerGetAttributes(address, 0), &address)
FROM_PYTHON(streamSynchronize, "n", Py_ssize_t stream, streamSynchronize(stream, 0), &stream)
FROM_PYTHON(streamIsCapturing, "n", Py_ssize_t stream, PyBool_FromLong(0), &stream)

static PyObject *py_getDeviceProperties(PyObject *self, PyObject *arguments) {
    return Py_BuildValue("{s:y,s:L,s:i,s:i,s:i}", "name", "Fake H100", "totalGlobalMem", 80ll << 30,
                         "multiProcessorCount", 132, "major", 9, "minor", 0);
}

static PyMethodDef methods[] = {
    {"replace", replace, METH_O, "Put the functions in the place of those of CuPy's runtime."},
#define METHOD(name) {#name, py_##name, METH_VARARGS, NULL}
    METHOD(getDevice), METHOD(getDeviceCount), METHOD(setDevice), METHOD(deviceGetAttribute), METHOD(malloc),
    METHOD(free), METHOD(hostAlloc), METHOD(freeHost), METHOD(memcpyAsync),
    METHOD(memsetAsync), METHOD(memGetInfo), METHOD(deviceSynchronize), METHOD(runtimeGetVersion),
    METHOD(driverGetVersion), METHOD(pointerGetAttributes), METHOD(streamSynchronize), METHOD(streamIsCapturing),
    METHOD(getDeviceProperties), {NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "fake_cudart", NULL, -1, methods};

PyMODINIT_FUNC PyInit_fake_cudart(void) { return PyModule_Create(&definition); }
