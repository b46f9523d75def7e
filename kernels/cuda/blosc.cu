// Chunks of Blosc 1 with LZ4 on a GPU, decoded with every access checked.
//
//   blosc_decode     decodes the streams of a chunk, each by a warp, and copies those that are stored as they are
//   blosc_unshuffle  puts the bytes, or bits, of voxels together again
//
// A chunk is a header of 16 bytes, a table with the offset of each block, and the blocks. A block has one stream, or, if it
// is split, one for each byte of a voxel; before a stream stand the 4 bytes of its length. One that is as long as what it
// decodes to is stored as it is. A chunk that does not shrink is stored as it is behind the header.
//
// Columns are device arrays with an item for each chunk; sources and targets are addresses. Statuses are OK before
// blosc_decode, and MALFORMED afterwards where a chunk is damaged, or is not one of those that are decoded here. Those are
// decoded by the host.
//
// Several warps have the same chunk: each takes every `parts`-th stream or row, from its own on.
#pragma once
#include "lz4_chunk.cu"

#ifndef WARPS
#define WARPS 2  // warps in a block
#endif

const int BLOSC_HEADER = 16, BLOSC_FORMAT = 2, MAX_SPLITS = 16, MIN_SPLIT_BYTES = 128;
enum Shuffle { NO_SHUFFLE, BYTE_SHUFFLE, BIT_SHUFFLE };

struct Blosc {
    i64 size, block;  // decoded bytes, and those of a block
    int voxel;        // bytes
    int blocks;
    int shuffle;
    bool is_split, is_stored;
};

__device__ __forceinline__ u32 word_at(const u8* from)
{
    return (u32)from[0] | (u32)from[1] << 8 | (u32)from[2] << 16 | (u32)from[3] << 24;
}

// Read a header; false unless the chunk is one that is decoded here.
__device__ __forceinline__ bool is_blosc(const u8* source, i64 length, i64 size, bool may_shuffle, Blosc& found)
{
    if (length < BLOSC_HEADER || size < 1 || size > MAX_SIZE || source[0] != BLOSC_FORMAT) return false;
    int flags = source[2], voxel = source[3];
    if (voxel < 1 || word_at(source + 4) != (u32)size || (i64)word_at(source + 12) != length) return false;
    i64 block = (i64)word_at(source + 8);
    if (block < 1 || block > size || flags >> 3 & 1) return false;  // a bit without a meaning
    found = {size, block, voxel, 1, NO_SHUFFLE, false, false};
    found.is_stored = flags >> 1 & 1;
    if (found.is_stored) return length == BLOSC_HEADER + size;
    if (flags >> 5 != 1 || source[1] != 1) return false;  // LZ4, in its first format
    if (flags >> 2 & 1)
        found.shuffle = BIT_SHUFFLE;
    else if ((flags & 1) && voxel > 1)
        found.shuffle = BYTE_SHUFFLE;
    if (found.shuffle && (!may_shuffle || (voxel != 1 && voxel != 2 && voxel != 4 && voxel != 8))) return false;
    found.is_split = !(flags >> 4 & 1) && voxel <= MAX_SPLITS && block / voxel >= MIN_SPLIT_BYTES;
    if (found.is_split && block % voxel) return false;
    i64 blocks = (size + block - 1) / block;
    if (blocks > (length - BLOSC_HEADER) / 4) return false;
    found.blocks = (int)blocks;
    return true;
}

// Decode one stream, which begins with its length at a position, to `size` bytes.
__device__ __forceinline__ bool decode_stream(
    const u8* chunk, i64 length, i64 position, u8* target, int size, u32* window, int lane)
{
    if (position < BLOSC_HEADER || position > length - 4) return false;
    i64 bytes = (i64)word_at(chunk + position);
    const u8* stream = chunk + position + 4;
    if (bytes < 1 || bytes > length - position - 4) return false;
    if (bytes == size) {
        copy_bytes(target, stream, size, lane);
        __syncwarp();
        return true;
    }
    if (!is_possible(bytes, size)) return false;
    int before = (int)((u64)stream & 15), done = 0;
    Source source = {stream - before, before, before + (int)bytes, window, -W, lane};
    Pending pending = {target, 0, false};
    int status = decode_chunk(source, target, size, size, done, pending);
    store(pending);
    return status == OK;
}

// The position of a stream in its block, whose first one is at `position`; -1 if it is not in the chunk.
__device__ __forceinline__ i64 position_of(const u8* chunk, i64 length, i64 position, int stream)
{
    for (; stream > 0; stream--) {
        if (position < BLOSC_HEADER || position > length - 4) return -1;
        i64 bytes = (i64)word_at(chunk + position);
        if (bytes > length - position - 4) return -1;
        position += 4 + bytes;
    }
    return position;
}

// Decode what a warp has of a chunk.
__device__ __forceinline__ bool decode_part(
    const Blosc& blosc, const u8* chunk, i64 length, u8* target, i64 part, i64 parts, u32* window, int lane)
{
    if (blosc.is_stored) {
        i64 share = ((blosc.size + parts - 1) / parts + 15) & ~(i64)15, first = part * share;
        i64 bytes = blosc.size - first < share ? blosc.size - first : share;
        if (bytes > 0) copy_bytes(target + first, chunk + BLOSC_HEADER + first, (int)bytes, lane);
        return true;
    }
    int splits = blosc.is_split ? blosc.voxel : 1;
    bool is_good = true;
    for (i64 item = part; item < (i64)blosc.blocks * splits && is_good; item += parts) {
        i64 block = item / splits, first = block * blosc.block;
        int stream = (int)(item % splits), streams = splits;
        i64 size = blosc.size - first < blosc.block ? blosc.size - first : blosc.block;
        if (size < blosc.block) {  // the last block, if it is a short one, is not split
            streams = 1;
            if (stream) continue;
        }
        i64 position = (i64)word_at(chunk + BLOSC_HEADER + 4 * block);
        position = position_of(chunk, length, position, stream);
        int bytes = (int)(size / streams);
        is_good = decode_stream(chunk, length, position, target + first + (i64)stream * bytes, bytes, window, lane);
    }
    return is_good;
}

// Decode chunks, `parts` warps each, in any number of blocks of 32 * WARPS threads.
//
// sources, lengths     encoded bytes
// targets, capacities  where decoded bytes go, and how many there are
// shuffled             where those go that are shuffled; 0 if there is no such memory
extern "C" __global__ void __launch_bounds__(LANES * WARPS, 24 / WARPS) blosc_decode(
    const u64* sources, const i64* lengths, const u64* targets, const u64* shuffled, const i64* capacities, i64 count,
    i64 parts, int* statuses)
{
    __shared__ __align__(16) u32 windows[WARPS][W / 4 + 4];  // as in lz4.cu
    int warp = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    for (i64 item = (i64)blockIdx.x * WARPS + warp; item < count * parts; item += (i64)gridDim.x * WARPS) {
        i64 chunk = item / parts, part = item % parts, length = lengths[chunk];
        const u8* source = memory_at(sources[chunk]);
        Blosc blosc;
        bool is_good = is_blosc(source, length, capacities[chunk], shuffled != 0, blosc);
        if (is_good) {
            u8* target = memory_at(blosc.shuffle ? shuffled[chunk] : targets[chunk]);
            is_good = decode_part(blosc, source, length, target, part, parts, windows[warp], lane);
        }
        if (!is_good && lane == 0) statuses[chunk] = MALFORMED;  // whichever warp writes it last
        __syncwarp();
    }
}

// ---- Shuffles: within a block, first the first bytes (bits) of all voxels, then the second ones, and so on

// A byte of a block that was shuffled: of `voxels` voxels of 2^log bytes each.
__device__ __forceinline__ u32 unshuffled_byte(const u8* block, i64 voxels, int log, int shuffle, i64 index)
{
    i64 voxel = index >> log, byte = index & ((1 << log) - 1);
    if (shuffle == BYTE_SHUFFLE) return block[byte * voxels + voxel];
    const u8* bits = block + 8 * byte * (voxels / 8) + (voxel >> 3);  // a row for each bit
    u32 found = 0;
#pragma unroll
    for (int bit = 0; bit < 8; bit++) found |= (bits[bit * (voxels / 8)] >> (voxel & 7) & 1u) << bit;
    return found;
}

__device__ __forceinline__ void unshuffle_block(
    const u8* block, u8* target, i64 size, const Blosc& blosc, i64 first, i64 step)
{
    int log = blosc.voxel == 1 ? 0 : blosc.voxel == 2 ? 1 : blosc.voxel == 4 ? 2 : 3;
    i64 voxels = size >> log, shuffled = voxels << log;  // a rest that is no whole voxel stays where it is
    int shuffle = blosc.shuffle;
    if (shuffle == BIT_SHUFFLE && voxels % 8) shuffled = 0;  // then nothing was shuffled
    i64 words = ((u64)target & 3) == 0 ? shuffled / 4 : 0;
    for (i64 word = first; word < words; word += step) {
        u32 found = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) found |= unshuffled_byte(block, voxels, log, shuffle, 4 * word + i) << (8 * i);
        ((u32*)target)[word] = found;
    }
    for (i64 i = 4 * words + first; i < size; i += step)
        target[i] = i < shuffled ? (u8)unshuffled_byte(block, voxels, log, shuffle, i) : block[i];
}

// Undo the shuffle of chunks that have one; the columns are those of blosc_decode.
extern "C" __global__ void blosc_unshuffle(
    const u64* sources, const i64* lengths, const u64* targets, const u64* shuffled, const i64* capacities, i64 count,
    i64 parts, const int* statuses)
{
    int lane = threadIdx.x % LANES;
    i64 warp = ((i64)blockIdx.x * blockDim.x + threadIdx.x) / LANES, warps = (i64)gridDim.x * blockDim.x / LANES;
    for (i64 item = warp; item < count * parts; item += warps) {
        i64 chunk = item / parts, part = item % parts;
        Blosc blosc;
        if (statuses[chunk] != OK) continue;
        if (!is_blosc(memory_at(sources[chunk]), lengths[chunk], capacities[chunk], true, blosc)) continue;
        if (!blosc.shuffle) continue;
        const u8* from = memory_at(shuffled[chunk]);
        u8* to = memory_at(targets[chunk]);
        for (i64 first = 0; first < blosc.size; first += blosc.block) {
            i64 size = blosc.size - first < blosc.block ? blosc.size - first : blosc.block;
            unshuffle_block(from + first, to + first, size, blosc, part * LANES + lane, parts * LANES);
        }
    }
}
