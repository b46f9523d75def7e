// The kernels of frames.cu and blosc.cu by their names: as a shared library, and with PROGRAM as a program that runs them
// under AddressSanitizer: chunk_kernels SCRIPT RESULTS.
//
// SCRIPT holds regions of memory, addresses that stand in them, and launches; see `chunk_kernels.py`. Of a region, only
// the words of `unit` bytes that hold one of its bytes may be touched; before and behind there is poison. RESULTS gets the
// bytes of all regions after the last launch. All numbers are int64.
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cuda.h"
#include "frames.cu"
#include "blosc.cu"

using Arguments = const u64*;

template <class... Parameters, std::size_t... numbers>
static void call(void (*kernel)(Parameters...), Arguments arguments, std::index_sequence<numbers...>)
{
    kernel((Parameters)arguments[numbers]...);
}

template <class... Parameters>
static std::function<void(Arguments)> called(void (*kernel)(Parameters...))
{
    return [kernel](Arguments arguments) { call(kernel, arguments, std::index_sequence_for<Parameters...>()); };
}

static const std::map<std::string, std::function<void(Arguments)>> KERNELS = {
#define KERNEL(name) {#name, called(name)}
    KERNEL(xxh64_verify), KERNEL(crc32_verify), KERNEL(adler32_verify), KERNEL(checksum_split), KERNEL(crc32_append),
    KERNEL(zstd_walk), KERNEL(zstd_seal), KERNEL(deflate_walk), KERNEL(deflate_align), KERNEL(decoder_join),
    KERNEL(sized_lz4_join), KERNEL(blosc_decode), KERNEL(blosc_unshuffle),
};

static std::mutex mutex;  // there is one warp

// Run a kernel on a grid of blocks of whole warps; 0 if there is no such kernel.
extern "C" int run_chunk_kernel(const char* name, unsigned blocks, unsigned warps, int order, Arguments arguments)
{
    std::lock_guard<std::mutex> guard(mutex);
    auto found = KERNELS.find(name);
    if (found == KERNELS.end()) return 0;
    if (blocks) launch_warps(blocks, warps, (warp::Order)order, [&] { found->second(arguments); });
    return 1;
}

#ifdef PROGRAM
#include <sanitizer/asan_interface.h>

extern "C" const char* __asan_default_options() { return "detect_leaks=0:detect_stack_use_after_return=0"; }

const i64 GAP = 4096;

struct Region {
    i64 nbytes, misfit, unit;  // bytes, how far they begin behind a multiple of 16
    u8* begin;
};

struct Script {
    std::FILE* file;

    i64 number()
    {
        i64 value;
        if (std::fread(&value, sizeof value, 1, file) != 1) std::exit(3);
        return value;
    }
};

int main(int, char** arguments)
{
    Script script = {std::fopen(arguments[1], "rb")};
    std::FILE* results = std::fopen(arguments[2], "wb");
    if (!script.file || !results) return 3;
    std::vector<Region> regions((std::size_t)script.number());
    i64 bytes = GAP;
    for (Region& region : regions) {
        region = {script.number(), script.number(), script.number(), nullptr};
        bytes += GAP + (region.nbytes + 63) / 16 * 16;
    }
    u8* arena = (u8*)std::aligned_alloc(4096, (std::size_t)(bytes + 4095) / 4096 * 4096);
    u8* at = arena + GAP;
    for (Region& region : regions) {
        region.begin = at + region.misfit;
        at += GAP + (region.nbytes + 63) / 16 * 16;
        if ((i64)std::fread(region.begin, 1, (std::size_t)region.nbytes, script.file) != region.nbytes) return 3;
    }
    for (i64 left = script.number(); left > 0; left--) {  // an address: of which region, and where it stands
        i64 region = script.number(), offset = script.number(), of = script.number(), more = script.number();
        u64 address = (u64)regions[(std::size_t)of].begin + (u64)more;
        std::memcpy(regions[(std::size_t)region].begin + offset, &address, sizeof address);
    }
    ASAN_POISON_MEMORY_REGION(arena, at - arena);
    for (const Region& region : regions) {
        u64 unit = (u64)region.unit, first = (u64)region.begin & ~(unit - 1) & ~(u64)7;  // see `lz4_program.cpp`
        u64 last = ((u64)region.begin + (u64)region.nbytes + unit - 1) & ~(unit - 1);
        if (region.nbytes) ASAN_UNPOISON_MEMORY_REGION((u8*)first, last - first);
    }
    for (i64 left = script.number(); left > 0; left--) {
        std::string name((std::size_t)script.number(), ' ');
        if (std::fread(name.data(), 1, name.size(), script.file) != name.size()) return 3;
        unsigned blocks = (unsigned)script.number(), warps = (unsigned)script.number();
        int order = (int)script.number();
        std::vector<u64> values;
        for (i64 more = script.number(); more > 0; more--) {
            i64 is_region = script.number(), value = script.number();
            values.push_back(is_region ? (u64)regions[(std::size_t)value].begin : (u64)value);
        }
        if (!run_chunk_kernel(name.c_str(), blocks, warps, order, values.data())) return 4;
    }
    for (const Region& region : regions) std::fwrite(region.begin, 1, (std::size_t)region.nbytes, results);
    return std::fclose(results) ? 3 : 0;
}
#endif
