"""Perilune from Python, through ctypes and nothing else: python3 tale.py [libperilune.so.0] [MODEL]"""
import ctypes
import sys

library = ctypes.CDLL(sys.argv[1] if len(sys.argv) > 1 else "libperilune.so.0")
model_path = sys.argv[2] if len(sys.argv) > 2 else "scripts/models/tales"
handle, size_t = ctypes.c_uint64, ctypes.c_size_t
on_text_type = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_char_p, size_t)


class Prompt(ctypes.Structure):
    _fields_ = [("size", size_t), ("text", ctypes.c_char_p), ("text_size", size_t),
                ("messages", ctypes.c_char_p), ("ids", ctypes.POINTER(ctypes.c_int32)), ("id_count", size_t),
                ("options", ctypes.c_char_p), ("on_text", on_text_type), ("user", ctypes.c_void_p)]


# Handles are 64-bit numbers, which ctypes must be told.
for name, arguments in {
        "pl_open": [ctypes.c_void_p, ctypes.POINTER(handle)],
        "pl_load": [handle, ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(handle)],
        "pl_generate": [handle, ctypes.POINTER(Prompt), ctypes.POINTER(handle)],
        "pl_request_text": [handle, ctypes.c_char_p, size_t, ctypes.POINTER(size_t)],
        "pl_error_text": [handle, ctypes.c_char_p, size_t, ctypes.POINTER(size_t)],
        "pl_close": [handle]}.items():
    getattr(library, name).argtypes = arguments

instance, model, request = handle(), handle(), handle()


def check(status):
    if status >= 16:
        text = ctypes.create_string_buffer(500)
        library.pl_error_text(instance, text, 500, None)
        sys.exit("tale.py: " + text.value.decode())


def on_text(user, text, size):
    sys.stdout.write(text.decode())
    sys.stdout.flush()
    return 0


check(library.pl_open(None, ctypes.byref(instance)))
check(library.pl_load(instance, model_path.encode(), None, ctypes.byref(model)))
prompt = Prompt(size=ctypes.sizeof(Prompt), text=b"Once upon a time", on_text=on_text_type(on_text),
                options=b'{"max_new_tokens": 24, "do_sample": false}')
sys.stdout.write("Once upon a time")
check(library.pl_generate(model, ctypes.byref(prompt), ctypes.byref(request)))
print()
check(library.pl_close(instance))
