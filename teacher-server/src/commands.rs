//! `precompute`, `plan` and `work`: a capture in one process.

mod report;

use crate::args::{ModelArgs, PlanCommand, PrecomputeArgs, WorkArgs};
use crate::capture::{self, CancelFlag, Start};
use crate::planning;
use crate::signals;
use crate::teacher::{Profile, Teacher};
use crate::{Error, Result};
use decant_cli::Progress;
use decant_data::{Dataset, Store};

/// Runs `precompute`: plan, work and seal.
///
/// # Errors
/// Those of the three steps.
pub fn precompute(args: &PrecomputeArgs) -> Result<()> {
    let cancel = cancel_at_first()?;
    let (profile, dataset) = make_plan(args, &cancel)?;
    if report::already_sealed(&dataset)? {
        return Ok(());
    }
    work_on(&dataset, profile, Start::default(), &cancel)?;
    let manifest = decant_data::seal(dataset.store(), &mut report::Stages::default())?;
    report::sealed(&dataset, &manifest)
}

/// Runs `plan`.
///
/// # Errors
/// Those of [`planning::plan`].
pub fn plan(args: &PlanCommand) -> Result<()> {
    let cancel = cancel_at_first()?;
    make_plan(args, &cancel).map(drop)
}

/// Runs `work`.
///
/// # Errors
/// A teacher that is not the plan's; those of [`capture::run_all`].
pub fn work(args: &WorkArgs) -> Result<()> {
    let cancel = cancel_at_first()?;
    let dataset = Dataset::open(&Store::open(&args.output)?)?;
    if report::nothing_left(&dataset)? {
        return Ok(());
    }
    let spec = &dataset.plan().spec;
    let device = args.device.as_deref().unwrap_or(&spec.teacher.device);
    let profile = Profile::open(&args.model, &spec.teacher.dtype, device)?;
    work_on(&dataset, profile, args.shards.start()?, &cancel)
}

fn make_plan(args: &PlanCommand, cancel: &CancelFlag) -> Result<(Profile, Dataset)> {
    let request = args.plan.request()?;
    // before the weights are hashed, which takes its time; nothing is made yet
    let store = Store::open(&args.plan.output)?;
    let ModelArgs { model, dtype, device } = &args.model;
    let profile = Profile::open(model, dtype, device)?;
    let reading = Progress::new(None, "examples", "reading");
    let dataset = planning::plan(&request, &profile, &store, cancel, &mut |read| reading.add(read))?;
    reading.finish();
    report::planned(&dataset)?;
    Ok((profile, dataset))
}

fn work_on(dataset: &Dataset, profile: Profile, start: Start, cancel: &CancelFlag) -> Result<()> {
    // before the weights are loaded
    capture::check_teacher(&dataset.plan().spec, &profile)?;
    let missing = dataset.missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    let teacher = Teacher::load(profile)?;
    let progress = report::Capturing::begin(dataset.plan(), &missing);
    let worked = capture::run_all(&teacher, dataset, start, cancel, &mut |step| progress.add(step))?;
    progress.finish();
    report::worked(&worked)
}

fn cancel_at_first() -> Result<CancelFlag> {
    signals::cancel_at_first().map_err(Error::Signals)
}
