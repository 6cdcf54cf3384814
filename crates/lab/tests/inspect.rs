//! The trained networks, inspected with images that they have made themselves.

use ndarray::{Axis, Slice};
use networks::load;
use piadm::inspect::{Inspect, Verdict};
use piadm::prelude::*;
use piadm::{BoxError, nodes::Form};

/// A network that says that it answers something else.
struct Says<S>(Prediction, S);

impl<S> Model for Says<S> {
    fn prediction(&self) -> Prediction {
        self.0
    }
}

impl<B: Backend, S: ScoreFn<B>> ScoreFn<B> for Says<S> {
    fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, out: B::ViewMut<'_>) -> Result<(), BoxError> {
        self.1.eval(x, rows, out)
    }
}

#[test]
fn every_wrong_name_of_their_outputs_is_found() {
    for name in ["mlp", "unet"] {
        let mut network = load(name, None).unwrap();
        let answers = network.prediction();
        let scheme = Scheme::Exponential { form: Form::Data, stochasticity: 0.0 };
        let problem = Problem::new(Ou, Grid::log_snr(30).between(8.0, 0.01), scheme).shape([784]).seed(3);
        let images = Picard::default().sample(&problem.clone().samples(4), &mut network).unwrap().samples;
        for samples in [1, 4] {
            let data = images.slice_axis(Axis(0), Slice::from(..samples));
            for says in [Prediction::Noise, Prediction::Data, Prediction::Velocity, Prediction::Flow, Prediction::Score]
            {
                let mut score = Says(says, &mut network);
                let settings = Inspect::default().rows(vec![1]);
                let report = settings.run(&problem, &mut score, data).unwrap();
                println!("{name}, {samples} images\n{report}\n");
                let expected = if says == answers { Verdict::AsDeclared } else { Verdict::LooksLike(answers) };
                assert_eq!(report.verdict, expected, "{name}:\n{report}");
                assert!(report.repeat.same_bits && report.not_finite.is_empty());
                // the runner-up is far away
                assert!(report.readings[1].1 > 1.5 * report.readings[0].1, "{name}:\n{report}");
            }
        }
    }
}
