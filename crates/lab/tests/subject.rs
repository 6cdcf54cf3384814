//! Names of problems, and the guided network by name.

use lab::subject::{NAMES, Subject, named};
use ndarray::Array2;
use networks::{Labels, load};
use piadm::{Cpu, Rows, ScoreFn};

#[test]
fn every_problem_has_one_name() {
    for name in NAMES.into_iter().chain(["mixture-3", "guided-0", "guided-1", "guided-7.5", "guided-100"]) {
        assert_eq!(named(name).as_deref(), Ok(name));
    }
    for (name, message) in [
        ("mixture-007", "mixture-D has a D from 1 to 1048576"),
        ("mixture-", "mixture-D has a D from 1 to 1048576"),
        ("guided-2.0", "guided-W has a W from 0 to 100"),
        ("guided--0", "guided-W has a W from 0 to 100"),
        ("guided--1", "guided-W has a W from 0 to 100"),
        ("guided-101", "guided-W has a W from 0 to 100"),
        ("guided-inf", "guided-W has a W from 0 to 100"),
        ("guided-NaN", "guided-W has a W from 0 to 100"),
        ("guided", "or guided-W"),
        ("unets", "expected one of mlp, unet, mixture-2"),
    ] {
        let error = named(name).unwrap_err();
        assert!(error.contains(message), "{name}: {error}");
        assert!(Subject::load(name).is_err());
    }
}

fn forward(score: &mut dyn ScoreFn<Cpu<f32>>, id: &[u32]) -> Array2<f32> {
    let (x, t) = (Array2::from_shape_fn((id.len(), 784), |(i, j)| ((i + j) as f32).sin()), vec![0.5; id.len()]);
    let mut out = Array2::zeros(x.dim());
    score.eval(x.view(), &Rows::new(&t, &t, &t, id, &vec![0; id.len()]).unwrap(), out.view_mut()).unwrap();
    out
}

#[test]
fn a_guided_sample_has_the_class_of_its_id() {
    let mut network = load("unet-labels", None).unwrap();
    let mut with = |class| {
        network.set_labels(Labels::Each(vec![class])).unwrap();
        forward(&mut network, &[0])
    };
    let (three, none) = (with(Some(3)), with(None));
    for (scale, weight) in [("1", 0.0), ("5", 4.0)] {
        let mut subject = Subject::load(&format!("guided-{scale}")).unwrap();
        assert_eq!(subject.dim, 784);
        assert_eq!(forward(&mut *subject.score, &[13]), &three + (&three - &none) * weight);
    }
}
