//! The `compare` command: what a run prints and writes.

mod common;

use clap::{CommandFactory, Parser};
use common::{base, value, with};
use lab::compare::{Arguments, npy, run};
use ndarray::{Array, Array2, Array3, ShapeBuilder};
use ndarray_npy::write_npy;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// An empty folder of a test's own.
fn folder(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compare").join(test);
    if path.exists() {
        std::fs::remove_dir_all(&path).unwrap();
    }
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn save(folder: &Path, problem: &Value) -> OsString {
    let path = folder.join("problem.json");
    std::fs::write(&path, problem.to_string()).unwrap();
    path.into()
}

/// Runs the command on a file; words of `options` are separate arguments, samplers follow them.
fn command(problem: &OsString, options: &str, samplers: &[&str]) -> Result<(bool, String), String> {
    let mut args = vec!["compare".into(), "--problem".into(), problem.clone()];
    args.extend(options.split_whitespace().map(OsString::from));
    args.extend(samplers.iter().flat_map(|s| ["--sampler", s]).map(OsString::from));
    let arguments = Arguments::try_parse_from(args).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    let status = run(arguments, &mut out).map_err(|error| error.to_string())?;
    assert!([ExitCode::SUCCESS, ExitCode::FAILURE].contains(&status));
    Ok((status == ExitCode::SUCCESS, String::from_utf8(out).unwrap()))
}

fn json_lines(problem: &OsString, options: &str, samplers: &[&str]) -> (bool, Vec<Value>) {
    let (ok, text) = command(problem, &format!("--format json {options}"), samplers).unwrap();
    (ok, text.lines().map(value).collect())
}

const EXACT: &str = r#"{"picard": {"window": 7, "tolerance": {"absolute": 0}}}"#;

#[test]
fn json_has_a_line_for_each_sampler_in_order() {
    let dir = folder("json");
    let problem = save(&dir, &base());
    for dtype in ["f32", "f64"] {
        let options = format!("--samples 3 --seed 5 --dtype {dtype} --out {}", dir.display());
        let (ok, lines) = json_lines(&problem, &options, &[EXACT, "sequential", "piadm", "paradigms"]);
        assert!(ok);
        let names: Vec<&str> = lines.iter().map(|line| line["sampler"].as_str().unwrap()).collect();
        assert_eq!(names, ["picard", "sequential", "piadm", "paradigms"]);
        for line in &lines {
            assert_eq!((&line["steps"], &line["samples"], &line["dim"]), (&json!(24), &json!(3), &json!(2)));
            assert_eq!((&line["dtype"], &line["stop"]), (&json!(dtype), &json!("converged")));
            let rows = line["score_rows"].as_u64().unwrap() as f64;
            assert_eq!(line["rows_per_step"].as_f64().unwrap(), rows / 72.0);
            assert!(line["rounds"].as_u64().unwrap() <= line["score_calls"].as_u64().unwrap());
            assert!(line["seconds"].as_f64().unwrap() >= line["score_seconds"].as_f64().unwrap());
        }
        let sequential = &lines[1];
        assert_eq!((&sequential["rounds"], &sequential["score_rows"]), (&json!(24), &json!(72)));
        assert_eq!(sequential["settings"], json!({}));
        for exact in &lines[..2] {
            assert_eq!(exact["rms_to_sequential"], json!([0.0, 0.0, 0.0]));
            assert_eq!(exact["max_path_error"], json!([0.0, 0.0, 0.0]));
        }
        assert!(lines[0]["rounds"].as_u64() < Some(24));

        // the errors that are printed are those of the files
        let samples: Vec<Array2<f64>> = (0..4).map(|i| npy::read(&dir.join(format!("{i}.npy"))).unwrap()).collect();
        assert_eq!(samples[0], samples[1]);
        for (line, own) in lines.iter().zip(&samples) {
            assert_eq!(own.dim(), (3, 2));
            for (i, rms) in line["rms_to_sequential"].as_array().unwrap().iter().enumerate() {
                let difference = &own.row(i) - &samples[1].row(i);
                let expected = ((difference[0].powi(2) + difference[1].powi(2)) / 2.0).sqrt();
                let rms = rms.as_f64().unwrap();
                assert!((rms - expected).abs() <= 1e-12 * expected);
                assert!(line["max_path_error"][i].as_f64().unwrap() >= rms);
            }
        }
        assert!(lines[2]["rms_to_sequential"][0].as_f64().unwrap() > 0.0);
        let raw = std::fs::read(dir.join("0.npy")).unwrap();
        let descr = if dtype == "f32" { "<f4" } else { "<f8" };
        assert!(String::from_utf8_lossy(&raw[..80]).contains(descr));
    }
}

/// Given the start and the normals, the run is x' = e^{h/2} x + 2 (e^{h/2} - 1) s(x) + sqrt(e^h - 1) xi, whoever does
/// it.
#[test]
fn given_start_and_noise_are_replayed() {
    let dir = folder("replay");
    let (mean, std, steps, samples, dim) = ([0.5, -1.0, 2.0], 0.4, 12, 2, 3);
    let times: Vec<f64> = (0..=steps).map(|i| 4.0 * 0.7f64.powi(i)).collect();
    let problem = json!({
        "target": { "weights": [1.0], "means": [mean], "std": [std] },
        "schedule": { "kind": "ou" },
        "grid": { "kind": "times", "times": times },
        "scheme": { "kind": "exponential", "form": "score", "stochasticity": 1.0 },
    });
    let problem = save(&dir, &problem);
    // multiples of 1/64 are the same in both precisions
    let number = |i: usize| ((i * 2654435761) % 257) as f64 / 64.0 - 2.0;
    let init = Array2::from_shape_fn((samples, dim), |(n, e)| number(100 + n * dim + e));
    let noise = Array3::from_shape_fn((steps as usize, samples, dim), |(m, n, e)| number((m * samples + n) * dim + e));
    let mut x = init.clone();
    for (m, pair) in times.windows(2).enumerate() {
        let (t, h) = (pair[0], pair[0] - pair[1]);
        let (alpha, var) = ((-t / 2.0).exp(), (-t).exp() * std * std + 1.0 - (-t).exp());
        for ((n, e), x) in x.indexed_iter_mut() {
            let score = -(*x - alpha * mean[e]) / var;
            *x = (h / 2.0).exp() * *x
                + 2.0 * ((h / 2.0).exp() - 1.0) * score
                + (h.exp() - 1.0).sqrt() * noise[[m, n, e]];
        }
    }

    let fortran = |shape: (usize, usize, usize)| Array::from_shape_fn(shape.f(), |i| noise[i]);
    write_npy(dir.join("init8.npy"), &init).unwrap();
    write_npy(dir.join("init4.npy"), &Array::from_shape_fn(init.dim().f(), |i| init[i] as f32)).unwrap();
    write_npy(dir.join("noise8.npy"), &noise).unwrap();
    write_npy(dir.join("noise8f.npy"), &fortran(noise.dim())).unwrap();
    write_npy(dir.join("noise4.npy"), &noise.mapv(|x| x as f32)).unwrap();
    let header = std::fs::read(dir.join("noise8f.npy")).unwrap();
    assert!(String::from_utf8_lossy(&header[..100]).contains("'fortran_order': True"));
    for (init, noise) in [("init8", "noise8"), ("init4", "noise8f"), ("init8", "noise4")] {
        for (dtype, tolerance) in [("f64", 1e-12), ("f32", 1e-5)] {
            let d = dir.display();
            let options = format!("--dtype {dtype} --init {d}/{init}.npy --noise {d}/{noise}.npy --out {d}/out");
            let (ok, lines) = json_lines(&problem, &options, &["sequential", EXACT]);
            assert!(ok && lines[0]["samples"] == json!(2));
            for i in 0..2 {
                let own: Array2<f64> = npy::read(&dir.join(format!("out/{i}.npy"))).unwrap();
                let worst = (&own - &x).iter().fold(0.0, |a, b| f64::max(a, b.abs()));
                assert!(worst < tolerance, "{dtype} {init} {noise}: {worst:e}");
            }
        }
    }
}

#[test]
fn a_failing_sampler_tells_why_and_hides_no_other() {
    let dir = folder("failing");
    let problem = save(&dir, &base());
    let stall = r#"{"picard": {"policy": "blocks", "max_sweeps": 1, "tolerance": {"absolute": 1e-9}}}"#;
    let wrong = r#"{"picard": {"window": 0}}"#;
    let samplers = ["sequential", stall, wrong, EXACT];
    std::fs::write(dir.join("1.npy"), "of an earlier run").unwrap();
    let (ok, lines) = json_lines(&problem, &format!("--out {}", dir.display()), &samplers);
    assert!(!ok);
    assert_eq!(lines.len(), 4);
    assert!(lines[1]["error"].as_str().unwrap().contains("did not converge"));
    assert!(lines[2]["error"].as_str().unwrap().starts_with("window = 0"));
    assert!(lines[1].get("rounds").is_none() && lines[0].get("error").is_none());
    assert_eq!(lines[3]["rms_to_sequential"], json!(vec![0.0; 8]));
    let there = [0, 1, 2, 3].map(|i| dir.join(format!("{i}.npy")).exists());
    assert_eq!(there, [true, false, false, true]);

    let (ok, table) = command(&problem, "", &samplers).unwrap();
    assert!(!ok);
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows.len() == 5 && rows[0].starts_with("sampler") && rows[2].contains("error: sample"), "{table}");
    let ends = [1, 4].map(|i| rows[i].find("converged").unwrap());
    assert_eq!(ends[0], ends[1], "{table}");
}

#[test]
fn a_failing_reference_is_an_error() {
    let dir = folder("reference");
    // explicit Euler grows 5000-fold in each of these steps, beyond what f32 holds
    let times: Vec<f64> = (1..=13).rev().map(|i| 1e4 * f64::from(i)).collect();
    let unstable = with(base(), "/grid", json!({ "kind": "times", "times": times }));
    let unstable = with(unstable, "/scheme", json!({ "kind": "euler_maruyama" }));
    let problem = save(&dir, &unstable);
    let error = command(&problem, "", &["picard"]).unwrap_err();
    assert!(error.starts_with("the sequential reference failed: "), "{error}");
    let (ok, lines) = json_lines(&problem, "", &["sequential"]);
    assert!(!ok && lines[0]["error"].is_string());
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    let dir = folder("arguments");
    let problem = save(&dir, &base());
    let d = dir.display();
    write_npy(dir.join("init.npy"), &Array2::<f64>::zeros((3, 2))).unwrap();
    write_npy(dir.join("wide.npy"), &Array2::<f64>::zeros((3, 5))).unwrap();
    write_npy(dir.join("noise.npy"), &Array3::<f64>::zeros((24, 3, 2))).unwrap();
    write_npy(dir.join("short.npy"), &Array3::<f64>::zeros((23, 3, 2))).unwrap();
    write_npy(dir.join("whole.npy"), &Array2::<i32>::zeros((3, 2))).unwrap();
    write_npy(dir.join("nan.npy"), &Array2::from_elem((3, 2), f64::NAN)).unwrap();
    write_npy(dir.join("large.npy"), &Array2::from_elem((3, 2), 1e300)).unwrap();
    write_npy(dir.join("none.npy"), &Array2::<f64>::zeros((0, 2))).unwrap();
    let whole = std::fs::read(dir.join("init.npy")).unwrap();
    std::fs::write(dir.join("cut.npy"), &whole[..whole.len() - 1]).unwrap();
    let at = whole.windows(6).position(|bytes| bytes == b"(3, 2)").unwrap();
    let mut huge = whole.clone();
    huge[at..at + 22].copy_from_slice(b"(3000000000000, 2), } ");
    std::fs::write(dir.join("huge.npy"), huge).unwrap();
    std::fs::write(dir.join("text.npy"), "not an array").unwrap();
    for (options, expected) in [
        ("--samples 0".to_owned(), "--samples: 0 samples"),
        ("--samples -1".to_owned(), "'-1' for '--samples <N>'"),
        ("--samples x".to_owned(), "'x' for '--samples <N>'"),
        ("--seed 1.5".to_owned(), "'1.5' for '--seed <N>'"),
        ("--dtype f16".to_owned(), "'f16' for '--dtype <DTYPE>'\n  [possible values: f32, f64]"),
        ("--format xml".to_owned(), "'xml' for '--format <KIND>'\n  [possible values: table, json]"),
        ("--sampler".to_owned(), "a value is required for '--sampler <S>'"),
        ("--sample 3".to_owned(), "unexpected argument '--sample'"),
        (r#"--sampler {"picard":{"window":-1}}"#.to_owned(), "'--sampler <S>': picard.window: "),
        ("stray".to_owned(), "unexpected argument 'stray'"),
        (
            "--sampler what".to_owned(),
            "'what' for '--sampler <S>': unknown variant `what`, expected one of `sequential`",
        ),
        (format!("--samples 4 --init {d}/init.npy"), "--samples gives 4 samples and --init 3"),
        (format!("--samples 4 --noise {d}/noise.npy"), "--samples gives 4 samples and --noise 3"),
        (format!("--init {d}/wide.npy"), "--init: shape [3, 5], expected [3, 2]"),
        (format!("--noise {d}/short.npy"), "--noise: shape [23, 3, 2], expected [24, 3, 2]"),
        (format!("--noise {d}/init.npy"), "shape [3, 2], expected 3 axes"),
        (format!("--init {d}/none.npy"), "--init: 0 samples"),
        (format!("--init {d}/whole.npy"), "expected f4 or f8"),
        (format!("--init {d}/nan.npy"), "NaN at (0, 0)"),
        (format!("--init {d}/large.npy"), "inf at (0, 0)"),
        (format!("--init {d}/cut.npy"), "47 bytes of data do not make the shape [3, 2]"),
        (format!("--init {d}/huge.npy"), "do not make the shape"),
        (format!("--init {d}/text.npy"), "text.npy: "),
        (format!("--init {d}/missing.npy"), "missing.npy: "),
        (format!("--out {d}/init.npy"), "init.npy: "),
    ] {
        let samplers: &[&str] = if options == "--sampler" { &[] } else { &["picard"] };
        let error = command(&problem, &options, samplers).unwrap_err();
        assert!(error.contains(expected), "{options}: {error:?} does not contain {expected:?}");
    }
    let required = "the following required arguments were not provided:\n  --";
    assert!(command(&problem, "", &[]).unwrap_err().contains(&format!("{required}sampler <S>")));
    let no_problem = Arguments::try_parse_from(["compare", "--sampler", "picard"]).unwrap_err();
    assert_eq!(no_problem.exit_code(), 2);
    assert!(no_problem.to_string().contains(&format!("{required}problem <FILE.json>")));
    let missing = command(&dir.join("missing.json").into(), "", &["picard"]).unwrap_err();
    assert!(missing.contains("missing.json: "), "{missing}");
    // a batch too large for its addresses is a failure of the run, not of the program
    let (ok, lines) = json_lines(&problem, "--samples 18446744073709551615", &["sequential"]);
    assert!(!ok && lines[0]["error"].as_str().unwrap().starts_with("samples = "));
}

#[test]
fn help_lists_every_option_and_every_sampler() {
    let text = Arguments::command().render_long_help().to_string();
    for option in ["--problem", "--sampler", "--samples", "--seed", "--dtype", "--init", "--noise", "--out", "--format"]
    {
        assert!(text.contains(option), "{option}");
    }
    for name in [
        "sequential",
        "piadm",
        "zhou_sugiyama",
        "paradigms",
        "parasolver",
        "parataa",
        "parareal",
        "chords",
        "picard",
        "automatic",
    ] {
        assert!(text.contains(&format!("- {name}: ")), "{name}");
    }
}

/// The problems that come with the example, with how far their default samplers may end from the sequential samples.
#[test]
fn shipped_problems_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/problems");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 4);
    for file in files {
        let name = file.display().to_string();
        let samplers = ["sequential", EXACT, "piadm", "paradigms", "picard"];
        let (ok, lines) = json_lines(&file.into(), "--samples 4 --seed 3", &samplers);
        assert!(ok, "{name}: {lines:?}");
        let rounds: Vec<u64> = lines.iter().map(|line| line["rounds"].as_u64().unwrap()).collect();
        assert!(rounds[1..].iter().all(|r| *r < rounds[0]), "{name}: {rounds:?}");
        assert_eq!(lines[1]["rms_to_sequential"], json!(vec![0.0; 4]), "{name}");
        for line in &lines {
            let errors = line["rms_to_sequential"].as_array().unwrap();
            assert!(errors.iter().all(|e| e.as_f64().unwrap() < 0.1), "{name}: {line}");
        }
    }
}
