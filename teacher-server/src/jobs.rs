//! Jobs: precomputations that a server runs one after another, and goes on with after a restart.
//!
//! A job's id is its plan's, so asking twice is one job. One thread runs them in the order in which they were asked
//! for; the teacher's queue lets other callers in between its batches. What a job has done is in its dataset (a marker
//! for each committed shard), what was asked and how it ended in `.decant/jobs` under the first root, so nothing is lost with the process.

mod entry;
mod error;
mod job;
mod records;
mod roots;
mod runner;

pub use error::{Error, Result};
pub use job::{Job, JobProgress, JobState};
pub use roots::Roots;

use crate::planning::{self, PlanRequest};
use crate::teacher::Teacher;
use decant_data::{Plan, Store};
use entry::Entry;
use records::{Asked, Recorded, Records};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// The jobs of one server. Calls block (they read and hash files): in async code use them where blocking is allowed.
pub struct Jobs {
    shared: Arc<Shared>,
    runner: Mutex<Option<JoinHandle<()>>>,
}

/// What callers and the thread that runs jobs have in common.
struct Shared {
    teacher: Teacher,
    roots: Roots,
    /// None without a root: then there are no jobs.
    records: Option<Records>,
    /// In the order in which they were created.
    entries: Mutex<Vec<Arc<Entry>>>,
    /// To the thread that runs jobs; none once the server is stopping.
    queue: Mutex<Option<mpsc::Sender<Arc<Entry>>>>,
    stopping: AtomicBool,
}

impl Jobs {
    /// Starts the thread that runs jobs and queues those that were left unfinished. Jobs of another teacher, or of this
    /// one with another dtype or device, are left alone.
    ///
    /// # Errors
    /// Records that cannot be read, no thread.
    pub fn start(teacher: Teacher, roots: Roots) -> Result<Self> {
        let records = roots.first().map(|root| Records::open(&root)).transpose()?;
        let recorded = records.as_ref().map(Records::read).transpose()?.unwrap_or_default();
        let (own, others): (Vec<_>, Vec<_>) = recorded
            .into_iter()
            .partition(|job| job.asked.teacher == *teacher.identity());
        for job in others.iter().filter(|job| !job.state.is_final()) {
            tracing::warn!(
                job = job.id,
                "unfinished, but of another teacher, dtype or device; left alone"
            );
        }
        let entries: Vec<Arc<Entry>> = own.into_iter().map(Entry::recorded).collect();
        let (queue, waiting) = mpsc::channel();
        for entry in entries.iter().filter(|entry| !entry.job.borrow().state.is_final()) {
            tracing::info!(job = entry.job.borrow().id, "unfinished; goes on");
            let _ = queue.send(Arc::clone(entry)); // the other end is right here
        }
        let shared = Arc::new(Shared {
            teacher,
            roots,
            records,
            entries: Mutex::new(entries),
            queue: Mutex::new(Some(queue)),
            stopping: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let runner = std::thread::Builder::new()
            .name("jobs".to_owned())
            .spawn(move || runner::run_all(&own, &waiting))
            .map_err(|error| crate::Error::Teacher(crate::teacher::Error::Thread(error)))?;
        Ok(Self {
            shared,
            runner: Mutex::new(Some(runner)),
        })
    }

    /// Creates a job, or finds it. One that failed or was cancelled, or whose dataset is gone, is queued again. Hashes
    /// every input.
    ///
    /// # Errors
    /// A path that is not under a root; a request that cannot be planned; another plan at the output; the same plan
    /// with another output; [`Error::Stopping`].
    pub fn create(&self, request: PlanRequest, output: &str) -> Result<Job> {
        let shared = &self.shared;
        let records = shared.records.as_ref().ok_or(Error::NoRoot)?;
        let (request, output) = shared.resolve(request, output)?;
        let id = planning::freeze(&request, shared.teacher.profile())?.id();
        let there = plan_at(&output)?;
        if let Some(found) = there.as_ref().filter(|found| **found != id) {
            return Err(Error::Occupied {
                id,
                output,
                found: found.clone(),
            });
        }

        let mut entries = lock(&shared.entries);
        let now = SystemTime::now();
        let asked = Asked::new(shared.teacher.identity(), milliseconds(now), output, request);
        if let Some(entry) = find(&entries, &id) {
            entry.ask_again(shared, records, asked)?;
            return Ok(entry.job.borrow().clone());
        }
        let queue = lock(&shared.queue);
        let queue = queue.as_ref().ok_or(Error::Stopping)?;
        records.ask(&id, &asked)?;
        let recorded = Recorded {
            id,
            created_ms: asked.created_ms,
            asked,
            state: JobState::Pending,
            progress: JobProgress::default(),
            events: 0,
        };
        let entry = Entry::recorded(recorded);
        entries.push(Arc::clone(&entry));
        let job = entry.job.borrow().clone();
        queue.send(entry).map_err(|_| Error::Stopping)?;
        Ok(job)
    }

    /// One job as it stands.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn get(&self, id: &str) -> Result<Job> {
        Ok(self.entry(id)?.job.borrow().clone())
    }

    /// All jobs, oldest first.
    pub fn list(&self) -> Vec<Job> {
        lock(&self.shared.entries)
            .iter()
            .map(|entry| entry.job.borrow().clone())
            .collect()
    }

    /// A job as it stands and moves on.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn watch(&self, id: &str) -> Result<watch::Receiver<Job>> {
        Ok(self.entry(id)?.job.subscribe())
    }

    /// Stops a job: at once where it waits, within a batch where it runs. One that has ended, or is being sealed, stays
    /// as it is.
    ///
    /// # Errors
    /// [`Error::Unknown`]; the end cannot be recorded.
    pub fn cancel(&self, id: &str) -> Result<Job> {
        let entry = self.entry(id)?;
        let mut control = lock(&entry.control);
        let state = entry.job.borrow().state.clone();
        if !state.is_final() {
            control.by_caller = true;
            control.cancel.cancel();
        }
        if state == JobState::Pending {
            entry.end(&self.shared, &mut control, JobState::Cancelled)?;
        }
        Ok(entry.job.borrow().clone())
    }

    /// Ends admission and stops the job that runs, within a batch; it stays unfinished and goes on after a restart.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        lock(&self.shared.queue).take();
        for entry in lock(&self.shared.entries).iter() {
            lock(&entry.control).cancel.cancel();
        }
    }

    /// Waits until the thread that runs jobs has ended; [`Jobs::stop`] comes first.
    pub fn join(&self) {
        if let Some(runner) = lock(&self.runner).take()
            && runner.join().is_err()
        {
            tracing::error!("the thread that runs jobs panicked");
        }
    }

    fn entry(&self, id: &str) -> Result<Arc<Entry>> {
        find(&lock(&self.shared.entries), id)
            .cloned()
            .ok_or_else(|| Error::Unknown(id.to_owned()))
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Every path as it is now, checked against the roots as they are now.
    fn resolve(&self, mut request: PlanRequest, output: &str) -> Result<(PlanRequest, String)> {
        for source in &mut request.sources {
            source.path = self.roots.input(&source.path)?;
        }
        Ok((request, self.roots.output(output)?))
    }
}

fn find<'a>(entries: &'a [Arc<Entry>], id: &str) -> Option<&'a Arc<Entry>> {
    entries.iter().find(|entry| entry.job.borrow().id == id)
}

/// The id of the plan that lies at an output, if one does.
fn plan_at(output: &str) -> Result<Option<String>> {
    let store = Store::open(output)?;
    if !store.exists("plan.json")? {
        return Ok(None);
    }
    Ok(Some(Plan::read(&store)?.id))
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // what these guard is whole after every statement, whatever the thread that held it did next
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
