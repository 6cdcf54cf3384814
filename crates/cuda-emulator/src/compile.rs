//! Compiles the emulator together with the kernels, once for each content.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kernels::{self, Kernel};

const SOURCES: [(&str, &str); 11] = [
    ("emulator.h", include_str!("../cpp/emulator.h")),
    ("device.h", include_str!("../cpp/device.h")),
    ("intrinsics.h", include_str!("../cpp/intrinsics.h")),
    ("fiber.h", include_str!("../cpp/fiber.h")),
    ("driver.h", include_str!("../cpp/driver.h")),
    ("fiber.cpp", include_str!("../cpp/fiber.cpp")),
    ("scheduler.cpp", include_str!("../cpp/scheduler.cpp")),
    ("memory.cpp", include_str!("../cpp/memory.cpp")),
    ("driver.cpp", include_str!("../cpp/driver.cpp")),
    ("copies.cpp", include_str!("../cpp/copies.cpp")),
    ("launches.cpp", include_str!("../cpp/launches.cpp")),
];

/// No contraction: a product and a sum written apart must be rounded apart, as on the device.
const FLAGS: [&str; 8] = [
    "-std=c++17",
    "-O2",
    "-g",
    "-fPIC",
    "-shared",
    "-ffp-contract=off",
    "-fvisibility=hidden",
    "-Wl,-soname,libcuda.so",
];
/// Kernels are compiled, and looked at, as if for this architecture.
const ARCHITECTURE: &str = "-D__CUDA_ARCH__=800";

/// The path of a library that emulates a driver with these kernels, compiled unless an earlier call, of any process,
/// has done so.
pub fn library(source: &str) -> Result<PathBuf, String> {
    let (compiler, version) = compiler()?;
    let mut hasher = DefaultHasher::new();
    // What this file and its neighbour make of the source belongs to the content too.
    let makers = [include_str!("compile.rs"), include_str!("kernels.rs")];
    (&compiler, version, makers, SOURCES, source).hash(&mut hasher);
    let folder = cache().join(format!("{:016x}", hasher.finish()));
    let library = folder.join("libcuda.so");
    if library.exists() {
        return Ok(library);
    }
    let failed = |what: &str, error: std::io::Error| format!("{what} {}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(|error| failed("cannot create", error))?;
    // Other test processes may want the same library at the same time: one compiles, the others wait.
    let lock = fs::File::create(folder.join("lock")).map_err(|error| failed("cannot write in", error))?;
    lock.lock().map_err(|error| failed("cannot lock", error))?;
    if !library.exists() {
        compile(&compiler, source, &folder)?;
        fs::rename(folder.join("part.so"), &library).map_err(|error| failed("cannot write in", error))?;
    }
    Ok(library)
}

fn compile(compiler: &str, source: &str, folder: &Path) -> Result<(), String> {
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text)
            .map_err(|error| format!("cannot write {name} in {}: {error}", folder.display()))
    };
    for (name, text) in SOURCES {
        write(name, text)?;
    }
    write("kernels.cu", source)?;
    let flat =
        run(Command::new(compiler).current_dir(folder).args(["-E", "-P", "-x", "c++", ARCHITECTURE, "kernels.cu"]))?;
    write("kernels.cpp", &tables(&kernels::find(&flat)?, flat.matches("__shared__").count()))?;
    let units = SOURCES.iter().map(|(name, _)| *name).filter(|name| name.ends_with(".cpp"));
    let mut command = Command::new(compiler);
    command.current_dir(folder).args(FLAGS).args([ARCHITECTURE, "-w", "-o", "part.so", "kernels.cpp"]).args(units);
    run(&mut command).map(drop)
}

/// The file that includes the kernels and lists what they declare.
fn tables(kernels: &[Kernel], shared: usize) -> String {
    // In an unnamed namespace names cannot meet those of the C library, nor templates be merged across files.
    let mut text = "#include \"device.h\"\nnamespace {\n#include \"kernels.cu\"\n}\n".to_owned();
    for i in 0..shared {
        // Weak: a declaration in a template that is never used has no section.
        text += &format!(
            "extern \"C\" char __start_emu_shared_{i}[] __attribute__((weak)), __stop_emu_shared_{i}[] __attribute__((weak));\n"
        );
    }
    text += "namespace emu {\nconst Kernel kernels[] = {\n";
    for Kernel { name, bounds } in kernels {
        text += &format!("    EMU_KERNEL({name}, {bounds}),\n");
    }
    text += "    {}};\nconst size_t kernel_count = sizeof kernels / sizeof kernels[0] - 1;\nShared shared[] = {\n";
    for i in 0..shared {
        text += &format!("    {{__start_emu_shared_{i}, __stop_emu_shared_{i}, 0}},\n");
    }
    text + "    {}};\n}\n"
}

/// The C++ compiler and its version: `$CXX`, or the first of the usual names.
fn compiler() -> Result<(String, String), String> {
    let chosen = std::env::var("CXX").ok().filter(|name| !name.is_empty());
    let names = chosen.map_or_else(|| ["g++", "c++", "clang++"].map(str::to_owned).to_vec(), |name| vec![name]);
    for name in &names {
        match Command::new(name).arg("--version").output() {
            Ok(output) if output.status.success() => {
                return Ok((name.clone(), String::from_utf8_lossy(&output.stdout).into_owned()));
            }
            Ok(output) => return Err(format!("{name} --version failed: {}", output.status)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{name} does not run: {error}")),
        }
    }
    Err(format!(
        "no C++ compiler found (tried {}): the CUDA emulator is compiled when its tests run. Install g++ (Debian, Ubuntu: \
         `apt-get install g++`) or clang++, or name a C++17 compiler in the environment variable CXX",
        names.join(", ")
    ))
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A folder in cargo's target folder, which cargo marks with a tag, or else among the temporary files.
fn cache() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    target.map_or_else(|| std::env::temp_dir().join("piadm-cuda-emulator"), |folder| folder.join("cuda-emulator"))
}
