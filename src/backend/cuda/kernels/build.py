"""Compiles the kernels to piadm.ptx, or checks that the file is current.

    python build.py NVRTC            writes piadm.ptx
    python build.py NVRTC --check    compares it with what the sources give and looks at the machine code for sm_80 and sm_90:
                                     no spills, no stack, no multiply-add that was contracted

NVRTC is the folder with libnvrtc.so.12 and libnvrtc-builtins.so.12.0 of the package nvidia-cuda-nvrtc-cu12, version 12.0.140: its PTX is
ISA 8.0, which every driver from CUDA 12.0 on can read.
"""

import ctypes
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
# the order of SOURCE in device.rs
SOURCES = ["prelude.cu", "normals.cu", "rows.cu", "program.cu", "products.cu", "mixture.cu", "combine.cu"]


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return value


class Nvrtc:
    def __init__(self, folder):
        folder = pathlib.Path(folder)
        # found by its bare name otherwise
        ctypes.CDLL(str(folder / "libnvrtc-builtins.so.12.0"), mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(str(folder / "libnvrtc.so.12"))

    def text(self, program, what):
        size = ctypes.c_size_t()
        getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(self.library, f"nvrtcGet{what}")(program, buffer)
        return buffer.value.decode()

    def compile(self, source, architecture):
        """PTX (for compute_..) and the compiler's log."""
        program = ctypes.c_void_p()
        self.library.nvrtcCreateProgram(ctypes.byref(program), source, b"piadm.cu", 0, None, None)
        options = [f"--gpu-architecture={architecture}", "--std=c++17", "--fmad=false"]
        if architecture.startswith("sm"):
            options.append("--ptxas-options=-v")
        encoded = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
        failed = self.library.nvrtcCompileProgram(program, len(options), encoded)
        log = self.text(program, "ProgramLog")
        if failed:
            sys.exit(f"the kernels do not compile for {architecture}:\n{log}")
        return (self.text(program, "PTX") if architecture.startswith("compute") else ""), log


def check_code(nvrtc, source, ptx):
    for pattern in [r"fma\.", r"mad\.f", r"(add|mul|sub|div|sqrt)(\.ftz)?\.f(32|64)", r"\.approx", r"\.ftz"]:
        found = re.search(pattern, ptx)
        if found:
            sys.exit(f"the kernels' PTX has {found.group()}: all arithmetic must be rounded to nearest and stay apart")
    for architecture in ["sm_80", "sm_90"]:
        _, log = nvrtc.compile(source, architecture)
        uses = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
        names = re.findall(r"Compiling entry function '(\w+)'", log)
        registers = re.findall(r"Used (\d+) registers", log)
        if not uses or len(uses) != len(names) or any(int(n) for use in uses for n in use):
            sys.exit(f"{architecture}: spills or a stack:\n{log}")
        print(f"{architecture}: {len(names)} kernels, no spills; " + ", ".join(f"{n} {r}" for n, r in zip(names, registers)))


def main():
    arguments = sys.argv[1:]
    if not arguments:
        sys.exit(__doc__)
    nvrtc = Nvrtc(arguments[0])
    source = b"".join((HERE / name).read_bytes() for name in SOURCES)
    ptx, _ = nvrtc.compile(source, "compute_80")
    check_code(nvrtc, source, ptx)
    # the line that a test without NVRTC compares
    ptx = f"// source {fnv1a(source):016x}\n" + ptx
    file = HERE / "piadm.ptx"
    if "--check" not in arguments:
        file.write_text(ptx)
    elif file.read_text() != ptx:
        sys.exit("piadm.ptx is not what the sources give: run build.py without --check")
    print("piadm.ptx is current")


main()
