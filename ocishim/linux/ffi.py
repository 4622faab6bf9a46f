"""The C function syscall(2) by the core of `ctypes`, which is a third of the price.

Measured (python -I -S, median of 150, Debian 12 / 3.13): nothing 6.7 / 10.9 ms, `import ctypes`
and libc 9.6 / 16.4, this file 7.5 / 12.1. `_ctypes` is private to CPython but the same from 3.10
to 3.13; where one of its names is missing, `ctypes` serves. Only ocishim.linux imports this file.
"""

from __future__ import annotations

from ocishim.posixos import IS_STATIC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Argument = int | bytes | bytearray | None
    Functions = tuple[Callable[..., int], Callable[[], int], Callable[[bytearray], int]]


def _core() -> tuple[Callable[..., int], Callable[[], int], Callable[[bytearray], object]]:
    """(syscall, errno reader, buffer to pointer) over `_ctypes`; ImportError if it has changed."""
    from _ctypes import (  # noqa: PLC0415 - may be missing
        FUNCFLAG_CDECL,
        FUNCFLAG_USE_ERRNO,
        Array,
        CFuncPtr,
        _SimpleCData,
        dlopen,
        dlsym,
        get_errno,
    )

    class Long(_SimpleCData):  # type: ignore[type-arg]
        _type_ = "l"

    class Pointer(_SimpleCData):  # type: ignore[type-arg]
        _type_ = "P"

    class Byte(_SimpleCData):  # type: ignore[type-arg]
        _type_ = "c"

    class Syscall(CFuncPtr):
        _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
        _restype_ = Long
        # A pointer parameter takes an int (any sign), bytes, None or a buffer: one prototype
        # for all system calls, whose arguments are registers anyway.
        _argtypes_ = (Long, Pointer, Pointer, Pointer, Pointer, Pointer, Pointer)

    def pointer(buffer: bytearray) -> object:
        kind = type("Buffer", (Array,), {"_type_": Byte, "_length_": len(buffer)})
        return kind.from_buffer(buffer)  # type: ignore[attr-defined]

    libc = dlopen(None, 0)  # type: ignore[arg-type]
    return Syscall(dlsym(libc, "syscall")), get_errno, pointer


def _package() -> tuple[Callable[..., int], Callable[[], int], Callable[[bytearray], object]]:
    """The same three through the public package."""
    import ctypes  # noqa: PLC0415 - 2.9 ms, only where _ctypes is not what we know

    function = ctypes.CDLL(None, use_errno=True).syscall
    function.argtypes = (ctypes.c_long, *(ctypes.c_void_p,) * 6)
    function.restype = ctypes.c_long

    def pointer(buffer: bytearray) -> object:
        return (ctypes.c_char * len(buffer)).from_buffer(buffer)

    return function, ctypes.get_errno, pointer


def _by_ctypes() -> Functions:
    try:
        function, errno_of, pointer = _core()
    except (ImportError, TypeError, AttributeError):
        function, errno_of, pointer = _package()

    def syscall(number: int, *args: Argument) -> int:
        plain = [pointer(arg) if isinstance(arg, bytearray) else arg for arg in args]
        return function(number, *plain, *(0,) * (6 - len(args)))

    def address(buffer: bytearray) -> int:
        from _ctypes import addressof  # noqa: PLC0415 - one system call in a hundred needs it

        return addressof(pointer(buffer))  # type: ignore[arg-type]

    return syscall, errno_of, address


def _own() -> Functions:
    """The static file's (binary/module.c)."""
    from _pyshim import address, get_errno, syscall  # noqa: PLC0415 - not there elsewhere

    return syscall, get_errno, address


# syscall(number, *arguments): the kernel's answer (-1: look at get_errno()); an argument is an int
# of any sign, bytes, None, or a bytearray, which is written to. address(bytearray): where it lies,
# for structs with pointers; valid while it lives and keeps its size.
syscall, get_errno, address = _own() if IS_STATIC else _by_ctypes()
