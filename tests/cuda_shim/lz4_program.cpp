// Runs the kernels of kernels/cuda/lz4.cu on chunks from a file, under AddressSanitizer: lz4_program CHUNKS RESULTS.
//
// CHUNKS holds launches, each a number of chunks and of blocks, and then these chunks: the numbers of `Chunk`, and the
// encoded bytes. RESULTS gets the numbers of `Result` for each chunk, and its target. All numbers are int64. What a
// launch has found is written before the next one begins, so that a crash belongs to the first one that is missing.
//
// Each source and each target lies in an arena of which nothing else may be touched: of a source, the 16-byte blocks
// that hold one of its bytes may be read, and of a target, the 4-byte words. Between those, more bytes than the largest
// offset of a match are poisoned. Columns have exactly as many items as there are chunks.
#include <sanitizer/asan_interface.h>

#include <cstring>
#include <memory>
#include <vector>

#include "cuda.h"
#include "lz4.cu"

extern "C" const char* __asan_default_options()
{
    return "detect_leaks=0:detect_stack_use_after_return=0:allocator_may_return_null=1";
}

struct Chunk {
    i64 nbytes, room;                 // of the source and the target that there are
    i64 length, capacity, wanted;     // what the kernels are told; not of bytes that exist where it cannot be true
    i64 source_misfit, target_misfit;  // bytes by which they begin behind a multiple of 16
    i64 found_status, found_decoded;  // what a decoder says after the check
};

struct Result {
    i64 status, decoded, check_status, check_decoded, joined_status, joined_decoded;
    i64 faults;
};

// Bits of `faults`
enum { ORDER_MATTERS = 1, SOURCE_CHANGED = 2, BYTES_AROUND_CHANGED = 4, WRONG_REPLACEMENT = 8 };

const i64 GAP = (1 << 16) + 4096;
const u8 AROUND_SOURCE = 0xEE, AROUND_TARGET = 0xAA;

// A range of the arena in whole units, of which some bytes are those of a chunk.
struct Region {
    u8 *first, *begin, *end, *last;

    Region(u8* base, i64 misfit, i64 nbytes, u64 unit)
        : first((u8*)((u64)(base + misfit) & ~(unit - 1))), begin(base + misfit), end(begin + nbytes),
          last((u8*)(((u64)end + unit - 1) & ~(unit - 1)))
    {
    }

    void fill(u8 value) { std::memset(first, value, (std::size_t)(last - first)); }

    bool is_filled_around(u8 value) const
    {
        auto is_value = [value](u8 byte) { return byte == value; };
        return std::all_of(first, begin, is_value) && std::all_of(end, last, is_value);
    }
};

template <class T>
static T read_one(std::FILE* file)
{
    T value;
    if (std::fread(&value, sizeof value, 1, file) != 1) std::exit(3);
    return value;
}

// An array with guards of AddressSanitizer on both sides.
template <class T>
using Column = std::unique_ptr<T[]>;

template <class T>
static Column<T> column(const std::vector<Chunk>& chunks, i64 Chunk::* field)
{
    Column<T> items(new T[chunks.size()]);
    for (std::size_t i = 0; i < chunks.size(); i++) items[i] = (T)(chunks[i].*field);
    return items;
}

struct Launch {
    std::vector<Chunk> chunks;
    std::vector<std::vector<u8>> encoded;
    i64 blocks;
    std::vector<Region> sources, targets;
    u8* arena;
    i64 arena_bytes;

    explicit Launch(std::FILE* file)
    {
        i64 count = read_one<i64>(file);
        blocks = read_one<i64>(file);
        arena_bytes = 2 * GAP;
        for (i64 i = 0; i < count; i++) {
            chunks.push_back(read_one<Chunk>(file));
            encoded.emplace_back((std::size_t)chunks.back().nbytes);
            if (std::fread(encoded.back().data(), 1, encoded.back().size(), file) != encoded.back().size()) std::exit(3);
            arena_bytes += place_bytes(chunks.back().nbytes) + place_bytes(chunks.back().room);
        }
        arena = (u8*)std::aligned_alloc(16, (std::size_t)arena_bytes);
        u8* at = arena + GAP;
        for (const Chunk& chunk : chunks) {
            sources.emplace_back(at, chunk.source_misfit, chunk.nbytes, 16);
            at += place_bytes(chunk.nbytes);
            targets.emplace_back(at, chunk.target_misfit, chunk.room, 4);
            at += place_bytes(chunk.room);
        }
        ASAN_POISON_MEMORY_REGION(arena, arena_bytes);
        for (const Region& region : sources) ASAN_UNPOISON_MEMORY_REGION(region.first, region.last - region.first);
        for (const Region& region : targets) unpoison_target(region);
        for (std::size_t i = 0; i < chunks.size(); i++) {
            sources[i].fill(AROUND_SOURCE);
            std::copy(encoded[i].begin(), encoded[i].end(), sources[i].begin);
        }
    }

    ~Launch()
    {
        ASAN_UNPOISON_MEMORY_REGION(arena, arena_bytes);
        std::free(arena);
    }

    static i64 place_bytes(i64 nbytes) { return (nbytes + 15) / 16 * 16 + 16 + GAP; }

    // AddressSanitizer knows for each 8 bytes how many of them may be touched, from the first one on: where a target's
    // first word is the upper half of such 8 bytes, the lower one cannot be poisoned.
    static void unpoison_target(const Region& region)
    {
        u8* first = (u8*)((u64)region.first & ~(u64)7);
        ASAN_UNPOISON_MEMORY_REGION(first, region.last - first);
    }

    // Decode; returns the targets, and in `results` the first such call's statuses.
    std::vector<std::vector<u8>> decode(warp::Order order, std::vector<Result>& results)
    {
        std::size_t count = chunks.size();
        auto lengths = column<i64>(chunks, &Chunk::length), capacities = column<i64>(chunks, &Chunk::capacity);
        auto wanted = column<i64>(chunks, &Chunk::wanted);
        Column<u64> from(new u64[count]), to(new u64[count]);
        Column<int> statuses(new int[count]);
        Column<i64> decoded(new i64[count]);
        for (std::size_t i = 0; i < count; i++) {
            from[i] = (u64)sources[i].begin;
            to[i] = (u64)targets[i].begin;
            targets[i].fill(AROUND_TARGET);
            statuses[i] = -1;
            decoded[i] = -1;
        }
        launch_warps((unsigned)blocks, WARPS, order, [&] {
            lz4_decode(from.get(), lengths.get(), to.get(), capacities.get(), wanted.get(), (i64)count, statuses.get(),
                       decoded.get());
        });
        std::vector<std::vector<u8>> found;
        for (std::size_t i = 0; i < count; i++) {
            found.emplace_back(targets[i].begin, targets[i].end);
            if (!targets[i].is_filled_around(AROUND_TARGET)) results[i].faults |= BYTES_AROUND_CHANGED;
            if (order == warp::DESCENDING && (results[i].status != statuses[i] || results[i].decoded != decoded[i]))
                results[i].faults |= ORDER_MATTERS;
            results[i].status = statuses[i];
            results[i].decoded = decoded[i];
        }
        return found;
    }

    void check_and_join(std::vector<Result>& results)
    {
        std::size_t count = chunks.size();
        auto lengths = column<i64>(chunks, &Chunk::length), capacities = column<i64>(chunks, &Chunk::capacity);
        auto found_statuses = column<int>(chunks, &Chunk::found_status);
        auto found_decoded = column<i64>(chunks, &Chunk::found_decoded);
        Column<u64> from(new u64[count]);
        Column<int> statuses(new int[count]);
        Column<i64> decoded(new i64[count]);
        for (std::size_t i = 0; i < count; i++) {
            from[i] = (u64)sources[i].begin;
            statuses[i] = -1;
            decoded[i] = -1;
        }
        const u64 zeros = 0x5A5A5A5A5A5A5A50;  // no memory: the check writes down where the zeros are, and reads none
        const i64 zeros_bytes = 77;
        launch_threads((unsigned)blocks, 2, [&] {
            lz4_check(from.get(), lengths.get(), capacities.get(), (i64)count, zeros, zeros_bytes, statuses.get(),
                      decoded.get());
        });
        for (std::size_t i = 0; i < count; i++) {
            results[i].check_status = statuses[i];
            results[i].check_decoded = decoded[i];
            bool is_same = from[i] == (u64)sources[i].begin && lengths[i] == chunks[i].length;
            bool is_replaced = from[i] == zeros && lengths[i] == zeros_bytes;
            if (statuses[i] == OK ? !is_same : !is_replaced) results[i].faults |= WRONG_REPLACEMENT;
        }
        launch_threads((unsigned)blocks, 2, [&] {
            lz4_join(found_statuses.get(), found_decoded.get(), capacities.get(), (i64)count, statuses.get(),
                     decoded.get());
        });
        for (std::size_t i = 0; i < count; i++) {
            results[i].joined_status = statuses[i];
            results[i].joined_decoded = decoded[i];
            if (!std::equal(encoded[i].begin(), encoded[i].end(), sources[i].begin) ||
                !sources[i].is_filled_around(AROUND_SOURCE))
                results[i].faults |= SOURCE_CHANGED;
        }
    }

    void run(std::FILE* file)
    {
        std::vector<Result> results(chunks.size());
        auto ascending = decode(warp::ASCENDING, results), descending = decode(warp::DESCENDING, results);
        check_and_join(results);
        for (std::size_t i = 0; i < chunks.size(); i++) {
            if (ascending[i] != descending[i]) results[i].faults |= ORDER_MATTERS;
            std::fwrite(&results[i], sizeof results[i], 1, file);
            std::fwrite(ascending[i].data(), 1, ascending[i].size(), file);
        }
        std::fflush(file);
    }
};

int main(int, char** arguments)
{
    std::FILE *file = std::fopen(arguments[1], "rb"), *results = std::fopen(arguments[2], "wb");
    if (!file || !results) return 3;
    for (int next = std::fgetc(file); next != EOF; next = std::fgetc(file)) {
        std::ungetc(next, file);
        Launch(file).run(results);
    }
    return std::fclose(results) ? 3 : 0;
}
