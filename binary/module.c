/* The builtin module _pyshim: what is frozen into the file, system calls, the rest of the start. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <marshal.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "frozen.h"
#include "memory.h"
#include "module.h"

static int compare(const void *name, const void *entry)
{
    return strcmp(name, ((const struct entry *)entry)->name);
}

static const struct entry *look_up(PyObject *name)
{
    const char *text = PyUnicode_AsUTF8(name);
    if (!text) {
        PyErr_Clear(); /* no name of ours has surrogates in it */
        return NULL;
    }
    return bsearch(text, frozen_entries, frozen_count, sizeof *frozen_entries, compare);
}

PyDoc_STRVAR(kind_doc, "kind(name) -> None: not in the file; 0: a module; 1: a package; 2: data");

static PyObject *kind(PyObject *Py_UNUSED(self), PyObject *name)
{
    const struct entry *found = look_up(name);
    if (!found)
        Py_RETURN_NONE;
    return PyLong_FromLong(found->kind);
}

PyDoc_STRVAR(code_doc, "code(name) -> the code of a module that is in the file");

static PyObject *code(PyObject *Py_UNUSED(self), PyObject *name)
{
    const struct entry *found = look_up(name);
    if (!found || found->kind == DATA)
        return PyErr_Format(PyExc_ImportError, "no module %R in the file", name);
    const char *stored = frozen_bytes + found->offset;
    if (!found->unpacked)
        return PyMarshal_ReadObjectFromString(stored, (Py_ssize_t)found->size);
    unsigned long size = found->unpacked;
    char *bytes = PyMem_Malloc(size);
    if (!bytes)
        return PyErr_NoMemory();
    PyObject *result = NULL;
    if (uncompress((unsigned char *)bytes, &size, (const unsigned char *)stored, found->size))
        PyErr_NoMemory(); /* the file's own bytes are what it can unpack */
    else
        result = PyMarshal_ReadObjectFromString(bytes, (Py_ssize_t)size);
    PyMem_Free(bytes);
    if (PyErr_Occurred()) /* marshal may give part of a code when it has no memory */
        Py_CLEAR(result);
    return result;
}

PyDoc_STRVAR(data_doc, "data(path) -> the bytes of a package's file, None where there is none");

static PyObject *data(PyObject *Py_UNUSED(self), PyObject *name)
{
    const struct entry *found = look_up(name);
    if (!found || found->kind != DATA)
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize(frozen_bytes + found->offset, (Py_ssize_t)found->size);
}

PyDoc_STRVAR(names_doc, "names() -> the names of all modules and files, sorted");

static PyObject *names(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(unused))
{
    PyObject *list = PyList_New((Py_ssize_t)frozen_count);
    for (size_t at = 0; list && at < frozen_count; at++) {
        PyObject *name = PyUnicode_FromString(frozen_entries[at].name);
        if (!name)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)at, name);
    }
    return list;
}

PyDoc_STRVAR(finish_doc, "finish(): the rest of the interpreter's start: streams, codecs, files");

static PyObject *finish(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(unused))
{
    PyStatus status = _Py_InitializeMain();
    if (PyStatus_Exception(status)) {
        end_starved();
        Py_ExitStatusException(status);
    }
    Py_RETURN_NONE;
}

static int last_errno;

/* A number is passed on, bytes are their address, a bytearray is written to, None is NULL. */
static int argument(PyObject *value, long *result)
{
    if (PyLong_Check(value))
        *result = (long)PyLong_AsUnsignedLongMask(value);
    else if (PyBytes_Check(value))
        *result = (long)PyBytes_AS_STRING(value);
    else if (PyByteArray_Check(value))
        *result = (long)PyByteArray_AS_STRING(value);
    else if (value == Py_None)
        *result = 0;
    else
        PyErr_Format(PyExc_TypeError, "no argument of a system call: %R", value);
    return PyErr_Occurred() ? -1 : 0;
}

PyDoc_STRVAR(syscall_doc, "syscall(number, *arguments) -> the kernel's answer; -1: get_errno()");

static PyObject *call_kernel(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t count)
{
    long values[7] = {0};
    if (count < 1 || count > 7)
        return PyErr_Format(PyExc_TypeError, "a system call has a number and up to six arguments");
    for (Py_ssize_t at = 0; at < count; at++)
        if (argument(args[at], &values[at]))
            return NULL;
    long result = syscall(values[0], values[1], values[2], values[3], values[4], values[5],
                          values[6]);
    last_errno = errno;
    return PyLong_FromLong(result);
}

PyDoc_STRVAR(get_errno_doc, "get_errno() -> errno of the last syscall()");

static PyObject *get_errno(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(unused))
{
    return PyLong_FromLong(last_errno);
}

PyDoc_STRVAR(address_doc, "address(bytearray) -> where it lies while it keeps its size");

static PyObject *address(PyObject *Py_UNUSED(self), PyObject *buffer)
{
    if (!PyByteArray_Check(buffer))
        return PyErr_Format(PyExc_TypeError, "no bytearray: %R", buffer);
    return PyLong_FromVoidPtr(PyByteArray_AS_STRING(buffer));
}

static const int of_writes[] = {SIGPIPE, SIGXFSZ};
static struct sigaction before[2];

void outlive_writes(void)
{
    static const struct sigaction ignored = {.sa_handler = SIG_IGN};
    for (int at = 0; at < 2; at++)
        sigaction(of_writes[at], &ignored, &before[at]);
}

PyDoc_STRVAR(restore_doc, "restore_signals(): as they were before outlive_writes() of module.h");

static PyObject *restore_signals(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(unused))
{
    for (int at = 0; at < 2; at++)
        sigaction(of_writes[at], &before[at], NULL);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"kind", kind, METH_O, kind_doc},
    {"code", code, METH_O, code_doc},
    {"data", data, METH_O, data_doc},
    {"names", names, METH_NOARGS, names_doc},
    {"finish", finish, METH_NOARGS, finish_doc},
    {"syscall", (PyCFunction)(void (*)(void))call_kernel, METH_FASTCALL, syscall_doc},
    {"get_errno", get_errno, METH_NOARGS, get_errno_doc},
    {"address", address, METH_O, address_doc},
    {"restore_signals", restore_signals, METH_NOARGS, restore_doc},
    {0},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_pyshim", .m_size = -1, .m_methods = methods,
};

static PyObject *init(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module && PyModule_AddIntConstant(module, "BUILD", frozen_build))
        Py_CLEAR(module);
    return module;
}

PyMODINIT_FUNC PyInit__prctl(void);
PyMODINIT_FUNC PyInit__yaml(void);

void add_modules(void)
{
    static struct _inittab table[] = {
        {"_pyshim", init}, {"_prctl", PyInit__prctl}, {"yaml._yaml", PyInit__yaml}, {0},
    };
    if (PyImport_ExtendInittab(table))
        _exit(1);
}

/* CPython's own, of pycore_pylifecycle.h and pycore_codecs.h. */
extern int _PySignal_Init(int install_signal_handlers);
extern PyStatus _PyCodec_InitRegistry(PyInterpreterState *interp);

int complete_core(void)
{
    /* Error handlers are looked up there; what it imports, the other codecs, is for later. */
    PyObject *loaded = PyImport_GetModuleDict();
    if (_PySignal_Init(0) || PyDict_SetItemString(loaded, "encodings", loaded))
        return -1;
    PyStatus status = _PyCodec_InitRegistry(PyInterpreterState_Get());
    return PyStatus_Exception(status) ? -1 : PyDict_DelItemString(loaded, "encodings");
}
