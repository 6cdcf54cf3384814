//! The network with labels: whose label a row has, and guidance.

use ndarray::{Array2, Axis, concatenate, s};
use networks::{Labels, Network, load};
use piadm::score::Guided;
use piadm::{Acceptance, BoxError, Cpu, Grid, Ou, Picard, Problem, Rows, Sampler, Scheme, ScoreFn};
use piadm::{Sequential, Solution};

fn classes() -> Vec<Option<usize>> {
    (0..10).map(Some).collect()
}

fn labelled(labels: Labels) -> Result<Box<dyn Network>, BoxError> {
    let mut net = load("unet-labels", None)?;
    net.set_labels(labels)?;
    Ok(net)
}

fn forward(score: &mut dyn ScoreFn<Cpu<f32>>, x: &Array2<f32>, t: &[f64], id: &[u32]) -> Result<Array2<f32>, BoxError> {
    let (unused, slots) = (vec![0.0; t.len()], vec![0; t.len()]);
    let mut out = Array2::from_elem(x.dim(), f32::NAN);
    score.eval(x.view(), &Rows::new(t, &unused, &unused, id, &slots).ok_or("lengths differ")?, out.view_mut())?;
    Ok(out)
}

/// Forty rows with times and ids.
fn rows() -> (Array2<f32>, Vec<f64>, Vec<u32>) {
    let x = Array2::from_shape_fn((40, 784), |(i, j)| (0.7 * i as f32 + 0.13 * j as f32 + (i * j) as f32).sin());
    let t = (0..40).map(|i| 1e-3 * 8000f64.powf(f64::from(i * 17 % 40) / 39.0)).collect();
    (x, t, (0..40).map(|i| i * 7 % 40).collect())
}

fn bits(a: &Array2<f32>) -> Vec<u32> {
    a.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn a_row_has_the_label_of_its_sample_whatever_the_others_are() -> Result<(), BoxError> {
    let (x, t, id) = rows();
    let mut some = classes();
    some.push(None);
    for labels in [some, vec![None], vec![Some(3), None]] {
        let mut net = labelled(Labels::Each(labels.clone()))?;
        let together = forward(&mut *net, &x, &t, &id)?;
        for batch in [1, 3, 16] {
            for first in (0..40).step_by(batch) {
                let part = first..(first + batch).min(40);
                let x = x.slice(s![part.clone(), ..]).to_owned();
                let out = forward(&mut *net, &x, &t[part.clone()], &id[part.clone()])?;
                assert_eq!(bits(&out), bits(&together.slice(s![part, ..]).to_owned()), "{labels:?}, {batch} rows");
            }
        }
        for (i, row) in together.axis_chunks_iter(Axis(0), 1).enumerate() {
            let mut alone = labelled(Labels::Each(vec![labels[id[i] as usize % labels.len()]]))?;
            let out = forward(&mut *alone, &x.slice(s![i..=i, ..]).to_owned(), &t[i..=i], &[0])?;
            assert_eq!(bits(&out), bits(&row.to_owned()), "{labels:?}, row {i}");
        }
    }
    Ok(())
}

#[test]
fn without_labels_no_sample_has_a_class() -> Result<(), BoxError> {
    let (x, t, id) = rows();
    let none = forward(&mut *labelled(Labels::Each(vec![None]))?, &x, &t, &id)?;
    assert_eq!(bits(&forward(&mut *load("unet-labels", None)?, &x, &t, &id)?), bits(&none));
    for class in classes() {
        assert_ne!(bits(&forward(&mut *labelled(Labels::Each(vec![class]))?, &x, &t, &id)?), bits(&none));
    }
    Ok(())
}

#[test]
fn guidance_is_one_call_with_every_row_twice() -> Result<(), BoxError> {
    let (x, t, id) = rows();
    let with = forward(&mut *labelled(Labels::Each(classes()))?, &x, &t, &id)?;
    let without = forward(&mut *labelled(Labels::Each(vec![None]))?, &x, &t, &id)?;
    let twice = concatenate(Axis(0), &[x.view(), x.view()])?;
    let halves = forward(&mut *labelled(Labels::FirstHalf(classes()))?, &twice, &t.repeat(2), &id.repeat(2))?;
    assert_eq!(bits(&halves), bits(&concatenate(Axis(0), &[with.view(), without.view()])?));

    for scale in [1.0, 2.0, 7.5] {
        let mut guided = Guided::new(labelled(Labels::FirstHalf(classes()))?, scale)?;
        let out = forward(&mut guided, &x, &t, &id)?;
        let expected = &with + (&with - &without) * (scale as f32 - 1.0);
        assert_eq!(bits(&out), bits(&expected), "scale {scale}");
    }
    Ok(())
}

#[test]
fn parallel_guided_runs_have_the_bits_of_sequential_ones() -> Result<(), BoxError> {
    let mut guided = Guided::new(labelled(Labels::FirstHalf(classes()))?, 5.0)?;
    let problem = Problem::new(Ou, Grid::log_snr(16).between(8.0, 0.01), Scheme::default());
    let problem = problem.samples(3).ids([8, 1, 15]).shape([784]).seed(5);
    let expected: Solution<Cpu<f32>> = Sequential.sample(&problem, &mut guided)?;
    let parallel = Picard::default().acceptance(Acceptance::Exact).sample(&problem, &mut guided)?;
    assert_eq!(bits(&parallel.samples), bits(&expected.samples));
    assert!(parallel.report.rows_per_step() > 1.0);
    Ok(())
}

#[test]
fn bad_labels_are_errors() -> Result<(), BoxError> {
    let error = |net: &str, labels| -> Result<String, BoxError> {
        Ok(load(net, None)?.set_labels(Labels::Each(labels)).err().ok_or("accepted")?.to_string())
    };
    assert!(error("unet-labels", vec![])?.contains("no labels"));
    assert!(error("unet-labels", vec![Some(3), Some(10)])?.contains("class 10: the network knows 0 to 9"));
    for net in ["mlp", "unet"] {
        assert!(error(net, vec![Some(3)])?.contains("without labels"), "{net}");
    }
    Ok(())
}
