/* Starts the interpreter's core: no streams, no files of its own, no locale, no variables. That takes
 * 2 ms, and importing our modules as long: it is done once, while the file is built, and the memory
 * that it leaves becomes part of the file. Each process goes on from there. */

#define Py_BUILD_CORE
#include "core.h"
#include <internal/pycore_runtime.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_pystate.h>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "memory.h"
#include "module.h"

extern char kept_start[], kept_end[];

static PyThreadState *kept; /* the one thread of the interpreter in this memory */

static void must(PyStatus status)
{
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
}

static void set_up(void)
{
    PyObjectArenaAllocator arenas = {NULL, take_arena, free_arena};
    PyObject_SetArenaAllocator(&arenas);
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1;
    must(Py_PreInitialize(&before));

    static const struct _frozen first[] = {{FIRST_MODULE, first_module, (int)sizeof first_module,
                                            0},
                                           {0}};
    PyImport_FrozenModules = first;
    add_modules();

    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config._init_main = 0; /* _pyshim.finish() does the rest when something rare needs it */
    config.site_import = 0;
    config.write_bytecode = 0;
    config.optimization_level = 2;
    config.code_debug_ranges = 0;
    /* Hashes are in the memory that is kept. With a known secret, too, SipHash lets nobody find many
     * names of one hash. */
    config.use_hash_seed = 1;
    config.hash_seed = 0;
    must(Py_InitializeFromConfig(&config));
    PyConfig_Clear(&config);
}

PyObject *text(const char *bytes)
{
    return PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)strlen(bytes), "surrogateescape");
}

int is_new(void)
{
    return !kept;
}

/* Of what is kept nothing may tell the process: two builds have the same bytes. */
static void forget_process(void)
{
    static const Py_tss_t none = Py_tss_NEEDS_INIT;
    _PyRuntime.autoTSSkey = _PyRuntime.trashTSSkey = none;
    _PyRuntime.main_thread = 0;
    kept->thread_id = kept->native_thread_id = 0;
    /* Where frames lay there are still addresses of this process' stack. */
    memset(kept->datastack_top, 0,
           (size_t)((char *)kept->datastack_limit - (char *)kept->datastack_top));
}

/* Nobody counts who holds what is kept: a page that nobody writes to is shared by all processes. */
static int make_immortal(PyObject *object, void *unused)
{
    if (_Py_IsImmortal(object))
        return 0;
    Py_SET_REFCNT(object, _Py_IMMORTAL_REFCNT);
    traverseproc traverse = Py_TYPE(object)->tp_traverse;
    if (traverse && traverse(object, make_immortal, unused))
        return -1;
    if (!PyCode_Check(object))
        return 0;
    PyCodeObject *code = (PyCodeObject *)object;
    PyObject *parts[] = {code->co_consts, code->co_names, code->co_exceptiontable,
                         code->co_localsplusnames, code->co_localspluskinds, code->co_filename,
                         code->co_name, code->co_qualname, code->co_linetable};
    for (size_t at = 0; at < Py_ARRAY_LENGTH(parts); at++)
        if (parts[at])
            make_immortal(parts[at], unused);
    return 0;
}

static int visit(PyObject *object, void *unused)
{
    make_immortal(object, unused);
    return 1; /* go on */
}

static int write_all(int fd)
{
    for (const char *at = kept_start; at < kept_end;) {
        ssize_t written = write(fd, at, (size_t)(kept_end - at));
        if (written <= 0)
            return -1;
        at += written;
    }
    return close(fd);
}

int keep_core(const char *file)
{
    set_up();
    PyObject *module = complete_core() ? NULL : PyImport_ImportModule(FIRST_MODULE);
    PyObject *done = module ? PyObject_CallMethod(module, "prepare", NULL) : NULL;
    if (!done) {
        PyErr_Print();
        return 1;
    }
    PyUnstable_GC_VisitObjects(visit, NULL);
    kept = PyThreadState_Get();
    forget_process();
    close_heap();
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return fd < 0 || write_all(fd) ? 1 : 0;
}

/* Fill posix.environ, which modules hold, from the environment of this process. */
static int renew_environment(void)
{
    PyObject *posix = PyImport_GetModuleDict();
    PyObject *found = PyObject_GetAttrString(PyDict_GetItemString(posix, "posix"), "environ");
    if (!found)
        return -1;
    PyDict_Clear(found);
    for (char **at = environ; at && *at; at++) {
        const char *equals = strchr(*at, '=');
        if (!equals)
            continue;
        PyObject *name = PyBytes_FromStringAndSize(*at, equals - *at);
        PyObject *value = PyBytes_FromString(equals + 1);
        if (!name || !value || !PyDict_SetDefault(found, name, value))
            return -1;
        Py_DECREF(name);
        Py_DECREF(value);
    }
    Py_DECREF(found);
    return 0;
}

static int renew_path(const char *path)
{
    PyConfig *config = (PyConfig *)_PyInterpreterState_GetConfig(kept->interp);
    must(PyConfig_SetBytesString(config, &config->executable, path));
    PyObject *executable = text(path);
    return executable ? PySys_SetObject("executable", executable) : -1;
}

PyObject *start_core(const char *path)
{
    /* As after a fork: another process, and one thread of it. */
    _Py_tss_tstate = kept;
    if (PyThread_tss_create(&_PyRuntime.autoTSSkey) || PyThread_tss_create(&_PyRuntime.trashTSSkey)
        || PyThread_tss_set(&_PyRuntime.autoTSSkey, kept))
        abort();
    _PyRuntime.main_thread = kept->thread_id = PyThread_get_thread_ident();
    kept->native_thread_id = PyThread_get_thread_native_id();
    if (renew_environment() || renew_path(path))
        return NULL;
    return PyImport_ImportModule(FIRST_MODULE);
}
