//! A fingerprint of every sampler: counters and bits of many small runs, compared with recorded ones.
//!
//! `cases.jsonl` holds runs as data (`make.py` writes it), `adapter.rs` those that JSON cannot say. With the feature
//! `cuda` some run on the emulated device too, which must give the lines of the CPU. `recorded.tsv` has the counters of
//! all cases, and the hashes of those whose numbers do not depend on the machine's exp and log.
//!
//! `FINGERPRINT_RECORD=1` writes recorded.tsv anew; `FINGERPRINT_OUT=path` writes all lines with all hashes there, for
//! `scripts/fingerprint`, which compares all bits of two commits on one machine.

#![cfg(feature = "serde")]

mod adapter;
mod cases;
#[path = "../common/mod.rs"]
mod common;
#[cfg(all(feature = "cuda", target_os = "linux"))]
#[path = "../cuda/device.rs"]
mod device;
mod dyadic;
mod line;
mod place;

use adapter::Runner;
use line::{COLUMNS, Line};
use piadm::Cpu;
use place::Host;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// All lines of the CPU.
fn on_cpu() -> Vec<Line> {
    let (single, double) = (Host(Cpu::<f32>::new()), Host(Cpu::<f64>::new()));
    let run = |case: &cases::Case| if case.dtype == "f32" { case.run(&single) } else { case.run(&double) };
    let mut lines: Vec<Line> = cases::read().iter().map(run).collect();
    lines.extend(Runner::all(&single, "f32"));
    lines.extend(Runner::all(&double, "f64"));
    lines
}

/// Those cases that run on a device.
#[cfg(all(feature = "cuda", target_os = "linux"))]
fn on_device() -> Vec<Line> {
    let (single, double) = (place::Device(device::cuda::<f32>()), place::Device(device::cuda::<f64>()));
    let run = |case: &cases::Case| if case.dtype == "f32" { case.run(&single) } else { case.run(&double) };
    let mut lines: Vec<Line> = cases::read().iter().filter(|case| case.device).map(run).collect();
    lines.extend(Runner::all(&single, "f32"));
    lines.extend(Runner::all(&double, "f64"));
    lines
}

#[cfg(not(all(feature = "cuda", target_os = "linux")))]
fn on_device() -> Vec<Line> {
    Vec::new()
}

type Table = BTreeMap<String, Vec<String>>;

/// Every difference between two tables, in words.
fn differences(recorded: &Table, now: &Table, [old, new]: [&str; 2]) -> String {
    let mut text = String::new();
    for (name, cells) in now {
        let Some(before) = recorded.get(name) else {
            writeln!(text, "{name}: not {old}").unwrap();
            continue;
        };
        for (i, column) in COLUMNS.iter().enumerate() {
            let cell = |cells: &[String]| cells.get(i).cloned().unwrap_or_default();
            if cell(before) != cell(cells) {
                writeln!(text, "{name}: {column} {old} {}, {new} {}", cell(before), cell(cells)).unwrap();
            }
        }
    }
    for name in recorded.keys().filter(|name| !now.contains_key(*name)) {
        writeln!(text, "{name}: {old}, but there is no such case").unwrap();
    }
    text
}

fn table<'a>(lines: impl IntoIterator<Item = &'a Line>, cells: impl Fn(&Line) -> Vec<String>) -> Table {
    let mut table = Table::new();
    for line in lines {
        let twice = table.insert(line.name.clone(), cells(line));
        assert!(twice.is_none(), "two cases are called {}", line.name);
    }
    table
}

fn write(path: &Path, rows: impl IntoIterator<Item = String>) {
    let text: String = rows.into_iter().map(|row| row + "\n").collect();
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

#[test]
fn fingerprint() {
    let (cpu, device) = (on_cpu(), on_device());
    let full = |line: &Line| line.cells.clone();
    let all = table(&cpu, full);
    if let Some(path) = std::env::var_os("FINGERPRINT_OUT") {
        let rows = cpu.iter().chain(&device).map(|l| format!("{}\t{}\t{}", l.name, l.backend, l.cells.join("\t")));
        write(Path::new(&path), rows);
    }
    // the same cases on both
    let there = table(&device, full);
    let here = all.into_iter().filter(|(name, _)| there.contains_key(name)).collect();
    let text = differences(&here, &there, ["on the CPU", "on the device"]);
    assert!(text.is_empty(), "the device differs from the CPU:\n{text}");

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fingerprint/recorded.tsv");
    let now = table(&cpu, Line::portable);
    if std::env::var_os("FINGERPRINT_RECORD").is_some_and(|v| v != "0") {
        let head = format!("name\t{}", COLUMNS.join("\t"));
        let rows = now.iter().map(|(name, cells)| format!("{name}\t{}", cells.join("\t")));
        return write(&path, std::iter::once(head).chain(rows));
    }
    let recorded = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let row = |row: &str| {
        let mut cells = row.split('\t').map(str::to_owned);
        (cells.next().unwrap_or_default(), cells.collect())
    };
    let recorded: Table = recorded.lines().skip(1).map(row).collect();
    let text = differences(&recorded, &now, ["recorded", "now"]);
    let count = text.lines().count();
    assert!(text.is_empty(), "{count} differences from recorded.tsv (FINGERPRINT_RECORD=1 writes it anew):\n{text}");
}
