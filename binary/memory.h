/* The memory of the interpreter (memory.c). core_malloc() and its like are what CPython calls
 * malloc() and its like. */

#include <stddef.h>

void *core_malloc(size_t size);
void *core_calloc(size_t count, size_t size);
void *core_realloc(void *block, size_t size);
void core_free(void *block);

/* As PyObject_SetArenaAllocator() wants them. */
void *take_arena(void *context, size_t size);
void free_arena(void *context, void *arena, size_t size);

/* From now on memory comes from the C library: what was taken before is kept for ever. */
void close_heap(void);

/* End the process, with words, where memory was what it lacked: for failures that CPython tells by its
 * own. */
void end_starved(void);
