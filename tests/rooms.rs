//! The plan of the house: which folder of src may use which, and that files of the engine and the samplers form no
//! circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Low to high; a room imports only rooms before it.
const ROOMS: [&str; 18] = [
    "setters", "error", "names", "simd", "portable", "noise", "schedule", "backend", "score", "grid", "nodes",
    "problem", "engine", "sampler", "gits", "inspect", "quality", "prelude",
];
/// Nobody imports these.
const LEAVES: [&str; 4] = ["gits", "inspect", "quality", "prelude"];

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
}

/// The file's code: no comments, no unit tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code = text.lines().map(|line| line.split("//").next().unwrap());
    code.collect::<Vec<_>>().join("\n")
}

/// All paths that begin with `crate::`, those of a list in braces one by one.
fn paths(code: &str) -> Vec<String> {
    let mut all = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let stem: String = rest.chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
        match rest.strip_prefix(&*stem).and_then(|rest| rest.strip_prefix('{')) {
            Some(list) => {
                let list = list.split('}').next().unwrap();
                assert!(!list.contains('{'), "a list in a list of imports: {stem}{{{list}}}");
                all.extend(
                    list.split(',').map(str::trim).filter(|i| !i.is_empty()).map(|item| format!("{stem}{item}")),
                );
            }
            None => all.push(stem.trim_end_matches(':').to_owned()),
        }
    }
    all
}

/// The files of src by their module paths, such as `engine::accept::judge`.
fn modules() -> BTreeMap<String, PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&src, &mut all);
    let name = |path: &Path| {
        let path = path.strip_prefix(&src).unwrap().with_extension("");
        let parts: Vec<_> = path.iter().map(|p| p.to_str().unwrap()).filter(|p| *p != "mod").collect();
        parts.join("::")
    };
    all.into_iter().map(|path| (name(&path), path)).filter(|(name, _)| name != "lib").collect()
}

fn room(module: &str) -> usize {
    let name = module.split("::").next().unwrap();
    ROOMS.iter().position(|room| *room == name).unwrap_or_else(|| panic!("src/{name} is no room of the plan"))
}

#[test]
fn no_arrow_goes_up() {
    let mut wrong = Vec::new();
    for (module, path) in modules() {
        let code = code(&path);
        for import in paths(&code) {
            let first = import.split("::").next().unwrap();
            // macros that the crate exports to itself
            if first == "simd" && module == "lib" {
                continue;
            }
            if !ROOMS.contains(&first) {
                wrong.push(format!("{module} uses crate::{import}, which is not in a room"));
                continue;
            }
            let (from, to) = (room(&module), room(&import));
            let leaf = LEAVES.contains(&first) && from != to;
            if to > from || leaf {
                wrong.push(format!("{module} uses crate::{import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that go up:\n{}", wrong.join("\n"));
}

/// The longest module that a path leads to.
fn target<'m>(import: &str, modules: &'m BTreeMap<String, PathBuf>) -> Option<&'m str> {
    let parts: Vec<&str> = import.split("::").collect();
    (1..=parts.len()).rev().find_map(|n| modules.get_key_value(&parts[..n].join("::")).map(|(name, _)| &**name))
}

#[test]
fn files_of_the_engine_and_the_samplers_form_no_circle() {
    let modules = modules();
    let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (module, path) in modules.iter().filter(|(m, _)| m.starts_with("engine") || m.starts_with("sampler")) {
        let code = code(path);
        if code.contains("super::") {
            wrong.push(format!("{module} uses super::"));
        }
        let room = module.split("::").next().unwrap();
        for import in paths(&code).iter().filter(|import| import.starts_with(&format!("{room}::"))) {
            let Some(to) = target(import, &modules).filter(|to| to != module) else { continue };
            let is_list = modules[to].ends_with("mod.rs") && !module.starts_with(to);
            let reexport = modules[to].ends_with("mod.rs") && code_has_no(&modules[to], import);
            if is_list && reexport {
                wrong.push(format!("{module} uses crate::{import} by way of a mod.rs"));
            }
            arrows.entry(module).or_default().insert(to);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // take away files that nobody they use is left of; what stays is a circle
    let mut left: BTreeSet<&str> = arrows.keys().copied().collect();
    loop {
        let free: Vec<&str> = left.iter().copied().filter(|m| arrows[m].iter().all(|to| !left.contains(to))).collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|m| {
            left.remove(m);
        });
    }
    assert!(left.is_empty(), "a circle among {left:?}");
}

/// Whether a mod.rs does not define the last name of a path itself.
fn code_has_no(path: &Path, import: &str) -> bool {
    let name = import.rsplit("::").next().unwrap();
    let code = code(path);
    !["struct ", "enum ", "trait ", "fn ", "const "].iter().any(|kind| code.contains(&format!("{kind}{name}")))
}

#[test]
fn no_file_is_long() {
    let long: Vec<String> = modules()
        .into_iter()
        .filter_map(|(module, path)| {
            let lines = std::fs::read_to_string(path).unwrap().lines().count();
            (lines > 420).then(|| format!("{module}: {lines} lines"))
        })
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}
