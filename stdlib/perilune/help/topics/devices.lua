return [==[
Devices

`device` in pl.load and on the command line is "auto", "cpu", "cuda", "cuda:1" or "emulator"; where nobody
says, PERILUNE_DEVICE does, else "auto": a GPU where there is one. An unknown name raises.

    local cpu = pl.devices()[1]
    print(cpu.name, cpu.kind, cpu.free > 0)                              --> cpu	cpu	true
    print(pl.health().ok)                                                --> true
    print(pl.try(pl.load, "scripts/models/tales", { device = "gpu" }))   --> nil	device: there is no device "gpu"

pl.devices() lists name, kind, memory, free, tier (the kernels that were chosen) and idle for GPUs that nobody
uses yet; pl.health() has the error of one that failed. t:to "cuda" and t:to "cpu" move a tensor, and operands
on two devices are an error. The threads of a model are `threads`, else all that the process may use.

    local m = pl.load("scripts/models/tales", { device = "cpu", threads = 1 })
    print(m.device, m.threads)                                           --> cpu	1

m:to(device) is the same model there, beside the one that stays: what pl.load makes of its files with the same
options, changed weights as they are. Of a model that is there already it is the model itself. Hooks stay behind.

    print(m:to "cpu" == m, m:to("cpu").device)                           --> true	cpu

GPUs and the emulator come from plug-ins beside the program (libperilune_cuda.so, libperilune_emulator.so), or
in the folder that PERILUNE_PLUGINS names. The emulator runs a GPU's kernels as plain C++, one thread at a
time: it is for tests. PERILUNE_CPU=scalar|v2|avx2|avx512 asks for kernels of the processor.
]==]
