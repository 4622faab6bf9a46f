/* What is frozen into the file: a table sorted by name (frozen.c), and the bytes (frozen.S). */

#include <stddef.h>

enum kind { MODULE, PACKAGE, DATA };

struct entry {
    const char *name;
    unsigned offset; /* in frozen_bytes */
    unsigned size;
    unsigned unpacked; /* the size after zlib's uncompress(); 0: it is not packed */
    enum kind kind;
};

extern const struct entry frozen_entries[];
extern const size_t frozen_count;
extern const char frozen_bytes[];
extern const long frozen_build; /* tells two builds apart */
