//! Rounds and rows of samplers that are exact in law: swept guesses against frozen drafts.

use crate::cli::Progress;
use crate::equal_error::Setting;
use crate::stats::median;
use crate::subject::Subject;
use crate::table::table;
use piadm::{BoxError, Picard, Sampler, sampler::Dynamics};
use serde::{Deserialize, Serialize};

/// Steps and the windows to take them with.
pub type Settings = Vec<(usize, Vec<usize>)>;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names for [`Subject::load`], and their settings.
    pub problems: Vec<(String, Settings)>,
    /// Of a run.
    pub samples: usize,
    /// Of the noise, one run for each.
    pub seeds: Vec<u64>,
}

/// A sampler on a problem, run by run.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Runs {
    /// Rounds of a sample, mean over samples.
    rounds: Vec<f64>,
    /// Score rows per step and sample.
    rows: Vec<f64>,
    /// Guesses refused per sample.
    refused: Vec<f64>,
    /// Guesses kept per round of a sample.
    kept: Vec<f64>,
}

/// Both samplers in the same setting.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    problem: String,
    steps: usize,
    window: usize,
    law: Runs,
    frozen_draft: Runs,
}

/// Everything that was measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    samples: usize,
    seeds: Vec<u64>,
    rows: Vec<Row>,
}

/// Measures all of the plan.
pub fn measure(plan: &Plan) -> Result<Results, BoxError> {
    let settings = plan.problems.iter().flat_map(|(_, settings)| settings).map(|(_, windows)| windows.len()).sum();
    let progress = Progress::new("law", settings);
    let mut rows = Vec::new();
    for (problem, settings) in &plan.problems {
        let mut subject = Subject::load(problem)?;
        for (steps, windows) in settings {
            for &window in windows {
                progress.tell(rows.len(), &format!("{problem}, {steps} steps, window {window}"));
                let law = runs(plan, &mut subject, *steps, &Picard::exact_in_law().window(window))?;
                let frozen_draft = runs(plan, &mut subject, *steps, &Picard::frozen_draft(window))?;
                rows.push(Row { problem: problem.clone(), steps: *steps, window, law, frozen_draft });
            }
        }
    }
    Ok(Results { samples: plan.samples, seeds: plan.seeds.clone(), rows })
}

fn runs(plan: &Plan, subject: &mut Subject, steps: usize, sampler: &Picard) -> Result<Runs, BoxError> {
    let mut runs = Runs { rounds: Vec::new(), rows: Vec::new(), refused: Vec::new(), kept: Vec::new() };
    for &seed in &plan.seeds {
        let setting = Setting { dynamics: Dynamics::Sde, steps, samples: plan.samples, seed };
        let report = sampler.sample(&setting.first_order(subject.dim), subject.score.as_mut())?.report;
        let verified = report.verified.as_ref().ok_or("the sampler verified nothing")?;
        let mean = |counts: &[usize]| counts.iter().sum::<usize>() as f64 / plan.samples as f64;
        runs.rounds.push(mean(&report.sample_rounds));
        runs.rows.push(report.rows_per_step());
        runs.refused.push(mean(&verified.refused));
        runs.kept.push(verified.mean_length());
    }
    Ok(runs)
}

/// The table.
pub fn text(results: &Results) -> String {
    let cells = |runs: &Runs| {
        let of = |values: &[f64]| median(values.iter().copied());
        let [rounds, rows, refused, kept] = [&runs.rounds, &runs.rows, &runs.refused, &runs.kept].map(|v| of(v));
        [format!("{rounds:.2}"), format!("{rows:.2}"), format!("{refused:.1}"), format!("{kept:.1}")]
    };
    let lines = results.rows.iter().map(|row| {
        let more = median(row.frozen_draft.rounds.iter().copied()) / median(row.law.rounds.iter().copied());
        let setting = [row.problem.clone(), row.steps.to_string(), row.window.to_string()];
        let both = [cells(&row.law), cells(&row.frozen_draft)].concat();
        setting.into_iter().chain(both).chain([format!("{more:.2}")]).collect()
    });
    let sampler = ["rounds", "rows", "refused", "kept"];
    let titles = ["", "steps", "window"].into_iter().chain(sampler).chain(sampler).chain(["times as many"]);
    format!(
        "{} samples of the reverse SDE, medians of seeds {:?}; rounds: mean over samples; rows: per step and sample; \
         refused: guesses per\nsample; kept: guesses per round. First Picard::exact_in_law, then \
         Picard::frozen_draft, and its rounds over those of the first.\n\n{}",
        results.samples,
        results.seeds,
        table(titles, 1, lines)
    )
}
