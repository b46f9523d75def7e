// What all kernels in CUDA C share: words, memory, and copies by a warp.
//
// Reads are of whole words: of 4-byte words that hold a byte that is asked for. Writes are exact.
//
// NVRTC compiles what includes this, and knows no files: `wkgpu.kernels.cuda.sources` puts texts in place of their lines.
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

const u32 ALL_LANES = 0xffffffffu;
const int LANES = 32;

// What lies at an address. The compiler is told that this is global memory: then it does not look elsewhere, and knows
// that no store there changes what is in shared memory.
__device__ __forceinline__ u8* memory_at(u64 address)
{
    u8* pointer = (u8*)address;
    __builtin_assume(__isGlobal(pointer));
    return pointer;
}

// The 8 bytes at an address: the first one in the lowest bits.
__device__ __forceinline__ u64 joined(u32 word, u32 next, u32 last, int shift)
{
    return (u64)__funnelshift_r(next, last, shift) << 32 | __funnelshift_r(word, next, shift);
}

// A word at any address: where that is no multiple of 4, it is made of two, `shift` bits apart.
template <bool IS_ALIGNED>
__device__ __forceinline__ u32 load_word(const u32* source, int index, int shift)
{
    return IS_ALIGNED ? source[index] : __funnelshift_r(source[index], source[index + 1], shift);
}

template <bool IS_ALIGNED>
__device__ __forceinline__ void copy_words(u32* target, const u32* source, int shift, int words, int lane)
{
    int word = lane;
    for (; word + 3 * LANES < words; word += 4 * LANES) {  // four loads at a time are in flight
        u32 a = load_word<IS_ALIGNED>(source, word, shift);
        u32 b = load_word<IS_ALIGNED>(source, word + LANES, shift);
        u32 c = load_word<IS_ALIGNED>(source, word + 2 * LANES, shift);
        u32 d = load_word<IS_ALIGNED>(source, word + 3 * LANES, shift);
        target[word] = a;
        target[word + LANES] = b;
        target[word + 2 * LANES] = c;
        target[word + 3 * LANES] = d;
    }
#pragma unroll 1  // at most three times
    for (; word < words; word += LANES) target[word] = load_word<IS_ALIGNED>(source, word, shift);
}

// Bytes up to the next multiple of 4, at most `count`.
__device__ __forceinline__ int bytes_to_word(const u8* target, int count)
{
    int head = (int)(-(u64)target & 3);
    return head < count ? head : count;
}

// Copy bytes that do not overlap: words, and before and behind them single bytes.
__device__ __forceinline__ void copy_bytes(u8* target, const u8* source, int count, int lane)
{
    int head = bytes_to_word(target, count);
    if (lane < head) target[lane] = source[lane];
    target += head;
    source += head;
    count -= head;
    int words = count >> 2, shift = (int)((u64)source & 3) * 8, done = words << 2;
    const u32* from = (const u32*)(source - ((u64)source & 3));
    if (shift == 0)
        copy_words<true>((u32*)target, from, 0, words, lane);
    else
        copy_words<false>((u32*)target, from, shift, words, lane);
    if (lane < (count & 3)) target[done + lane] = source[done + lane];
}
