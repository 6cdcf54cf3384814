//! What the programs have in common: the command line, where results go, progress, errors as one sentence.

use clap::{Args, Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use piadm::sampler::{Dynamics, Round};
use piadm::{BoxError, Cpu, Observer, backend::Real};
use serde::{Serialize, de::DeserializeOwned};
use std::error::Error;
use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Reads the command line and runs a program, with the standard output to write to.
///
/// An error is printed as one sentence, and the exit status is 2. A reader that has gone away (`| head`) is no error.
/// The program runs on a thread of the pool: called from elsewhere, every kernel and every evaluation would wake the
/// pool and wait for it.
pub fn main<O: Parser + Send>(run: fn(O, &mut dyn Write) -> Result<ExitCode, BoxError>) -> ExitCode {
    let options = O::parse();
    let result = rayon::scope(|_| {
        let mut out = std::io::stdout().lock();
        let code = run(options, &mut out)?;
        out.flush()?;
        Ok(code)
    });
    result.unwrap_or_else(|error: BoxError| {
        if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        tell(&format!("{}: {}", O::command().get_name(), sentence(&*error)));
        ExitCode::from(2)
    })
}

/// A line on the standard error; that nobody can read it is no reason to stop.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// An error and what caused it, where the error does not say so itself.
pub fn sentence(error: &(dyn Error + 'static)) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.contains(&why) {
            text += &format!(": {why}");
        }
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An error about a file, which it names.
pub fn about<E: Into<BoxError>>(path: &Path) -> impl Fn(E) -> BoxError {
    move |error| format!("{}: {}", path.display(), sentence(&*error.into())).into()
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables.
    Table,
    /// JSON.
    Json,
}

/// The dynamics that a study looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum Which {
    Sde,
    Ode,
    Both,
}

impl Which {
    /// One or both.
    pub fn list(self) -> Vec<Dynamics> {
        match self {
            Which::Sde => vec![Dynamics::Sde],
            Which::Ode => vec![Dynamics::Ode],
            Which::Both => vec![Dynamics::Sde, Dynamics::Ode],
        }
    }
}

/// The dynamics in a table.
pub fn name(dynamics: Dynamics) -> &'static str {
    if dynamics == Dynamics::Ode { "ODE" } else { "SDE" }
}

/// A list from the command line, or the usual one if nothing was given.
pub fn given<T>(list: Vec<T>, usual: impl IntoIterator<Item = T>) -> Vec<T> {
    if list.is_empty() { usual.into_iter().collect() } else { list }
}

/// Where results go.
#[derive(Clone, Debug, Args)]
pub struct Output {
    /// Where the files go
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub output: PathBuf,
    /// What goes to the standard output
    #[arg(long, value_name = "KIND", default_value = "table")]
    pub format: Format,
}

impl Output {
    /// The folder, which is made if it is not there.
    pub fn folder(&self) -> Result<&Path, BoxError> {
        std::fs::create_dir_all(&self.output).map_err(about(&self.output))?;
        Ok(&self.output)
    }
}

/// The options of a program that measures, writes DIR/NAME.json and shows it.
#[derive(Clone, Debug, Args)]
pub struct Study {
    #[command(flatten)]
    output: Output,
    /// Show and draw the figures of an earlier FILE instead of measuring
    #[arg(long, value_name = "FILE")]
    read: Option<PathBuf>,
    /// A few small settings: seconds
    #[arg(long)]
    pub quick: bool,
}

impl Study {
    /// Measures or reads, writes the figures, shows them.
    ///
    /// `measure` can save what it has with [`Study::save`]; `show` draws into the folder and gives the tables.
    pub fn run<R: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        out: &mut dyn Write,
        measure: impl FnOnce() -> Result<R, BoxError>,
        show: impl FnOnce(&R, &Path) -> Result<String, BoxError>,
    ) -> Result<ExitCode, BoxError> {
        let folder = self.output.folder()?;
        let results: R = match &self.read {
            Some(file) => serde_json::from_slice(&std::fs::read(file).map_err(about(file))?).map_err(about(file))?,
            None => measure()?,
        };
        let json = self.save(name, &results)?;
        let text = show(&results, folder)?;
        match self.output.format {
            Format::Json => writeln!(out, "{json}")?,
            Format::Table => write!(out, "{text}")?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Writes DIR/NAME.json, and returns its text.
    pub fn save(&self, name: &str, results: &impl Serialize) -> Result<String, BoxError> {
        let (json, file) = (serde_json::to_string(results)?, self.output.folder()?.join(format!("{name}.json")));
        std::fs::write(&file, format!("{json}\n")).map_err(about(&file))?;
        Ok(json)
    }
}

/// How far a long run has come: a bar on a terminal, else a line for every message.
pub struct Progress(ProgressBar);

impl Progress {
    /// A run of so many parts, which the first word of every line names.
    pub fn new(name: &str, parts: usize) -> Self {
        let style = ProgressStyle::with_template("{prefix:<12} [{elapsed}] {wide_bar} {pos}/{len} {msg}");
        // the template is a constant
        let style = style.expect("a template of known keys").progress_chars("=> ");
        Progress(ProgressBar::new(parts as u64).with_style(style).with_prefix(name.to_owned()))
    }

    /// A part begins or a message has come; `done` parts are over.
    pub fn tell(&self, done: usize, what: &str) {
        self.0.set_position(done as u64);
        self.0.set_message(what.to_owned());
        if self.0.is_hidden() {
            tell(&format!("{}, {:.0} s: {what}", self.0.prefix(), self.0.elapsed().as_secs_f64()));
        }
    }

    /// One more part is over.
    pub fn next(&self, what: &str) {
        self.tell(self.0.position() as usize + 1, what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Follows the steps of a run; says nothing where there is no terminal.
impl<T: Real> Observer<Cpu<T>> for Progress {
    fn on_round(&mut self, round: &Round<'_>) -> ControlFlow<()> {
        self.0.set_length(round.steps as u64);
        self.0.set_position(round.finished.iter().min().map_or(0, |slowest| *slowest as u64));
        self.0.set_message(format!("steps, round {}, {} rows", round.round, round.rows));
        ControlFlow::Continue(())
    }
}

/// A whole number of at least 1, for a command line.
pub fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "expected a whole number of at least 1".into())
}
