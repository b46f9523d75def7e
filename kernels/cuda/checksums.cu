// Checksums of the chunks of a batch, compared with those that the chunks are stored with.
//
//   xxh64_verify       the lower half of XXH64, of decoded zstd frames
//   crc32_verify       CRC-32, of decoded gzip members, and CRC-32C, of encoded bytes
//   adler32_verify     Adler-32, of decoded zlib streams
//   checksum_split     takes the 4 bytes of a checksum from the end of each chunk
//   crc32_append       puts them there
//
// Columns are device arrays with an item for each chunk; sources and targets are addresses. A chunk is looked at if its
// status is OK and its `expected` is not negative; one whose checksum is another gets the status MALFORMED.
//
// A batch has thousands of chunks of 32 KiB, or hundreds of 1 MiB. XXH64 has four sums by nature: four lanes take a
// chunk, and 32 bytes of it at a time, which is what memory gives at once. CRCs and Adler-32 are those of 32 interleaved
// parts, one a lane, so that a warp reads 128 bytes of a chunk at a time; the parts are joined in the end.
#pragma once
#include "words.cu"

// ---- XXH64, as https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md describes it; the seed is 0

const u64 PRIME_1 = 0x9E3779B185EBCA87ull, PRIME_2 = 0xC2B2AE3D27D4EB4Full, PRIME_3 = 0x165667B19E3779F9ull,
          PRIME_4 = 0x85EBCA77C2B2AE63ull, PRIME_5 = 0x27D4EB2F165667C5ull;
const int SUMS = 4;          // of a chunk, each with a lane
const int STRIPE = 8 * SUMS;  // bytes
const int AHEAD = 8;         // loads of a lane that are in flight

__device__ __forceinline__ u64 rotated(u64 value, int bits) { return value << bits | value >> (64 - bits); }

__device__ __forceinline__ u64 with_input(u64 sum, u64 input) { return rotated(sum + input * PRIME_2, 31) * PRIME_1; }

__device__ __forceinline__ u64 with_sum(u64 hash, u64 sum) { return (hash ^ with_input(0, sum)) * PRIME_1 + PRIME_4; }

// The 8 bytes at an address; only words that hold one of them are read. No kernel here writes what it loads so.
template <bool IS_ALIGNED>
__device__ __forceinline__ u64 load_8(const u8* from)
{
    if (IS_ALIGNED) return __ldg((const u64*)from);
    int shift = (int)((u64)from & 3) * 8;
    const u32* words = (const u32*)(from - ((u64)from & 3));
    return joined(__ldg(words), __ldg(words + 1), shift ? __ldg(words + 2) : 0, shift);
}

template <bool IS_ALIGNED>
__device__ __forceinline__ u64 sum_of_stripes(const u8* from, i64 stripes, u64 sum)
{
    i64 stripe = 0;
    for (; stripe + AHEAD <= stripes; stripe += AHEAD) {
        u64 inputs[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) inputs[i] = load_8<IS_ALIGNED>(from + STRIPE * (stripe + i));
#pragma unroll
        for (int i = 0; i < AHEAD; i++) sum = with_input(sum, inputs[i]);
    }
#pragma unroll 1
    for (; stripe < stripes; stripe++) sum = with_input(sum, load_8<IS_ALIGNED>(from + STRIPE * stripe));
    return sum;
}

// The bytes behind the last stripe.
__device__ __forceinline__ u64 with_rest(u64 hash, const u8* from, int count)
{
    for (; count >= 8; count -= 8, from += 8)
        hash = rotated(hash ^ with_input(0, load_8<false>(from)), 27) * PRIME_1 + PRIME_4;
    for (; count >= 4; count -= 4, from += 4) {
        u64 word = from[0] | (u32)from[1] << 8 | (u32)from[2] << 16 | (u32)from[3] << 24;
        hash = rotated(hash ^ word * PRIME_1, 23) * PRIME_2 + PRIME_3;
    }
    for (; count > 0; count--, from++) hash = rotated(hash ^ *from * PRIME_5, 11) * PRIME_1;
    return hash;
}

// XXH64 of bytes, by the lanes 4n to 4n + 3 of a warp, of which all lanes call it; others may have other bytes, or none.
__device__ __forceinline__ u64 xxh64(const u8* bytes, i64 size, int lane)
{
    int part = lane % SUMS, first = lane - part;
    u64 sum = part == 0 ? PRIME_1 + PRIME_2 : part == 1 ? PRIME_2 : part == 2 ? 0 : 0 - PRIME_1;
    i64 stripes = size / STRIPE;
    sum = ((u64)bytes & 7) == 0 ? sum_of_stripes<true>(bytes + 8 * part, stripes, sum)
                                : sum_of_stripes<false>(bytes + 8 * part, stripes, sum);
    u64 a = __shfl_sync(ALL_LANES, sum, first), b = __shfl_sync(ALL_LANES, sum, first + 1);
    u64 c = __shfl_sync(ALL_LANES, sum, first + 2), d = __shfl_sync(ALL_LANES, sum, first + 3);
    u64 hash = PRIME_5;
    if (stripes) {
        hash = rotated(a, 1) + rotated(b, 7) + rotated(c, 12) + rotated(d, 18);
        hash = with_sum(with_sum(with_sum(with_sum(hash, a), b), c), d);
    }
    hash = with_rest(hash + (u64)size, bytes + stripes * STRIPE, (int)(size % STRIPE));
    hash = (hash ^ hash >> 33) * PRIME_2;
    hash = (hash ^ hash >> 29) * PRIME_3;
    return hash ^ hash >> 32;
}

// Eight chunks a warp, in blocks of any whole number of warps.
extern "C" __global__ void xxh64_verify(
    const u64* targets, const i64* sizes, const i64* expected, i64 count, int* statuses)
{
    const int chunks = LANES / SUMS;
    int lane = threadIdx.x % LANES;
    i64 warp = ((i64)blockIdx.x * blockDim.x + threadIdx.x) / LANES, warps = (i64)gridDim.x * blockDim.x / LANES;
    for (i64 first = warp * chunks; first < count; first += warps * chunks) {
        i64 chunk = first + lane / SUMS;
        bool is_wanted = chunk < count && statuses[chunk] == OK && expected[chunk] >= 0;
        const u8* bytes = is_wanted ? memory_at(targets[chunk]) : 0;
        u64 hash = xxh64(bytes, is_wanted ? sizes[chunk] : 0, lane);
        if (is_wanted && lane % SUMS == 0 && (u32)hash != (u32)expected[chunk]) statuses[chunk] = MALFORMED;
    }
}

// ---- What CRC-32 and Adler-32 have in common: a chunk as steps of 128 bytes, of which each lane has a word
//
// Zeros before the first byte, so that the last step is whole, change neither of them.

struct Steps {
    u64 origin;  // address at which the first step would begin
    i64 count;
    int before;  // zeros
};

const int STEP = 4 * LANES;  // bytes

__device__ __forceinline__ Steps steps_of(const u8* bytes, i64 size)
{
    i64 count = (size + STEP - 1) / STEP;
    int before = (int)(count * STEP - size);
    return {(u64)bytes - before, count, before};
}

// A word of a step that may begin before the first byte: `change` is what the first 4 bytes are combined with.
__device__ __forceinline__ u32 word_of_first_steps(const Steps& steps, int step, int lane, u32 change)
{
    u32 word = 0;
    for (int i = 0; i < 4; i++) {
        int position = STEP * step + 4 * lane + i - steps.before;
        if (position < 0) continue;
        u32 byte = *(const u8*)(steps.origin + STEP * step + 4 * lane + i);
        if (position < 4) byte ^= change & 255;
        word |= byte << (8 * i);
    }
    return word;
}

template <bool IS_ALIGNED>
__device__ __forceinline__ u32 load_4(u64 address)
{
    const u32* words = (const u32*)(address & ~(u64)3);
    return IS_ALIGNED ? __ldg(words) : __funnelshift_r(__ldg(words), __ldg(words + 1), (u32)(address & 3) * 8);
}

// ---- CRC-32: the remainder of the bytes as a polynomial. Bit 31 of a word is its lowest power

const u32 ONE = 1u << 31;
const int POWERS = 6;  // x^32, x^64, ... x^1024

// The product of two remainders.
__device__ __forceinline__ u32 times(u32 a, u32 b, u32 polynomial)
{
    u32 product = 0;
#pragma unroll 1
    for (int bit = 31; bit >= 0; bit--) {
        product ^= a >> bit & 1 ? b : 0;
        b = b >> 1 ^ (b & 1 ? polynomial : 0);
    }
    return product;
}

struct Crc {
    u32* tables;  // 4 of 256 words in shared memory: a byte of a word, times x^1024
    u32 weight;   // by which this lane's remainder counts, x^(32 * (32 - lane))
    u32 polynomial;
    int lane;
};

// Prepare the lanes of a warp, which has the tables for itself.
__device__ __forceinline__ Crc begun(u32* tables, u32 polynomial, int lane)
{
    u32 weight = ONE, power = polynomial;  // x^32, since the polynomial is that and what this leaves
#pragma unroll 1
    for (int i = 0; i < POWERS; i++) {
        if ((LANES - lane) >> i & 1) weight = times(weight, power, polynomial);
        if (i + 1 < POWERS) power = times(power, power, polynomial);
    }
    u32 image = times(power, 1u << lane, polynomial);  // of one bit: those of all others are their sums
#pragma unroll 1
    for (int byte = 0; byte < 4; byte++) {
        u32 images[8];
#pragma unroll
        for (int bit = 0; bit < 8; bit++) images[bit] = __shfl_sync(ALL_LANES, image, 8 * byte + bit);
#pragma unroll 1
        for (int entry = lane; entry < 256; entry += LANES) {
            u32 sum = 0;
#pragma unroll
            for (int bit = 0; bit < 8; bit++) sum ^= entry >> bit & 1 ? images[bit] : 0;
            tables[256 * byte + entry] = sum;
        }
    }
    __syncwarp();
    return {tables, weight, polynomial, lane};
}

__device__ __forceinline__ u32 one_step(const Crc& crc, u32 remainder, u32 word)
{
    const u32* tables = crc.tables;
    return word ^ tables[remainder & 255] ^ tables[256 + (remainder >> 8 & 255)] ^
           tables[512 + (remainder >> 16 & 255)] ^ tables[768 + (remainder >> 24)];
}

template <bool IS_ALIGNED>
__device__ __forceinline__ u32 remainder_of_steps(const Crc& crc, u64 from, i64 first, i64 steps, u32 remainder)
{
    i64 step = first;
    for (; step + AHEAD <= steps; step += AHEAD) {
        u32 words[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) words[i] = load_4<IS_ALIGNED>(from + STEP * (step + i));
#pragma unroll
        for (int i = 0; i < AHEAD; i++) remainder = one_step(crc, remainder, words[i]);
    }
#pragma unroll 1
    for (; step < steps; step++) remainder = one_step(crc, remainder, load_4<IS_ALIGNED>(from + STEP * step));
    return remainder;
}

// The CRC of bytes, by a whole warp; all its lanes return it.
__device__ __forceinline__ u32 crc32(const Crc& crc, const u8* bytes, i64 size)
{
    if (size < 4) {
        u32 remainder = ~0u;
        for (i64 i = 0; i < size; i++) {
            remainder ^= bytes[i];
            for (int bit = 0; bit < 8; bit++) remainder = remainder >> 1 ^ (remainder & 1 ? crc.polynomial : 0);
        }
        return ~remainder;
    }
    Steps steps = steps_of(bytes, size);
    int first = steps.count < 2 ? (int)steps.count : 2;  // steps that may hold one of the first 4 bytes
    u32 remainder = 0;
    for (int step = 0; step < first; step++)
        remainder = one_step(crc, remainder, word_of_first_steps(steps, step, crc.lane, ~0u));
    u64 from = steps.origin + 4 * crc.lane;
    remainder = (steps.origin & 3) == 0 ? remainder_of_steps<true>(crc, from, first, steps.count, remainder)
                                        : remainder_of_steps<false>(crc, from, first, steps.count, remainder);
    u32 sum = times(remainder, crc.weight, crc.polynomial);
    for (int other = LANES / 2; other > 0; other /= 2) sum ^= __shfl_sync(ALL_LANES, sum, crc.lane ^ other);
    return ~sum;
}

// A chunk a warp, in blocks of 32 threads. The polynomial has its lowest power in bit 31.
extern "C" __global__ void __launch_bounds__(LANES) crc32_verify(
    const u64* targets, const i64* sizes, const i64* expected, i64 count, u64 polynomial, int* statuses)
{
    __shared__ u32 tables[4 * 256];
    Crc crc = begun(tables, (u32)polynomial, threadIdx.x % LANES);
    for (i64 chunk = blockIdx.x; chunk < count; chunk += gridDim.x) {
        bool is_wanted = statuses[chunk] == OK && expected[chunk] >= 0;
        __syncwarp();  // all lanes know it before one changes it
        if (!is_wanted) continue;
        u32 found = crc32(crc, memory_at(targets[chunk]), sizes[chunk]);
        if (crc.lane == 0 && found != (u32)expected[chunk]) statuses[chunk] = MALFORMED;
    }
}

// Put the CRC of each chunk that has been encoded to some bytes behind them, and count its 4 bytes; see `crc32_verify`.
//
// room      bytes at each target
// statuses  those of the encoder: 0 for what it has encoded
extern "C" __global__ void __launch_bounds__(LANES) crc32_append(
    const u64* targets, i64* lengths, i64 room, const int* statuses, i64 count, u64 polynomial)
{
    __shared__ u32 tables[4 * 256];
    Crc crc = begun(tables, (u32)polynomial, threadIdx.x % LANES);
    for (i64 chunk = blockIdx.x; chunk < count; chunk += gridDim.x) {
        i64 length = lengths[chunk];
        __syncwarp();  // as above
        if (statuses[chunk] != 0 || length <= 0 || length > room - 4) continue;
        u8* bytes = memory_at(targets[chunk]);
        u32 found = crc32(crc, bytes, length);
        if (crc.lane < 4) bytes[length + crc.lane] = (u8)(found >> (8 * crc.lane));
        if (crc.lane == 0) lengths[chunk] = length + 4;
    }
}

// Split each chunk into its bytes and the checksum of 4 bytes behind them, the lowest first. A thread a chunk, on any
// grid.
extern "C" __global__ void checksum_split(
    const u64* sources, i64* lengths, i64 count, i64* expected, int* statuses)
{
    i64 threads = (i64)gridDim.x * blockDim.x;
    for (i64 chunk = (i64)blockIdx.x * blockDim.x + threadIdx.x; chunk < count; chunk += threads) {
        i64 length = lengths[chunk] - 4;
        bool is_possible = length >= 1;
        statuses[chunk] = is_possible ? OK : MALFORMED;
        expected[chunk] = -1;
        if (!is_possible) continue;
        const u8* at = memory_at(sources[chunk]) + length;
        expected[chunk] = (u32)at[0] | (u32)at[1] << 8 | (u32)at[2] << 16 | (u32)at[3] << 24;
        lengths[chunk] = length;
    }
}

// ---- Adler-32: two sums modulo a prime, of the bytes, and of what the first one was after each

const u32 ADLER_PRIME = 65521;

struct Adler {
    u64 sum;       // of the bytes
    u64 of_steps;  // sums after each step
    u64 inside;    // bytes times their places in a word
};

__device__ __forceinline__ void add_word(Adler& adler, u32 word)
{
    adler.sum += __dp4a(word, 0x01010101u, 0u);
    adler.inside += __dp4a(word, 0x03020100u, 0u);
    adler.of_steps += adler.sum;
}

template <bool IS_ALIGNED>
__device__ __forceinline__ void add_steps(Adler& adler, u64 from, i64 first, i64 steps)
{
    i64 step = first;
    for (; step + AHEAD <= steps; step += AHEAD) {
        u32 words[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) words[i] = load_4<IS_ALIGNED>(from + STEP * (step + i));
#pragma unroll
        for (int i = 0; i < AHEAD; i++) add_word(adler, words[i]);
    }
#pragma unroll 1
    for (; step < steps; step++) add_word(adler, load_4<IS_ALIGNED>(from + STEP * step));
}

// The Adler-32 of bytes, by a whole warp; all its lanes return it.
__device__ __forceinline__ u32 adler32(const u8* bytes, i64 size, int lane)
{
    Steps steps = steps_of(bytes, size);
    Adler adler = {0, 0, 0};
    if (steps.count) add_word(adler, word_of_first_steps(steps, 0, lane, 0));
    u64 from = steps.origin + 4 * lane;
    if ((steps.origin & 3) == 0)
        add_steps<true>(adler, from, 1, steps.count);
    else
        add_steps<false>(adler, from, 1, steps.count);
    // A byte counts as often as there are bytes from it on to the end.
    u64 low = adler.sum % ADLER_PRIME;
    u64 high = STEP * (adler.of_steps % ADLER_PRIME) + 4 * (u64)ADLER_PRIME * LANES - 4 * lane * low;
    high = (high + ADLER_PRIME - adler.inside % ADLER_PRIME) % ADLER_PRIME;
    for (int other = LANES / 2; other > 0; other /= 2) {
        low += __shfl_sync(ALL_LANES, low, lane ^ other);
        high += __shfl_sync(ALL_LANES, high, lane ^ other);
    }
    low = (low + 1) % ADLER_PRIME;
    high = (high + (u64)size) % ADLER_PRIME;
    return (u32)(high << 16 | low);
}

// A chunk a warp, in blocks of any whole number of warps.
extern "C" __global__ void adler32_verify(
    const u64* targets, const i64* sizes, const i64* expected, i64 count, int* statuses)
{
    int lane = threadIdx.x % LANES;
    i64 warp = ((i64)blockIdx.x * blockDim.x + threadIdx.x) / LANES, warps = (i64)gridDim.x * blockDim.x / LANES;
    for (i64 chunk = warp; chunk < count; chunk += warps) {
        bool is_wanted = statuses[chunk] == OK && expected[chunk] >= 0;
        __syncwarp();  // all lanes know it before one changes it
        if (!is_wanted) continue;
        u32 found = adler32(memory_at(targets[chunk]), sizes[chunk], lane);
        if (lane == 0 && found != (u32)expected[chunk]) statuses[chunk] = MALFORMED;
    }
}
