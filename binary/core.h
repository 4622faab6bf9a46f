/* The interpreter's core (core.c). */

#include <Python.h>

/* Start it; start.py's module, NULL with an exception. path: of this file as it was called. */
PyObject *start_core(const char *path);

PyObject *text(const char *bytes);

/* Whether this is the file that is about to be built, whose memory is empty. */
int is_new(void);

/* Start the interpreter, import what the programs need, and write the memory of it to `file`. */
int keep_core(const char *file);
