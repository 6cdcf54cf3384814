//! Bad input of the quality measures is a typed error.

use super::{MEASURES, normal};
use piadm::ndarray::{Array1, Array2, array};
use piadm::quality::{energy_distance, frechet_exact, gaussian_kl, mode_occupancy, sliced_wasserstein};
use piadm::{Error, score::Mixture};

#[test]
fn bad_input_is_an_error() {
    let (good, wide) = (normal(10, 2, 1), normal(10, 3, 1));
    let (short, empty) = (normal(3, 2, 1), Array2::<f64>::zeros((10, 0)));
    let (mut nan, mut infinite) = (good.clone(), good.clone());
    nan[[4, 1]] = f64::NAN;
    infinite[[4, 1]] = f64::INFINITY;
    for (name, measure) in MEASURES {
        for (x, y) in [(&good, &wide), (&short, &good), (&good, &short), (&empty, &empty)] {
            assert!(matches!(measure(x.view(), y.view()), Err(Error::Shape { .. })), "{name}");
        }
        for bad in [&nan, &infinite, &(&good * 1e200)] {
            assert!(matches!(measure(bad.view(), good.view()), Err(Error::Setting { .. })), "{name}");
            assert!(matches!(measure(good.view(), bad.view()), Err(Error::Setting { .. })), "{name}");
        }
        // the smallest sets, and fewer rows than coordinates
        let (x, y) = (normal(4, 30, 1), normal(5, 30, 2));
        assert!(measure(x.view(), y.view()).unwrap().error > 0.0, "{name}");
        let same = measure(good.view(), good.view()).unwrap();
        assert!(same.value.is_finite(), "{name}");
    }
    let text = energy_distance(nan.view(), good.view()).unwrap_err().to_string();
    assert_eq!(text, "x = NaN in row 4, column 1: expected finite samples");
    assert!(matches!(sliced_wasserstein(good.view(), good.view(), 1, 0), Err(Error::Setting { .. })));

    let (zero, one) = (Array1::zeros(2), Array1::ones(2));
    let three = Array1::ones(3);
    let kl = |x: &Array2<f64>, m: &Array1<f64>, v: &Array1<f64>| gaussian_kl(x.view(), m.view(), v.view());
    for wrong in [kl(&good, &three, &one), kl(&good, &zero, &three), kl(&short, &zero, &one), kl(&empty, &zero, &one)] {
        assert!(matches!(wrong, Err(Error::Shape { .. })));
    }
    let constant = Array2::<f64>::ones((10, 2));
    for wrong in [
        kl(&nan, &zero, &one),
        kl(&constant, &zero, &one),
        kl(&good, &zero, &zero),
        kl(&good, &zero, &(&zero - 1.0)),
        kl(&good, &(&zero / 0.0), &one),
        kl(&good, &zero, &(&one * f64::NAN)),
    ] {
        assert!(matches!(wrong, Err(Error::Setting { .. })));
    }

    let unit = Array2::eye(2);
    let exact = |m: &Array1<f64>, c: &Array2<f64>| frechet_exact((m.view(), c.view()), (zero.view(), unit.view()));
    assert!(exact(&zero, &unit).unwrap() == 0.0);
    for (m, c) in [(&three, &unit), (&zero, &Array2::eye(3)), (&three, &Array2::eye(3)), (&Array1::zeros(0), &unit)] {
        assert!(matches!(exact(m, c), Err(Error::Shape { .. })));
    }
    let matrices = [
        array![[1.0, 0.5], [0.4, 1.0]],
        array![[1.0, 2.0], [2.0, 1.0]],
        array![[0.0, 1.0], [1.0, 0.0]],
        array![[-1.0, 0.0], [0.0, 1.0]],
        array![[1.0, f64::NAN], [0.0, 1.0]],
        array![[f64::INFINITY, 0.0], [0.0, 1.0]],
    ];
    for c in &matrices {
        assert!(matches!(exact(&zero, c), Err(Error::Setting { .. })), "{c}");
    }
    assert!(matches!(exact(&(&zero / 0.0), &unit), Err(Error::Setting { .. })));

    let mixture = Mixture::new([1.0, 1.0], array![[0.0, 0.0], [1.0, 1.0]], [0.1, 0.0]).unwrap();
    assert!(matches!(mode_occupancy(good.view(), &mixture, 3.0), Err(Error::Setting { name: "std", .. })));
    let mixture = Mixture::new([1.0], array![[0.0, 0.0]], [0.1]).unwrap();
    for radius in [0.0, -1.0, f64::NAN] {
        assert!(matches!(mode_occupancy(good.view(), &mixture, radius), Err(Error::Setting { .. })));
    }
    assert!(matches!(mode_occupancy(nan.view(), &mixture, 3.0), Err(Error::Setting { .. })));
    for x in [wide, Array2::zeros((0, 2))] {
        assert!(matches!(mode_occupancy(x.view(), &mixture, 3.0), Err(Error::Shape { .. })));
    }
}
