/* The interpreter's malloc(3). While the file is built, from `heap`: what is taken there becomes part
 * of the file, at the same address. Later libc's; what lies in the file is never given back to it.
 * Linked in by tools/binary.sh in place of the C library's names. */

#include "memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEAP_BYTES = 4 << 20, ALIGNMENT = 16, PAGE = 4096 };

static char heap[HEAP_BYTES] __attribute__((aligned(PAGE), section(".bss.heap")));
static size_t used, last; /* last: where the block that was taken last begins */
static bool closed;

void close_heap(void)
{
    closed = true;
}

static bool inside(const void *block)
{
    return (uintptr_t)block - (uintptr_t)heap < HEAP_BYTES;
}

/* The next free bytes; before them there is room for their number. */
static void *take(size_t size, size_t alignment)
{
    size_t at = (used + sizeof size + alignment - 1) & ~(alignment - 1);
    if (size > HEAP_BYTES || at > HEAP_BYTES - size) {
        static const char words[] = "pyshim: HEAP_BYTES of memory.c is too small\n";
        (void)!write(STDERR_FILENO, words, sizeof words - 1);
        abort();
    }
    used = at + size;
    last = at;
    memcpy(heap + at - sizeof size, &size, sizeof size);
    return heap + at;
}

void *core_malloc(size_t size)
{
    return closed ? malloc(size) : take(size, ALIGNMENT);
}

void *core_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (closed || __builtin_mul_overflow(count, size, &bytes))
        return calloc(count, size);
    return memset(take(bytes, ALIGNMENT), 0, bytes);
}

void *core_realloc(void *block, size_t size)
{
    size_t before;
    if (!inside(block))
        return closed || block ? realloc(block, size) : core_malloc(size);
    memcpy(&before, (char *)block - sizeof before, sizeof before);
    core_free(block);
    void *moved = core_malloc(size);
    if (!moved || moved == block)
        return moved;
    return memcpy(moved, block, before < size ? before : size);
}

void core_free(void *block)
{
    if (!inside(block))
        free(block);
    else if (!closed && block == heap + last)
        used = last - sizeof used;
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
