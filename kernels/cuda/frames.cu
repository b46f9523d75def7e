// What stands around the compressed data of a chunk, checked before nvCOMP gets it, and what nvCOMP says, checked after.
//
//   zstd_walk      frames of zstd, down to the headers of what is in their blocks
//   deflate_walk   members of gzip and streams of zlib: all around the deflate data, and its stored blocks
//   deflate_align  copies deflate data to where nvCOMP can read it
//   decoder_join   adds what nvCOMP reports
//   zstd_seal      adds the checksum to frames that were made without one
//   sized_lz4_join adds what is wrong with the size before an LZ4 block
//
// nvCOMP takes for granted that a chunk is sound: a damaged one can make it write into other chunks, or end the process's
// use of CUDA. So a chunk goes to it only if its headers agree with its length and its decoded size, and it has a checksum
// that is compared afterwards. To all others an encoded chunk of zeros is given in their place; their status is not OK,
// and the host decodes them again: it says which of them are damaged. What is refused here without need costs time alone.
//
// Columns are device arrays with an item for each chunk; sources and targets are addresses. Only chunks whose status is
// OK are looked at. `expected` receives the checksum that the decoded chunk must have, -1 where there is none.
#pragma once
#include "checksums.cu"

// Up to 8 bytes, the lowest first.
__device__ __forceinline__ u64 number_at(const u8* from, int bytes)
{
    u64 number = 0;
    for (int i = 0; i < bytes; i++) number |= (u64)from[i] << (8 * i);
    return number;
}

__device__ __forceinline__ void store_number(u8* to, u32 number)
{
    for (int i = 0; i < 4; i++) to[i] = (u8)(number >> (8 * i));
}

// ---- zstd, RFC 8878

const i64 ZSTD_MAX_BLOCK = 128 << 10;
const int ZSTD_MAX_WINDOW_LOG = 27;  // what libzstd decodes, unless it is told otherwise

// What blocks before the next one have left for it.
struct Tables {
    bool has_literals, has_sequences;
};

// Check the headers in a compressed block of at least 2 bytes, that of its literals and that of its sequences.
__device__ __forceinline__ bool is_zstd_block(const u8* block, i64 length, i64 max_size, Tables& tables)
{
    int kind = block[0] & 3, format = block[0] >> 2 & 3, header;
    i64 regenerated, stored;
    if (kind < 2) {  // as they are, or one byte again and again
        header = format == 1 ? 2 : format == 3 ? 3 : 1;
        if (header > length) return false;
        regenerated = (i64)(number_at(block, header) >> (header == 1 ? 3 : 4));
        stored = kind == 0 ? regenerated : 1;
    } else {  // Huffman codes, with their table or with the last one
        header = format < 2 ? 3 : format + 2;
        if (header > length || (kind == 3 && !tables.has_literals)) return false;
        int bits = format < 2 ? 10 : format == 2 ? 14 : 18;
        u64 sizes = number_at(block, header) >> 4;
        regenerated = (i64)(sizes & ((1u << bits) - 1));
        stored = (i64)(sizes >> bits & ((1u << bits) - 1));
        if (stored < 1 || regenerated < 1) return false;
        tables.has_literals = true;
    }
    if (regenerated > max_size || stored >= length - header) return false;  // a byte of the next header, at least
    i64 at = header + stored;
    int first = block[at++];
    if (first == 0) return at == length;  // no sequences
    at += first < 128 ? 0 : first < 255 ? 1 : 2;
    if (at + 1 >= length) return false;  // their modes, and a byte of them
    int modes = block[at];
    if (modes & 3) return false;
    bool repeats = (modes >> 6 & 3) == 3 || (modes >> 4 & 3) == 3 || (modes >> 2 & 3) == 3;
    if (repeats && !tables.has_sequences) return false;
    tables.has_sequences = true;
    return block[length - 1] != 0;  // the highest bit that is set says where they begin
}

// Check a frame that is all of a chunk, and has the decoded size in its header; returns a status.
__device__ __forceinline__ int zstd_frame(const u8* source, i64 length, i64 size, i64& checksum)
{
    checksum = -1;
    if (length < 9 || number_at(source, 4) != 0xFD2FB528u) return MALFORMED;
    int descriptor = source[4], kind = descriptor >> 6;
    bool is_single = descriptor >> 5 & 1, has_checksum = descriptor >> 2 & 1;
    if (descriptor & 0x0B) return MALFORMED;  // a dictionary, or a bit that is reserved
    int bytes = kind ? 1 << kind : (int)is_single;
    i64 at = is_single ? 5 : 6;
    if (bytes == 0 || length < at + bytes + 3) return MALFORMED;
    u64 content = number_at(source + at, bytes) + (kind == 1 ? 256 : 0), window = content;
    if (!is_single) {
        int exponent = 10 + (source[5] >> 3);
        if (exponent > ZSTD_MAX_WINDOW_LOG) return MALFORMED;
        window = ((u64)8 + (source[5] & 7)) << (exponent - 3);
    }
    if (content != (u64)size) return WRONG_LENGTH;
    i64 max_size = window < (u64)ZSTD_MAX_BLOCK ? (i64)window : ZSTD_MAX_BLOCK;
    i64 known = 0, possible = 0;  // decoded bytes: of blocks that say how many they have, and at most
    Tables tables = {false, false};
    at += bytes;
    bool is_last = false;
    while (!is_last) {
        if (length - at < 3) return MALFORMED;
        u32 header = (u32)number_at(source + at, 3);
        i64 block = header >> 3;
        int type = header >> 1 & 3;
        is_last = header & 1;
        at += 3;
        if (type == 3 || block > max_size) return MALFORMED;
        i64 stored = type == 1 ? 1 : block;  // of a byte that is repeated, one
        if (stored > length - at) return MALFORMED;
        if (type == 2) {
            if (block < 2 || !is_zstd_block(source + at, block, max_size, tables)) return MALFORMED;
            possible += max_size;
        } else {
            known += block;
        }
        if (known > size) return MALFORMED;
        at += stored;
    }
    if (known + possible < size || length - at != (has_checksum ? 4 : 0)) return MALFORMED;
    if (has_checksum) checksum = (i64)number_at(source + at, 4);
    return OK;
}

// A thread a chunk, on any grid. A chunk without a checksum is UNCHECKED, unless `needs_checksum` is 0.
extern "C" __global__ void zstd_walk(
    u64* sources, i64* lengths, const i64* capacities, i64 count, i64 needs_checksum, u64 zeros, i64 zeros_bytes,
    i64* expected, int* statuses)
{
    i64 threads = (i64)gridDim.x * blockDim.x;
    for (i64 chunk = (i64)blockIdx.x * blockDim.x + threadIdx.x; chunk < count; chunk += threads) {
        i64 checksum = -1;
        int status = statuses[chunk];
        if (status == OK) {
            status = zstd_frame(memory_at(sources[chunk]), lengths[chunk], capacities[chunk], checksum);
            if (status == OK && checksum < 0 && needs_checksum) status = UNCHECKED;
        }
        if (status != OK) {
            sources[chunk] = zeros;
            lengths[chunk] = zeros_bytes;
        }
        expected[chunk] = checksum;
        statuses[chunk] = status;
    }
}

// Let each frame that has no checksum end with one. Eight chunks a warp, in blocks of any whole number of warps. A frame
// that is not as `zstd_frame` wants it stays as it is: it is valid without.
//
// frames, lengths  encoded bytes
// chunks, sizes    what they decode to
// room             bytes at each frame
// statuses         those of the encoder: 0 for what it has encoded
extern "C" __global__ void zstd_seal(
    const u64* frames, i64* lengths, const u64* chunks, const i64* sizes, i64 room, const int* statuses, i64 count)
{
    const int at_once = LANES / SUMS;
    int lane = threadIdx.x % LANES;
    i64 warp = ((i64)blockIdx.x * blockDim.x + threadIdx.x) / LANES, warps = (i64)gridDim.x * blockDim.x / LANES;
    for (i64 first = warp * at_once; first < count; first += warps * at_once) {
        i64 chunk = first + lane / SUMS;
        i64 length = chunk < count && statuses[chunk] == 0 ? lengths[chunk] : 0;
        bool is_wanted = length > 0 && length <= room - 4;
        u64 hash = xxh64(is_wanted ? memory_at(chunks[chunk]) : 0, is_wanted ? sizes[chunk] : 0, lane);
        if (!is_wanted || lane % SUMS) continue;
        u8* frame = memory_at(frames[chunk]);
        i64 checksum;
        if (zstd_frame(frame, length, sizes[chunk], checksum) != OK || checksum >= 0) continue;
        frame[4] |= 4;
        store_number(frame + length, (u32)hash);
        lengths[chunk] = length + 4;
    }
}

// ---- gzip, RFC 1952, and zlib, RFC 1950; deflate, RFC 1951

// The first position of deflate data in a member of gzip, or -1.
__device__ __forceinline__ i64 gzip_header_bytes(const u8* source, i64 length)
{
    const int EXTRA = 4, NAME = 8, COMMENT = 16, OWN_CRC = 2, RESERVED = 0xE0;
    if (length < 18 || source[0] != 0x1F || source[1] != 0x8B || source[2] != 8) return -1;
    int flags = source[3];
    if (flags & RESERVED) return -1;
    i64 at = 10, end = length - 8;
    if (flags & EXTRA) {
        if (end - at < 2) return -1;
        at += 2 + (i64)number_at(source + at, 2);
    }
    for (int text = NAME; text <= COMMENT; text <<= 1) {  // each ends with a zero
        if (!(flags & text)) continue;
        while (at < end && source[at]) at++;
        at++;
    }
    if (flags & OWN_CRC) at += 2;
    return at < end ? at : -1;
}

__device__ __forceinline__ i64 zlib_header_bytes(const u8* source, i64 length)
{
    if (length < 8) return -1;
    int method = source[0], flags = source[1];
    bool has_dictionary = flags >> 5 & 1;
    return (method & 15) == 8 && method >> 4 <= 7 && (method * 256 + flags) % 31 == 0 && !has_dictionary ? 2 : -1;
}

// Whether deflate data may have this size: stored blocks are followed as long as there is no other one before them.
__device__ __forceinline__ bool is_deflate(const u8* data, i64 length, i64 size)
{
    i64 at = 0, done = 0;
    while (true) {
        if (at >= length) return false;
        int header = data[at], type = header >> 1 & 3;
        if (type == 3) return false;
        if (type) return length - at >= 2 && done + (length - at) * 1032 >= size;  // no code shrinks bytes any more
        if (length - at < 5) return false;
        i64 stored = (i64)number_at(data + at + 1, 2);
        if ((stored ^ (i64)number_at(data + at + 3, 2)) != 0xFFFF || stored > length - at - 5) return false;
        at += 5 + stored;
        done += stored;
        if (done > size) return false;
        if (header & 1) return done == size && at == length;
    }
}

// A thread a chunk, on any grid: members of gzip, or where `is_zlib` is not 0 streams of zlib. What is left of each chunk
// is the deflate data.
extern "C" __global__ void deflate_walk(
    u64* sources, i64* lengths, const i64* capacities, i64 count, i64 is_zlib, u64 zeros, i64 zeros_bytes, i64* expected,
    int* statuses)
{
    i64 threads = (i64)gridDim.x * blockDim.x;
    for (i64 chunk = (i64)blockIdx.x * blockDim.x + threadIdx.x; chunk < count; chunk += threads) {
        i64 checksum = -1, length = lengths[chunk], size = capacities[chunk];
        int status = statuses[chunk];
        if (status == OK) {
            const u8* source = memory_at(sources[chunk]);
            i64 header = is_zlib ? zlib_header_bytes(source, length) : gzip_header_bytes(source, length);
            i64 data = length - header - (is_zlib ? 4 : 8);
            const u8* behind = source + header + data;
            if (header < 0) {
                status = MALFORMED;
            } else if (!is_zlib && number_at(behind + 4, 4) != (u32)size) {
                status = WRONG_LENGTH;
            } else if (!is_deflate(source + header, data, size)) {
                status = MALFORMED;
            } else {
                checksum = is_zlib ? (i64)((u32)behind[0] << 24 | (u32)behind[1] << 16 | (u32)behind[2] << 8 | behind[3])
                                   : (i64)number_at(behind, 4);
                sources[chunk] += (u64)header;
                lengths[chunk] = data;
            }
        }
        if (status != OK) {
            sources[chunk] = zeros;
            lengths[chunk] = zeros_bytes;
        }
        expected[chunk] = checksum;
        statuses[chunk] = status;
    }
}

// Copy the bytes of each chunk to an address that is a multiple of 4, and let that be its source. A warp a chunk, in
// blocks of any whole number of warps.
extern "C" __global__ void deflate_align(
    u64* sources, const i64* lengths, const u64* targets, i64 count, const int* statuses)
{
    int lane = threadIdx.x % LANES;
    i64 warp = ((i64)blockIdx.x * blockDim.x + threadIdx.x) / LANES, warps = (i64)gridDim.x * blockDim.x / LANES;
    for (i64 chunk = warp; chunk < count; chunk += warps) {
        u64 source = sources[chunk];
        __syncwarp();  // all lanes know it before one changes it
        if (statuses[chunk] != OK) continue;
        copy_bytes(memory_at(targets[chunk]), memory_at(source), (int)lengths[chunk], lane);
        if (lane == 0) sources[chunk] = targets[chunk];
    }
}

// ---- Afterwards

// A chunk is MALFORMED if nvCOMP reports a failure or another number of bytes. A thread a chunk, on any grid.
extern "C" __global__ void decoder_join(
    const int* found_statuses, const i64* found_decoded, const i64* capacities, i64 count, int* statuses)
{
    i64 threads = (i64)gridDim.x * blockDim.x;
    for (i64 chunk = (i64)blockIdx.x * blockDim.x + threadIdx.x; chunk < count; chunk += threads)
        if (statuses[chunk] == OK && (found_statuses[chunk] != 0 || found_decoded[chunk] != capacities[chunk]))
            statuses[chunk] = MALFORMED;
}

// A chunk is MALFORMED if the 4 bytes before it are not its decoded size. A thread a chunk, on any grid.
extern "C" __global__ void sized_lz4_join(const u64* chunks, const i64* capacities, i64 count, int* statuses)
{
    i64 threads = (i64)gridDim.x * blockDim.x;
    for (i64 chunk = (i64)blockIdx.x * blockDim.x + threadIdx.x; chunk < count; chunk += threads)
        if (statuses[chunk] == OK && (i64)number_at(memory_at(chunks[chunk]), 4) != capacities[chunk])
            statuses[chunk] = MALFORMED;
}
