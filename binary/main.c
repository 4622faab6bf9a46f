/* pyshim, pyshim-hook and pyshimctl in one static file. A command that edits no bundle becomes the
 * low-level runtime here; for all else the core of an interpreter is started (core.c), which runs start.py.
 * Nothing is set in the environment; where a bundle is edited, two signals are ignored meanwhile. The
 * runtime inherits both as they came. */

#include <Python.h>

#include <limits.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "command.h"
#include "core.h"
#include "module.h"
#include "tables.h"

/* The path that was given to execve(2). */
static const char *executed(void)
{
    const char *path = (const char *)getauxval(AT_EXECFN);
    return path ? path : "";
}

/* Become the low-level runtime for args[1...]; returns when Python has to find out, or to say why. */
static void pass_through(char *args[])
{
    struct runtimes runtimes;
    struct stat own = {0};
    char path[PATH_MAX];
    const char *config = getenv("PYSHIM_CONFIG");
    const char *search_path = getenv("PATH");
    enum setting setting = read_runtimes(config && *config ? config : default_config, &runtimes);
    if (setting == UNSURE)
        return;
    for (int at = 0; setting == ABSENT && default_runtimes[at]; at++)
        runtimes.names[runtimes.count++] = default_runtimes[at];
    /* By /proc also where the file has been replaced since; without it, by its name. */
    if (stat("/proc/self/exe", &own) && stat(executed(), &own))
        return;
    if (!find_runtime(&runtimes, search_path ? search_path : "", &own, path, sizeof path))
        return;
    char *called = args[0];
    args[0] = path;
    execv(path, args);
    args[0] = called;
}

/* Call start.py's run(program, path, arguments); -1 with an exception. */
static int run(enum program program, int count, char *const args[])
{
    PyObject *module = start_core(executed());
    PyObject *list = PyList_New(count);
    if (!module || !list)
        return -1;
    for (int at = 0; at < count; at++) {
        PyObject *word = text(args[at]);
        if (!word)
            return -1;
        PyList_SET_ITEM(list, at, word);
    }
    PyObject *path = text(executed());
    if (!path)
        return -1;
    PyObject *status = PyObject_CallMethod(module, "run", "sOO", program_names[program], path, list);
    return status ? (int)PyLong_AsLong(status) : -1;
}

int main(int argc, char *argv[])
{
    if (argc < 1)
        return 1;
    if (is_new())
        return argc == 2 ? keep_core(argv[1]) : 2;
    enum program program = program_of(argv[0], executed());
    if (argc > 2 && !strcmp(argv[1], "--as") && program_by_name(argv[2]) >= 0) {
        program = (enum program)program_by_name(argv[2]);
        argc -= 2;
        argv += 2;
    }
    if (program == PYSHIM && !edits_bundle(argc - 1, argv + 1))
        pass_through(argv);
    if (program == PYSHIM)
        outlive_writes();
    int status = run(program, argc - 1, argv + 1);
    if (PyErr_Occurred())
        PyErr_Print(); /* SystemExit ends the process here */
    /* Taking the interpreter down in order costs 1.5 ms, and nothing waits for it. */
    _exit(status < 0 ? 1 : status);
}
