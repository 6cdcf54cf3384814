//! The trained networks of the examples against their reference files, and files that are no network.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, concatenate, s};
use networks::{Labels, Network, RowPath, load};
use piadm::{
    Acceptance, BoxError, Cpu, Ou, Piadm, Picard, Prediction, Problem, Rows, Sampler, Sequential, Solution,
    sampler::Dynamics,
};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use std::path::{Path, PathBuf};

const NAMES: [&str; 3] = ["mlp", "unet", "unet-labels"];

/// `fashion_NAME` or `fashion_NAME_ref`.
fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(format!("{}.safetensors", file.replace('-', "_")))
}

struct Reference {
    x: Array2<f32>,
    t: Vec<f64>,
    eps: Array2<f32>,
    /// Of the rows, for a network that knows labels.
    labels: Vec<Option<usize>>,
}

fn reference(name: &str) -> Result<Reference, BoxError> {
    let bytes = std::fs::read(data(&format!("fashion_{name}_ref")))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let values = |name: &str| -> Result<Vec<f32>, BoxError> {
        Ok(file.tensor(name)?.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    };
    Ok(Reference {
        x: Array2::from_shape_vec((16, 784), values("x")?)?,
        t: values("t")?.into_iter().map(f64::from).collect(),
        eps: Array2::from_shape_vec((16, 784), values("eps")?)?,
        labels: values("label").unwrap_or_default().iter().map(|l| Some(*l as usize).filter(|l| *l < 10)).collect(),
    })
}

/// eps^ = sigma x + alpha v, with the network's v.
fn noise(x: &Array2<f32>, t: &[f64], v: &Array2<f32>) -> Array2<f64> {
    Array2::from_shape_fn(x.dim(), |(i, j)| {
        let (alpha, sigma) = ((-t[i] / 2.0).exp(), (-(-t[i]).exp_m1()).sqrt());
        sigma * f64::from(x[[i, j]]) + alpha * f64::from(v[[i, j]])
    })
}

fn eval(net: &mut dyn Network, x: ArrayView2<'_, f32>, t: &[f64], out: ArrayViewMut2<'_, f32>) -> Result<(), BoxError> {
    let (unused, ids, slots) = (vec![0.0; t.len()], Vec::from_iter(0..t.len() as u32), vec![0; t.len()]);
    net.eval(x, &Rows::new(t, &unused, &unused, &ids, &slots).ok_or("lengths differ")?, out)
}

fn forward(net: &mut dyn Network, x: &Array2<f32>, t: &[f64]) -> Result<Array2<f32>, BoxError> {
    let mut out = Array2::from_elem(x.dim(), f32::NAN);
    eval(net, x.view(), t, out.view_mut())?;
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
fn agree_with_the_references() -> Result<(), BoxError> {
    for name in NAMES {
        let r = reference(name)?;
        let mut net = load(name, None)?;
        assert_eq!((net.dim(), net.prediction(), net.time_range()), (784, Prediction::Velocity, Some((1e-3, 8.0))));
        let (mean, std) = net.norm();
        assert!((mean - 0.28604).abs() < 1e-5 && (std - 0.35302).abs() < 1e-5, "{mean} {std}");

        if !r.labels.is_empty() {
            net.set_labels(Labels::Each(r.labels.clone()))?;
        }
        let together = forward(&mut *net, &r.x, &r.t)?;
        let mut alone = Array2::zeros((0, 784));
        for i in 0..16 {
            if let Some(label) = r.labels.get(i) {
                net.set_labels(Labels::Each(vec![*label]))?;
            }
            let row = forward(&mut *net, &r.x.slice(s![i..i + 1, ..]).to_owned(), &r.t[i..i + 1])?;
            alone.append(Axis(0), row.view())?;
        }
        for v in [together, alone] {
            let eps = noise(&r.x, &r.t, &v);
            let worst = eps.iter().zip(&r.eps).map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max);
            println!("{name}: largest difference {worst:e}");
            assert!(worst < 1e-4, "{name}: largest difference {worst:e}");
        }
    }
    Ok(())
}

#[test]
fn a_row_does_not_depend_on_the_others() -> Result<(), BoxError> {
    for name in NAMES {
        let (x, t) = many_rows(&reference(name)?)?;
        let mut net = load(name, None)?;
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let all = pool(1)?.install(|| forward(&mut *net, &x, &t))?;
        for threads in [1, 2, 5] {
            let pool = pool(threads)?;
            for batch in [1, 2, 3, 7, 16, 33, 100, 150] {
                for first in (0..150).step_by(batch) {
                    let rows = first..(first + batch).min(150);
                    let part = x.slice(s![rows.clone(), ..]).to_owned();
                    let out = pool.install(|| forward(&mut *net, &part, &t[rows.clone()]))?;
                    let expected = all.slice(s![rows.clone(), ..]).to_owned();
                    assert_eq!(bits(&out), bits(&expected), "{name}: {threads} threads, rows {rows:?}");
                }
            }
        }
        let reversed: Vec<f64> = t.iter().rev().copied().collect();
        let out = forward(&mut *net, &x.slice(s![..;-1, ..]).as_standard_layout().into_owned(), &reversed)?;
        assert_eq!(bits(&out), bits(&all.slice(s![..;-1, ..]).as_standard_layout().into_owned()), "{name}");
    }
    Ok(())
}

/// The weights of the MLP in single precision, so that half precision would change them.
fn single_precision() -> Result<PathBuf, BoxError> {
    let bytes = std::fs::read(data("fashion_mlp"))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let widened = |view: &TensorView<'_>| -> Vec<u8> {
        let values = view.data().as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32() * 1.0003);
        values.flat_map(f32::to_le_bytes).collect()
    };
    let tensors: Vec<_> = file.tensors().into_iter().map(|(name, view)| (name, widened(&view), view)).collect();
    let views = tensors.iter().map(|(name, values, view)| {
        let data = if view.dtype() == Dtype::F16 { values } else { view.data() };
        Ok((name, TensorView::new(Dtype::F32, view.shape().to_vec(), data)?))
    });
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mlp_single_precision");
    std::fs::write(&path, serialize(views.collect::<Result<Vec<_>, BoxError>>()?, None)?)?;
    Ok(path)
}

#[test]
fn all_paths_of_a_row_have_the_same_bits() -> Result<(), BoxError> {
    let (x, t) = many_rows(&reference("mlp")?)?;
    let single = single_precision()?;
    for file in [None, Some(single.as_path())] {
        let mut net = load("mlp", file)?;
        let all = forward(&mut *net, &x, &t)?;
        for path in [RowPath::Half, RowPath::Single, RowPath::Batch] {
            let there = net.set_row_path(path);
            // Weights in half precision are for some processors only.
            assert!(there || path == RowPath::Half, "{path:?}");
            assert!(!there || path != RowPath::Half || file.is_none(), "these weights need single precision");
            for i in (0..150).step_by(7) {
                let out = forward(&mut *net, &x.slice(s![i..=i, ..]).to_owned(), &t[i..=i])?;
                assert_eq!(bits(&out), bits(&all.slice(s![i..=i, ..]).to_owned()), "{path:?}, row {i}");
            }
        }
    }
    assert!(!load("unet", None)?.set_row_path(RowPath::Single));
    Ok(())
}

#[test]
fn parallel_runs_have_the_bits_of_sequential_ones() -> Result<(), BoxError> {
    for name in NAMES {
        let mut net = load(name, None)?;
        let piadm = Piadm::new(784, 0.01, Dynamics::Sde).steps(24).t_min(0.01).acceptance(Acceptance::Exact);
        let recipe = piadm.recipe(&Ou, net.time_range())?;
        let problem = Problem::new(Ou, recipe.grid.clone(), recipe.scheme.clone()).samples(3).shape([784]).seed(5);
        let expected: Solution<Cpu<f32>> = Sequential.sample(&problem, &mut *net)?;
        let sliding = Picard::default().acceptance(Acceptance::change(0.0));
        for solution in [sliding.sample(&problem, &mut *net)?, recipe.sampler.sample(&problem, &mut *net)?] {
            assert_eq!(bits(&solution.samples), bits(&expected.samples), "{name}");
            assert!(solution.report.rows_per_step() > 2.0, "{name}: a parallel run");
        }
    }
    Ok(())
}

#[test]
fn bad_calls_are_errors() -> Result<(), BoxError> {
    for name in NAMES {
        let r = reference(name)?;
        let mut net = load(name, None)?;
        let mut out = Array2::zeros((16, 784));
        let mut fails =
            |x: ArrayView2<'_, f32>, t: &[f64], out: ArrayViewMut2<'_, f32>| eval(&mut *net, x, t, out).is_err();
        assert!(fails(r.x.view(), &r.t[..15], out.view_mut()));
        assert!(fails(r.x.slice(s![.., ..700]), &r.t, out.view_mut()));
        assert!(fails(r.x.view(), &r.t, out.slice_mut(s![..3, ..])));
        assert!(fails(r.x.slice(s![..;2, ..]), &r.t[..8], out.slice_mut(s![..8, ..])));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut t = r.t.clone();
            t[7] = bad;
            assert!(fails(r.x.view(), &t, out.view_mut()), "time {bad}");
        }
        eval(&mut *net, r.x.slice(s![..0, ..]), &[], out.slice_mut(s![..0, ..]))?;
    }
    Ok(())
}

/// Writes a changed copy of the weights and returns the error that loading it gives.
fn load_error(name: &str, file: &str, bytes: &[u8]) -> Result<String, BoxError> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}_{file}"));
    std::fs::write(&path, bytes)?;
    let error = load(name, Some(&path)).err().ok_or("the file was accepted")?.to_string();
    assert!(error.contains(file), "names the file: {error}");
    Ok(error)
}

/// The weights file with each tensor passed through `change`, which may give it another shape or drop it.
fn changed(name: &str, change: impl Fn(&str, &mut Vec<usize>) -> bool) -> Result<Vec<u8>, BoxError> {
    let bytes = std::fs::read(data(&format!("fashion_{name}")))?;
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

/// `out.weight` with its dimensions in reverse order.
fn reversed(tensor: &str, shape: &mut [usize]) -> bool {
    if tensor == "out.weight" {
        shape.reverse();
    }
    true
}

#[test]
fn bad_files_are_errors_that_name_the_fault() -> Result<(), BoxError> {
    for name in NAMES {
        let missing = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_such_file");
        let error = load(name, Some(&missing)).err().ok_or("accepted")?.to_string();
        assert!(error.contains("no_such_file"), "{error}");

        let bytes = std::fs::read(data(&format!("fashion_{name}")))?;
        for length in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
            load_error(name, &format!("truncated_{length}"), &bytes[..length])?;
        }
        load_error(name, "not_safetensors", &[0xff; 1000])?;

        let all = changed(name, |_, _| true)?;
        for tensor in SafeTensors::deserialize(&all)?.names() {
            let error = load_error(name, "missing_tensor", &changed(name, |n, _| n != tensor)?)?;
            assert!(error.contains(tensor), "missing {tensor}: {error}");
            let longer = |n: &str, shape: &mut Vec<usize>| {
                shape.extend((n == tensor).then_some(1));
                true
            };
            let error = load_error(name, "wrong_shape", &changed(name, longer)?)?;
            assert!(error.contains(tensor), "wrong shape of {tensor}: {error}");
        }
        let error = load_error(name, "reversed", &changed(name, |n, shape| reversed(n, shape))?)?;
        let shape = if name == "mlp" { "[384, 784]" } else { "[3, 3, 32, 4]" };
        assert!(error.contains("out.weight") && error.contains(shape), "{error}");
        let empty = serialize([("inp.weight", TensorView::new(Dtype::F32, vec![0, 784], &[])?)], None)?;
        assert!(load_error(name, "empty", &empty)?.contains("inp.weight"));
    }
    Ok(())
}

#[test]
fn other_networks_are_refused() -> Result<(), BoxError> {
    for (name, other) in [("mlp", "unet"), ("unet", "mlp"), ("unet", "unet-labels"), ("unet-labels", "unet")] {
        let error = load(name, Some(&data(&format!("fashion_{other}")))).err().ok_or("accepted")?;
        assert!(error.to_string().contains(&format!("{other:?}")), "{error}");
    }
    assert!(load("resnet", None).err().ok_or("accepted")?.to_string().contains("resnet"));

    // Channels that do not fill the blocks of the convolutions.
    let zeros = vec![0; 48 * 36 * 4];
    let tensor =
        |shape: &[usize]| TensorView::new(Dtype::F32, shape.to_vec(), &zeros[..shape.iter().product::<usize>() * 4]);
    let narrow = serialize([("inp.weight", tensor(&[48, 4, 3, 3])?), ("down.weight", tensor(&[32, 8, 2, 2])?)], None)?;
    assert!(load_error("unet", "narrow", &narrow)?.contains("48 channels"));
    Ok(())
}
