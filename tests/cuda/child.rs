//! Tests in a process of their own, where the stand-in for the driver behaves otherwise.

use std::process::Command;

/// What a test of this program says when it runs alone, with these settings.
pub fn run(test: &str, settings: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--nocapture", "--include-ignored", "--test-threads=1"]);
    // a name, or the tests of a module
    command.args(if test.ends_with("::") { vec![test] } else { vec!["--exact", test] });
    let output = command.envs(settings.iter().copied()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

/// The same, which must pass.
pub fn passes(test: &str, settings: &[(&str, &str)]) {
    let (passed, output) = run(test, settings);
    assert!(passed && !output.contains("running 0 tests"), "{test} with {settings:?}: {output}");
}
