// The kernels of kernels/cuda/lz4.cu as functions of a shared library: their columns, in the memory of the process.
#include <mutex>

#include "cuda.h"
#include "lz4.cu"

static std::mutex mutex;  // there is one warp

extern "C" {

void run_lz4_decode(const u64* sources, const i64* lengths, const u64* targets, const i64* capacities, const i64* wanted,
                    i64 count, int* statuses, i64* decoded)
{
    std::lock_guard<std::mutex> guard(mutex);
    launch_warps(1, WARPS, warp::ASCENDING, [=] {
        lz4_decode(sources, lengths, targets, capacities, wanted, count, statuses, decoded);
    });
}

void run_lz4_check(u64* sources, i64* lengths, const i64* capacities, i64 count, u64 zeros, i64 zeros_bytes,
                   int* statuses, i64* decoded)
{
    std::lock_guard<std::mutex> guard(mutex);
    launch_threads(1, 1, [=] { lz4_check(sources, lengths, capacities, count, zeros, zeros_bytes, statuses, decoded); });
}

void run_lz4_join(const int* found_statuses, const i64* found_decoded, const i64* capacities, i64 count, int* statuses,
                  i64* decoded)
{
    std::lock_guard<std::mutex> guard(mutex);
    launch_threads(1, 1, [=] { lz4_join(found_statuses, found_decoded, capacities, count, statuses, decoded); });
}
}
