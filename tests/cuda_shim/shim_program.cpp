// Small kernels that show what the shim does: shim_program KERNEL prints a number for each lane, in both orders of lanes.
#include <cstring>

#include "cuda.h"

static unsigned found[32];

static unsigned collectives(unsigned lane)
{
    unsigned odd = __ballot_sync(0xffffffffu, lane % 2);
    unsigned other = __shfl_sync(0xffffffffu, lane * lane, 31 - (int)lane);
    return odd == 0xaaaaaaaau ? other : 0;
}

template <bool HAS_BARRIER>
static unsigned neighbours(unsigned lane)
{
    __shared__ unsigned shared[32];
    shared[lane] = 0;
    __syncwarp();
    shared[lane] = lane + 100;
    if (HAS_BARRIER) __syncwarp();
    return shared[(lane + 1) % 32];
}

static unsigned diverging(unsigned lane)
{
    if (lane < 16)
        __syncwarp();
    else
        __syncwarp();
    return lane;
}

static unsigned ending(unsigned lane)
{
    if (lane != 7) __syncwarp();
    return lane;
}

int main(int, char** arguments)
{
    const struct {
        const char* name;
        unsigned (*kernel)(unsigned);
    } kernels[] = {
        {"collectives", collectives}, {"barrier", neighbours<true>}, {"no-barrier", neighbours<false>},
        {"diverging", diverging}, {"ending", ending},
    };
    for (auto& [name, kernel] : kernels) {
        if (std::strcmp(name, arguments[1]) != 0) continue;
        for (auto order : {warp::ASCENDING, warp::DESCENDING}) {
            launch_warps(1, 1, order, [kernel = kernel] { found[threadIdx.x] = kernel(threadIdx.x); });
            for (unsigned value : found) std::printf("%u ", value);
            std::printf("\n");
        }
    }
}
