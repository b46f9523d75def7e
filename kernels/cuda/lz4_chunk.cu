// One LZ4 chunk, decoded by a warp with every access checked; `lz4.cu` says what the verdicts are.
#pragma once
#include "words.cu"

#ifndef W
#define W 1024  // bytes of the window through which a warp sees its source: a multiple of 16, at least 64
#endif

// Of the format: a token has 4 bits for each length, of which 15 says that bytes with more of it follow.
const int LONG = 15, MIN_MATCH = 4;
// Of liblz4: the largest chunk; and the bytes that have to follow.
const i64 MAX_SIZE = 0x7E000000;
const int SOURCE_AFTER_LITERALS = 8, TARGET_AFTER_LITERALS = 12, SOURCE_AFTER_LENGTH = 4, TARGET_AFTER_MATCH = 5;

// A sequence of up to SHORT literals is parsed from 8 bytes at once: token, literals, offset, and a byte of the length.
// So few literals obey the rules above also where liblz4 exempts them.
const int SHORT = 4;

// ---- What both kernels know of a chunk

// Whether a chunk of this length may have this size at all: LZ4 adds a byte for every 255, and 16. Besides, all
// positions in such a chunk, and a length that has just become too large, fit an int with room to spare.
__device__ __forceinline__ bool is_possible(i64 length, i64 size)
{
    return size >= 1 && size <= MAX_SIZE && length >= 1 && length <= size + (u32)size / 255 + 16;
}

// Whether literals may end where these do: `source_left` and `target_left` are the bytes from their first one on.
__device__ __forceinline__ bool literals_fit(int literals, int source_left, int target_left)
{
    if (literals == source_left) return literals <= target_left;  // the last ones
    return literals <= source_left - SOURCE_AFTER_LITERALS && literals <= target_left - TARGET_AFTER_LITERALS;
}

// Whether liblz4 copies literals before it looks at the rules: their length is in the token, and the longest literals
// and match of such a token fit. Then they are exempt, and so is the match, if its length is in the token, too, and its
// offset at least 8.
__device__ __forceinline__ bool is_short_cut(int literals, int source_left, int target_left)
{
    const int max_literals = LONG - 1, max_match = LONG - 1 + MIN_MATCH, offset_bytes = 2;
    return literals < LONG && source_left > max_literals + offset_bytes && target_left >= max_literals + max_match;
}

// ---- Decoding: the source through a window

// A source as a warp sees it. The window is in shared memory: each byte of the source is loaded once, 16 at a time, and
// all lanes parse the same bytes. Positions count from the 16-byte block that holds the first byte of the source.
struct Source {
    const u8* origin;
    int position;  // what is parsed next
    int end;
    u32* window;
    int first;     // position of the first byte of the window
    int lane;
};

// The byte of the window at a position.
__device__ __forceinline__ u32 byte_at(const Source& source, int position)
{
    return ((const u8*)source.window)[position - source.first];
}

// Move the window, unless it holds the next `count` bytes. They may go beyond the end: what is there is undefined.
__device__ __forceinline__ void look_ahead(Source& source, int count)
{
    if (source.position + count <= source.first + W) return;
    __syncwarp();  // all lanes have read what they need of the old window
    source.first = source.position & ~15;
    for (int block = source.lane; block < W / 16; block += LANES)
        if (source.first + 16 * block < source.end)  // no block is read that holds no byte of the source
            ((uint4*)source.window)[block] = ((const uint4*)(source.origin + source.first))[block];
    __syncwarp();
}

// Add the further bytes of a length, a byte a lane: each that is 255 is followed by one more. False if the last one
// does not lie before `stop`, or the length is more than `size`, which fits nowhere.
__device__ __forceinline__ bool add_length(Source& source, int& length, int stop, int size)
{
    while (true) {
        look_ahead(source, LANES);
        int left = stop - source.position;
        u32 byte = source.lane < left ? byte_at(source, source.position + source.lane) : 0;
        u32 last = __ballot_sync(ALL_LANES, byte != 255);
        int before = last ? __ffs(last) - 1 : LANES;
        length += 255 * before;
        if (before < LANES) {
            length += __shfl_sync(ALL_LANES, byte, before);
            source.position += before + 1;
            return before < left;
        }
        source.position += LANES;
        if (length > size) return false;
    }
}

// ---- Decoding: copies by a warp

// Copy a match that does not overlap and is short: all loads before all stores.
__device__ __forceinline__ void copy_short_match(u8* target, const u8* source, int count, int lane)
{
    u8 bytes[4] = {0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (lane + i * LANES < count) bytes[i] = source[lane + i * LANES];
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (lane + i * LANES < count) target[lane + i * LANES] = bytes[i];
}

// Repeat a pattern whose length is a power of 2, up to 128: then each lane stores the same word again and again.
__device__ __forceinline__ void repeat_power_of_2(u8* target, const u8* pattern, int period, int count, int lane)
{
    int mask = period - 1, head = bytes_to_word(target, count), i = head + 4 * lane;
    u32 byte = pattern[lane & mask];
    u32 word = (u32)pattern[i & mask] | (u32)pattern[(i + 1) & mask] << 8 | (u32)pattern[(i + 2) & mask] << 16 |
               (u32)pattern[(i + 3) & mask] << 24;
    if (lane < head) target[lane] = (u8)byte;
    int words = (count - head) >> 2, done = head + (words << 2);
    u32* to = (u32*)(target + head);
    for (int w = lane; w < words; w += LANES) to[w] = word;
    if (lane < count - done) target[done + lane] = pattern[(done + lane) & mask];
}

// Repeat a pattern of any length: no lane reads what another one writes.
__device__ __forceinline__ void repeat_pattern(u8* target, const u8* pattern, int period, int count, int lane)
{
    int from = lane % period, step = LANES % period;
    for (int i = lane; i < count; i += LANES) {
        target[i] = pattern[from];
        from += step;
        if (from >= period) from -= period;
    }
}

// Copy `count` bytes from `offset` bytes before; they may overlap, which repeats them.
__device__ __forceinline__ void copy_match(u8* target, int offset, int count, int lane)
{
    const u8* source = target - offset;
    if (offset >= count) {
        if (count <= 4 * LANES)
            copy_short_match(target, source, count, lane);
        else
            copy_bytes(target, source, count, lane);
    } else if (offset <= 4 * LANES && (offset & (offset - 1)) == 0) {
        repeat_power_of_2(target, source, offset, count, lane);
    } else {
        repeat_pattern(target, source, offset, count, lane);
    }
}

// ---- Decoding: sequences

// A byte that a lane has loaded and not stored yet: the load is in flight while the next sequence is parsed.
struct Pending {
    u8* at;
    u32 byte;
    bool is_some;
};

// Store what is pending. Called before each sequence is copied: then every lane may read all that was decoded before.
__device__ __forceinline__ void store(Pending& pending)
{
    if (pending.is_some) *pending.at = (u8)pending.byte;
    pending.is_some = false;
    __syncwarp();
}

// Copy a short sequence: its literals are in `bytes`, behind the token. Where all its bytes are known before any is
// stored, each lane takes one of them and leaves it pending.
__device__ __forceinline__ void copy_sequence(
    u8* target, u64 bytes, int literals, int offset, int match, Pending& pending, int lane)
{
    u8 literal = (u8)(bytes >> (8 * (1 + (lane & 3))));
    if (literals + match <= LANES && offset >= literals + match) {
        pending.is_some = lane < literals + match;
        pending.at = target + lane;
        if (lane < literals)
            pending.byte = literal;
        else if (pending.is_some)
            pending.byte = pending.at[-offset];
        return;
    }
    if (lane < literals) target[lane] = literal;
    if (literals) __syncwarp();  // the match may begin with them
    copy_match(target + literals, offset, match, lane);
}

// Copy literals: short ones from the window, where they are, and long ones from the source, past the window.
__device__ __forceinline__ void copy_literals(const Source& source, u8* target, int count)
{
    if (count <= 4 * LANES && source.position + count <= source.first + W) {
        for (int i = source.lane; i < count; i += LANES) target[i] = (u8)byte_at(source, source.position + i);
    } else {
        copy_bytes(target, source.origin + source.position, count, source.lane);
    }
    __syncwarp();
}

// Decode a chunk up to `wanted` bytes, of which `done` are when it returns; returns its status. All lanes parse alike.
__device__ __forceinline__ int decode_chunk(
    Source& source, u8* target, int size, int wanted, int& done, Pending& pending)
{
    while (true) {
        look_ahead(source, 48);  // as many as any window holds; further bytes of lengths are mostly among them
        int at = source.position - source.first, word = at >> 2, lane = source.lane;
        const u32* window = source.window;
        u64 bytes = joined(window[word], window[word + 1], window[word + 2], (at & 3) * 8);
        int literals = (int)(bytes >> 4) & 15, match = (int)bytes & 15, offset;
        if (literals <= SHORT && source.position + 1 + literals + SOURCE_AFTER_LITERALS <= source.end) {
            u64 behind = bytes >> (8 * (1 + literals));
            offset = (int)(behind & 0xffff);
            source.position += 3 + literals;
            if (match == LONG) {
                int more = (int)(behind >> 16) & 255;
                if (more != 255) {
                    match += more;
                    source.position++;
                } else if (!add_length(source, match, source.end - SOURCE_AFTER_LENGTH, size)) {
                    return MALFORMED;
                }
            }
            match += MIN_MATCH;
            if (offset == 0 || offset > done + literals) return MALFORMED;
            if (literals > size - TARGET_AFTER_LITERALS - done) return MALFORMED;
            if (literals + match > size - TARGET_AFTER_MATCH - done) return MALFORMED;
            store(pending);
            copy_sequence(target + done, bytes, literals, offset, match, pending, lane);
        } else {
            if (source.position >= source.end) return MALFORMED;
            source.position++;
            if (literals == LONG && !add_length(source, literals, source.end, size)) return MALFORMED;
            int left = source.end - source.position, count = min(literals, wanted - done);
            bool is_exempt = is_short_cut(literals, left, size - done);
            if (!is_exempt && !literals_fit(literals, left, size - done)) return MALFORMED;
            store(pending);
            copy_literals(source, target + done, count);
            if (literals == left || count == wanted - done) {  // the last ones of the chunk, or of what is wanted
                done += count;
                return done >= wanted ? OK : WRONG_LENGTH;
            }
            source.position += literals;
            look_ahead(source, 2 + LANES);
            offset = (int)(byte_at(source, source.position) | byte_at(source, source.position + 1) << 8);
            source.position += 2;
            if (offset == 0 || offset > done + literals) return MALFORMED;
            is_exempt = is_exempt && match < LONG && offset >= 8;
            if (match == LONG && !add_length(source, match, source.end - SOURCE_AFTER_LENGTH, size)) return MALFORMED;
            match += MIN_MATCH;
            if (!is_exempt && match > size - TARGET_AFTER_MATCH - done - literals) return MALFORMED;
            copy_match(target + done + literals, offset, match, lane);
        }
        done += literals + match;
        if (done >= wanted && wanted < size) return OK;  // a whole chunk ends with literals
    }
}
