//! The trained network of the `fashion` example against its reference file, and files that are no network.

#[path = "../examples/support/mlp.rs"]
mod mlp;

use mlp::Mlp;
use ndarray::{Array2, Axis, concatenate, s};
use piadm::{BoxError, Prediction, Rows, ScoreFn};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use std::path::{Path, PathBuf};

const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/fashion_mlp.safetensors");
const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/fashion_mlp_ref.safetensors");

struct Reference {
    x: Array2<f32>,
    t: Vec<f64>,
    eps: Array2<f32>,
}

fn reference() -> Result<Reference, BoxError> {
    let bytes = std::fs::read(REFERENCE)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let values = |name: &str| -> Result<Vec<f32>, BoxError> {
        Ok(file.tensor(name)?.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    };
    Ok(Reference {
        x: Array2::from_shape_vec((16, 784), values("x")?)?,
        t: values("t")?.into_iter().map(f64::from).collect(),
        eps: Array2::from_shape_vec((16, 784), values("eps")?)?,
    })
}

/// eps^ = sigma x + alpha v, with the network's v.
fn noise(x: &Array2<f32>, t: &[f64], v: &Array2<f32>) -> Array2<f64> {
    Array2::from_shape_fn(x.dim(), |(i, j)| {
        let (alpha, sigma) = ((-t[i] / 2.0).exp(), (-(-t[i]).exp_m1()).sqrt());
        sigma * f64::from(x[[i, j]]) + alpha * f64::from(v[[i, j]])
    })
}

fn forward(net: &mut Mlp, x: &Array2<f32>, t: &[f64]) -> Result<Array2<f32>, BoxError> {
    let mut out = Array2::from_elem(x.dim(), f32::NAN);
    net.forward(x.view(), t, out.view_mut())?;
    Ok(out)
}

fn bits(a: &Array2<f32>) -> Vec<u32> {
    a.iter().map(|v| v.to_bits()).collect()
}

/// 150 rows, all different, with times over the whole range.
fn many_rows(r: &Reference) -> Result<(Array2<f32>, Vec<f64>), BoxError> {
    let parts: Vec<_> = (0..10).map(|k| &r.x * (1.0 + 0.01 * k as f32)).collect();
    let x = concatenate(Axis(0), &parts.iter().map(|p| p.view()).collect::<Vec<_>>())?.slice_move(s![..150, ..]);
    let t = (0..150).map(|i| 1e-3 * 8000f64.powf(f64::from(i * 37 % 150) / 149.0)).collect();
    Ok((x.as_standard_layout().into_owned(), t))
}

#[test]
fn agrees_with_the_reference() -> Result<(), BoxError> {
    let r = reference()?;
    let mut net = Mlp::load(WEIGHTS)?;
    assert_eq!(net.dim(), 784);
    let (mean, std) = net.norm();
    assert!((mean - 0.28604).abs() < 1e-5 && (std - 0.35302).abs() < 1e-5, "{mean} {std}");

    let together = forward(&mut net, &r.x, &r.t)?;
    let mut alone = Array2::zeros((0, 784));
    for i in 0..16 {
        alone.append(Axis(0), forward(&mut net, &r.x.slice(s![i..i + 1, ..]).to_owned(), &r.t[i..i + 1])?.view())?;
    }
    for v in [together, alone] {
        let eps = noise(&r.x, &r.t, &v);
        let worst = eps.iter().zip(&r.eps).map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-4, "largest difference {worst:e}");
    }
    Ok(())
}

#[test]
fn a_row_does_not_depend_on_the_others() -> Result<(), BoxError> {
    let (x, t) = many_rows(&reference()?)?;
    let mut net = Mlp::load(WEIGHTS)?;
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let all = pool(1)?.install(|| forward(&mut net, &x, &t))?;
    for threads in [1, 2, 5] {
        let pool = pool(threads)?;
        for batch in [1, 2, 3, 5, 7, 11, 16, 100, 150] {
            for first in (0..150).step_by(batch) {
                let rows = first..(first + batch).min(150);
                let part = x.slice(s![rows.clone(), ..]).to_owned();
                let out = pool.install(|| forward(&mut net, &part, &t[rows.clone()]))?;
                let expected = all.slice(s![rows.clone(), ..]).to_owned();
                assert_eq!(bits(&out), bits(&expected), "{threads} threads, rows {rows:?}");
            }
        }
    }
    let reversed: Vec<f64> = t.iter().rev().copied().collect();
    let out = forward(&mut net, &x.slice(s![..;-1, ..]).as_standard_layout().into_owned(), &reversed)?;
    assert_eq!(bits(&out), bits(&all.slice(s![..;-1, ..]).as_standard_layout().into_owned()));
    Ok(())
}

#[test]
fn is_a_score() -> Result<(), BoxError> {
    let r = reference()?;
    let mut net = Mlp::load(WEIGHTS)?;
    assert_eq!(net.prediction(), Prediction::Velocity);
    assert_eq!(net.time_range(), Some((1e-3, 8.0)));
    let (unused, slot) = ([0.0; 16], [0; 16]);
    let rows = Rows::new(&r.t, &unused, &unused, &[0; 16], &slot).ok_or("lengths differ")?;
    let mut out = Array2::zeros((16, 784));
    net.eval(r.x.view(), &rows, out.view_mut())?;
    assert_eq!(bits(&out), bits(&forward(&mut net, &r.x, &r.t)?));
    Ok(())
}

#[test]
fn bad_calls_are_errors() -> Result<(), BoxError> {
    let r = reference()?;
    let mut net = Mlp::load(WEIGHTS)?;
    let mut out = Array2::zeros((16, 784));
    assert!(net.forward(r.x.view(), &r.t[..15], out.view_mut()).is_err());
    assert!(net.forward(r.x.slice(s![.., ..700]), &r.t, out.view_mut()).is_err());
    assert!(net.forward(r.x.view(), &r.t, out.slice_mut(s![..3, ..])).is_err());
    assert!(net.forward(r.x.slice(s![..;2, ..]), &r.t[..8], out.slice_mut(s![..8, ..])).is_err());
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let mut t = r.t.clone();
        t[7] = bad;
        assert!(net.forward(r.x.view(), &t, out.view_mut()).is_err(), "time {bad}");
    }
    net.forward(r.x.slice(s![..0, ..]), &[], out.slice_mut(s![..0, ..]))
}

/// Writes a changed copy of the weights and returns the error that loading it gives.
fn load_error(name: &str, bytes: &[u8]) -> Result<String, BoxError> {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes)?;
    let error = Mlp::load(&path).err().ok_or("the file was accepted")?.to_string();
    assert!(error.contains(name), "names the file: {error}");
    Ok(error)
}

/// The weights file with each tensor passed through `change`, which may give it another shape or drop it.
fn changed(change: impl Fn(&str, &mut Vec<usize>) -> bool) -> Result<Vec<u8>, BoxError> {
    let bytes = std::fs::read(WEIGHTS)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let mut tensors = Vec::new();
    for (name, view) in file.tensors() {
        let mut shape = view.shape().to_vec();
        if change(&name, &mut shape) {
            tensors.push((name, TensorView::new(view.dtype(), shape, view.data())?));
        }
    }
    Ok(serialize(tensors, None)?)
}

#[test]
fn bad_files_are_errors_that_name_the_fault() -> Result<(), BoxError> {
    let missing = Mlp::load(Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_such_file")).err().ok_or("accepted")?;
    assert!(missing.to_string().contains("no_such_file"), "{missing}");

    let bytes = std::fs::read(WEIGHTS)?;
    for length in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        load_error(&format!("truncated_{length}"), &bytes[..length])?;
    }
    load_error("not_safetensors", &[0xff; 1000])?;

    let all = changed(|_, _| true)?;
    let file = SafeTensors::deserialize(&all)?;
    for name in file.names() {
        let error = load_error("missing_tensor", &changed(|n, _| n != name)?)?;
        assert!(error.contains(name), "missing {name}: {error}");
        let shape_error = load_error(
            "wrong_shape",
            &changed(|n, shape| {
                if n == name {
                    shape.push(1);
                }
                true
            })?,
        )?;
        assert!(shape_error.contains(name), "wrong shape of {name}: {shape_error}");
    }
    let transposed = load_error(
        "transposed",
        &changed(|n, shape| {
            n != "out.weight" || {
                shape.reverse();
                true
            }
        })?,
    )?;
    assert!(transposed.contains("out.weight") && transposed.contains("[384, 784]"), "{transposed}");
    let empty = serialize([("inp.weight", TensorView::new(Dtype::F32, vec![0, 784], &[])?)], None)?;
    assert!(load_error("empty", &empty)?.contains("inp.weight"));
    Ok(())
}
