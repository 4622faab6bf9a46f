/* The interpreter's malloc(3). While the file is built, from `heap`: what is taken there becomes part
 * of the file, at the same address. Later libc's; what lies in the file is never given back to it.
 * Linked in by tools/binary.sh in place of the C library's names.
 *
 * Where libc has nothing left, the first who asks is told so, and MemoryError goes its way; those who
 * handle it live of the rest of `heap`. Without that CPython unwinds for ever: it asks for an integer
 * for each `with` that it leaves, and begins again when there is none. */

#include "memory.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    HEAP_BYTES = 9 << 19,
    ALIGNMENT = 16,
    PAGE = 4096,
    RESERVE = 1 << 17, /* at least that is left of `heap` for who is out of memory */
    SMALL = 4096,      /* and only such blocks are taken from it */
};

static char heap[HEAP_BYTES] __attribute__((aligned(PAGE), section(".bss.heap")));
static size_t used, last; /* last: where the block that was taken last begins */
static struct hole { struct hole *next; } *holes; /* blocks that were given back */
static bool closed;
static bool starved; /* libc had nothing left for a small block */

static _Noreturn void end(const char *words)
{
    (void)!write(STDERR_FILENO, words, strlen(words));
    _exit(1);
}

void close_heap(void)
{
    if (HEAP_BYTES - used < RESERVE)
        end("pyshim: HEAP_BYTES of memory.c is too small\n");
    closed = true;
}

void end_starved(void)
{
    if (starved)
        end("pyshim: out of memory\n");
}

static bool inside(const void *block)
{
    return (uintptr_t)block - (uintptr_t)heap < HEAP_BYTES;
}

static size_t size_of(const void *block)
{
    size_t size;
    return memcpy(&size, (const char *)block - sizeof size, sizeof size), size;
}

/* A block that was given back and is not much larger. */
static void *reuse(size_t size)
{
    for (struct hole **at = &holes; *at; at = &(*at)->next) {
        struct hole *found = *at;
        if (size_of(found) >= size && size_of(found) - size <= size / 4 + ALIGNMENT) {
            *at = found->next;
            return found;
        }
    }
    return NULL;
}

/* The next free bytes; before them there is room for their number. */
static void *take(size_t size, size_t alignment)
{
    size_t at = (used + sizeof size + alignment - 1) & ~(alignment - 1);
    if (size > HEAP_BYTES || at > HEAP_BYTES - size)
        end(closed ? "pyshim: out of memory\n" : "pyshim: HEAP_BYTES of memory.c is too small\n");
    used = at + size;
    last = at;
    memcpy(heap + at - sizeof size, &size, sizeof size);
    return heap + at;
}

/* The block of libc's, else one of the reserve, else NULL. */
static void *or_reserve(void *block, size_t size)
{
    if (block || size > SMALL)
        return block;
    if (starved)
        return take(size, ALIGNMENT);
    starved = true;
    return NULL;
}

void *core_malloc(size_t size)
{
    if (closed)
        return or_reserve(malloc(size), size);
    size = size < sizeof *holes ? sizeof *holes : size;
    void *found = reuse(size);
    return found ? found : take(size, ALIGNMENT);
}

void *core_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    void *block = closed ? or_reserve(calloc(count, size), bytes) : core_malloc(bytes);
    return inside(block) ? memset(block, 0, bytes) : block;
}

void *core_realloc(void *block, size_t size)
{
    bool libcs = block && !inside(block);
    void *moved = libcs ? realloc(block, size) : core_malloc(size);
    if (libcs && moved)
        return moved;
    if (libcs)
        moved = or_reserve(NULL, size);
    if (!moved || !block)
        return moved;
    size_t before = libcs ? malloc_usable_size(block) : size_of(block);
    memcpy(moved, block, before < size ? before : size);
    core_free(block);
    return moved;
}

void core_free(void *block)
{
    if (!inside(block)) {
        free(block);
    } else if (!closed && block == heap + last) {
        used = last - sizeof used;
    } else if (!closed) {
        struct hole *hole = block;
        hole->next = holes;
        holes = hole;
    }
}

void *take_arena(void *context, size_t size)
{
    (void)context;
    if (!closed)
        return take(size, PAGE);
    void *found = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return found == MAP_FAILED ? NULL : found;
}

void free_arena(void *context, void *arena, size_t size)
{
    (void)context;
    if (!inside(arena))
        munmap(arena, size);
}
