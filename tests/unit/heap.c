/* Takes memory before and after the heap is closed (binary/memory.c), and says what came of it. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

/* The C library's, which has nothing left when the test says so: linked with --wrap. */
static int empty;
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);

void *__wrap_malloc(size_t size)
{
    return empty ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return empty ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return empty ? NULL : __real_realloc(block, size);
}

static void tell(const char *what, int right)
{
    printf("%s: %s\n", what, right ? "yes" : "no");
}

int main(void)
{
    char *kept = core_malloc(10), *grown = core_malloc(10), *zeros = core_calloc(3, 5);
    strcpy(kept, "kept");
    strcpy(grown, "grown");
    char *arena = take_arena(NULL, 1 << 20);
    tell("aligned", !((size_t)kept % 16 || (size_t)zeros % 16 || (size_t)arena % 4096));
    tell("zeros", !memcmp(zeros, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15));
    grown = core_realloc(grown, 100);
    tell("grown before", !strcmp(grown, "grown"));
    tell("from nothing", core_realloc(NULL, 8) != NULL);
    core_free(core_malloc(1));
    tell("too many", !core_calloc((size_t)-1, 2));
    close_heap();
    char *later = core_malloc(10);
    strcpy(later, "later");
    later = core_realloc(later, 5000);
    char *moved = core_realloc(kept, 5000);
    char *less = core_realloc(grown, 3);
    tell("grown after", !strcmp(moved, "kept") && !strcmp(kept, "kept"));
    tell("shrunk after", !memcmp(less, "gro", 3));
    tell("libc's", !strcmp(later, "later"));
    memset(take_arena(NULL, 1 << 20), 1, 1 << 20);
    core_free(kept);
    free_arena(NULL, arena, 1 << 20);
    memset(arena, 1, 1 << 20);
    core_free(later);
    core_free(moved);
    core_free(less);

    later = core_malloc(10);
    strcpy(later, "later");
    empty = 1;
    end_starved();
    tell("too large is no matter", !core_malloc(5000) && !core_realloc(later, 5000));
    tell("told once", !core_calloc(2, 50));
    memset(core_malloc(100), 1, 100);
    zeros = core_calloc(2, 50);
    tell("zeros of the reserve", zeros && !memcmp(zeros, (char[100]){0}, 100));
    later = core_realloc(later, 1000);
    tell("grown into the reserve", later && !strcmp(later, "later"));
    later = core_realloc(later, 2000);
    tell("grown within", later && !strcmp(later, "later"));
    core_free(later);
    tell("still too large", !core_malloc(5000));
    fflush(stdout);
    for (int at = 0; at < 1 << 20; at++)
        core_malloc(100);
    tell("for ever", 0);
    return 0;
}
