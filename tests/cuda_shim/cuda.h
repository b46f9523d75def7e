// CUDA C as C++: what a kernel without barriers of whole blocks needs, on one thread of the CPU.
//
// The lanes of a warp are fibers. They run one after another, in ascending or descending order, from one meeting point
// (__syncwarp, __ballot_sync, __shfl_sync) to the next, so that a missing one shows as a result that depends on the
// order. Lanes that meet at different lines have diverged, which ends the process. The warps of a block and the blocks
// of a grid run one after another.
//
// Compile with -fno-strict-aliasing, since kernels load bytes as words.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>

// ---- Words of CUDA C

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __builtin_assume(condition)

using std::max;
using std::min;

struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

struct Dim3 {
    unsigned x = 0, y = 0, z = 0;
};

static Dim3 threadIdx, blockIdx, gridDim, blockDim;

static inline unsigned __dp4a(unsigned a, unsigned b, unsigned sum)
{
    for (int shift = 0; shift < 32; shift += 8) sum += (a >> shift & 255) * (b >> shift & 255);
    return sum;
}

static inline int __ffs(unsigned value) { return __builtin_ffs((int)value); }

static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift)
{
    return (unsigned)(((std::uint64_t)high << 32 | low) >> (shift & 31));
}

template <class T>
static inline T __ldg(const T* address) { return *address; }

#define __syncwarp() warp::meet(__LINE__)
#define __ballot_sync(mask, predicate) warp::ballot(mask, predicate, __LINE__)
#define __shfl_sync(mask, value, lane) warp::shuffle(mask, value, lane, __LINE__)

// ---- Fibers: stacks between which a thread switches

#if defined(__x86_64__) && !defined(PORTABLE_FIBERS)

// Some nanoseconds, where swapcontext makes a system call: it keeps the registers that a called function must keep.
extern "C" void switch_stack(void** left, void* entered) asm("switch_stack");
asm(R"(
    .text
switch_stack:
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
    ret
)");

struct Fiber {
    void* top = nullptr;

    void prepare(char* stack, std::size_t bytes, void (*entry)())
    {
        void** words = (void**)(stack + bytes) - 10;  // six registers, and a multiple of 16 behind the return address
        std::fill(words, words + 10, nullptr);
        words[6] = (void*)entry;
        top = words;
    }

    void switch_to(Fiber& other) { switch_stack(&top, other.top); }
};

#else

#include <ucontext.h>

struct Fiber {
    ucontext_t context;

    void prepare(char* stack, std::size_t bytes, void (*entry)())
    {
        getcontext(&context);
        context.uc_stack.ss_sp = stack;
        context.uc_stack.ss_size = bytes;
        context.uc_link = nullptr;
        makecontext(&context, entry, 0);
    }

    void switch_to(Fiber& other) { swapcontext(&context, &other.context); }
};

#endif

// ---- A warp

namespace warp {

const int LANES = 32;
const std::size_t STACK_BYTES = 1 << 16;
const int ENDED = -1;

enum Order { ASCENDING, DESCENDING };

struct Lane {
    Fiber fiber;
    int line;                // where it meets the others, or ENDED
    unsigned parity;         // of its collectives: one is read while the next is written
    std::uint64_t given[2];  // its value for a collective
};

static Lane lanes[LANES];
alignas(16) static char stacks[LANES][STACK_BYTES];
static Fiber caller;
static std::function<void()> body;
static Order order;
static unsigned first_thread;  // of the warp in its block
static int current;

static inline void enter(int lane, Fiber& left)
{
    current = lane;
    threadIdx.x = first_thread + (unsigned)lane;
    left.switch_to(lanes[lane].fiber);
}

// Wait until all lanes are at this line: the next lane runs, and after the last one the first.
static inline void meet(int line)
{
    Lane& lane = lanes[current];
    lane.line = line;
    int step = order == ASCENDING ? 1 : -1, next = current + step;
    if (next >= 0 && next < LANES) return enter(next, lane.fiber);
    for (int other = 0; other < LANES; other++)
        if (lanes[other].line != line) {
            std::fprintf(stderr, "Lanes diverge: %d is at line %d, %d at line %d.\n", current, line, other,
                         lanes[other].line);
            std::abort();
        }
    if (line == ENDED) return lane.fiber.switch_to(caller);
    enter(order == ASCENDING ? 0 : LANES - 1, lane.fiber);
}

static inline unsigned exchange(unsigned mask, std::uint64_t value, int line)
{
    if (mask != 0xffffffffu) {
        std::fprintf(stderr, "Line %d: only collectives of whole warps can be run.\n", line);
        std::abort();
    }
    Lane& lane = lanes[current];
    unsigned parity = lane.parity ^= 1;
    lane.given[parity] = value;
    meet(line);
    return parity;
}

static inline unsigned ballot(unsigned mask, bool predicate, int line)
{
    unsigned parity = exchange(mask, predicate, line), result = 0;
    for (int lane = 0; lane < LANES; lane++) result |= (unsigned)lanes[lane].given[parity] << lane;
    return result;
}

template <class T>
static inline T shuffle(unsigned mask, T value, int lane, int line)
{
    unsigned parity = exchange(mask, (std::uint64_t)value, line);
    return (T)lanes[lane & (LANES - 1)].given[parity];
}

static void run_lane()
{
    body();
    meet(ENDED);
}

// Run one warp whose threads have begun at `first_thread`.
static inline void run()
{
    for (int lane = 0; lane < LANES; lane++) {
        lanes[lane].parity = 0;
        lanes[lane].fiber.prepare(stacks[lane], STACK_BYTES, run_lane);
    }
    enter(order == ASCENDING ? 0 : LANES - 1, caller);
}

}  // namespace warp

// ---- Launches

// Run a kernel on a grid of blocks of whole warps; `kernel` calls it with its arguments.
static inline void launch_warps(unsigned blocks, unsigned warps, warp::Order order, std::function<void()> kernel)
{
    warp::body = std::move(kernel);
    warp::order = order;
    gridDim.x = blocks;
    blockDim.x = warps * warp::LANES;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
        for (unsigned index = 0; index < warps; index++) {
            warp::first_thread = index * warp::LANES;
            warp::run();
        }
}

// Run a kernel whose threads do not meet.
static inline void launch_threads(unsigned blocks, unsigned threads, const std::function<void()>& kernel)
{
    gridDim.x = blocks;
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) kernel();
}
