/* What the interpreter is given beside its own: the builtin module _pyshim and others' in C. */

#define FIRST_MODULE "__pyshim__"

/* The marshalled code of start.py (made by freeze.py). */
#include "first.h"

/* Register the builtin modules; to be called before the interpreter starts. */
void add_modules(void);

/* Let a write to what nobody reads, or beyond a limit of files, be an error and no end of this process;
 * _pyshim.restore_signals() gives the signals' actions back to what this process becomes. */
void outlive_writes(void);

/* Set up what code in the core relies on as well and CPython leaves to the rest of its start, which
 * does it again, to no harm: `import _signal`, errors of decoding. -1 with an exception. */
int complete_core(void);
