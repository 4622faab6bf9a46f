/* The marshalled modules and the packages' files, as freeze.py wrote them one behind the other. */
    .section .rodata.frozen, "a"
    .global frozen_bytes
    .balign 4096
frozen_bytes:
    .incbin "frozen.bin"
    .byte 0
    .section .note.GNU-stack, "", %progbits
