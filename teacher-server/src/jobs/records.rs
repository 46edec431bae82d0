//! What is known of jobs after a restart: create-only files under the first root.
//!
//! `.decant/jobs/<id>.json` says what was asked for first. `.decant/jobs/<id>.<n>.json` says what came next: that it
//! ended, or that it was asked for again. A job is unfinished while the last of them is not an end. Nothing is ever
//! rewritten, so a crash leaves a record whole or absent.

use super::error::{Error, Result};
use super::job::{JobProgress, JobState};
use super::roots::OWN_FOLDER;
use crate::planning::PlanRequest;
use decant_data::{Put, Store, TeacherIdentity};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the files.
const VERSION: u32 = 1;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    version: u32,
    /// The teacher that it was asked of.
    pub(super) teacher: TeacherIdentity,
    /// Milliseconds since 1970.
    pub(super) created_ms: u64,
    pub(super) output: String,
    pub(super) request: PlanRequest,
}

impl Asked {
    pub(super) fn new(teacher: &TeacherIdentity, created_ms: u64, output: String, request: PlanRequest) -> Self {
        Self {
            version: VERSION,
            teacher: teacher.clone(),
            created_ms,
            output,
            request,
        }
    }
}

/// What came next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    version: u32,
    event: What,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum What {
    /// The job was asked for again after an end.
    Asked(Box<Asked>),
    Succeeded(JobProgress),
    Failed {
        reason: String,
        progress: JobProgress,
    },
    Cancelled(JobProgress),
}

/// A job as its files tell it.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) id: String,
    /// When it was asked for first, in milliseconds since 1970.
    pub(super) created_ms: u64,
    /// What was asked last.
    pub(super) asked: Asked,
    pub(super) state: JobState,
    pub(super) progress: JobProgress,
    /// The number of the next event.
    pub(super) events: u32,
}

/// The files.
pub(super) struct Records {
    store: Store,
}

impl Records {
    /// The records under a root.
    pub(super) fn open(root: &str) -> Result<Self> {
        Ok(Self {
            store: Store::open(root)?,
        })
    }

    /// Writes down that a job was asked for first. Already there: another server was faster, with the same plan.
    pub(super) fn ask(&self, id: &str, asked: &Asked) -> Result<()> {
        self.store.put_new(&path(id, None), json(asked))?;
        Ok(())
    }

    /// Writes down that a job was asked for again, and gives the number of the next event.
    pub(super) fn ask_again(&self, id: &str, event: u32, asked: Asked) -> Result<u32> {
        self.tell(id, event, What::Asked(Box::new(asked)))
    }

    /// Writes down that a job has ended, and gives the number of the next event.
    pub(super) fn end(&self, id: &str, event: u32, state: &JobState, progress: JobProgress) -> Result<u32> {
        let what = match state {
            JobState::Succeeded => What::Succeeded(progress),
            JobState::Failed(reason) => What::Failed {
                reason: reason.clone(),
                progress,
            },
            JobState::Cancelled => What::Cancelled(progress),
            JobState::Pending | JobState::Planning | JobState::Running | JobState::Sealing => return Ok(event),
        };
        self.tell(id, event, what)
    }

    fn tell(&self, id: &str, event: u32, what: What) -> Result<u32> {
        let bytes = json(&Event {
            version: VERSION,
            event: what,
        });
        let mut number = event;
        // another server on the same root may have told of the same job in between: what was told last counts
        while self.store.put_new(&path(id, Some(number)), bytes.clone())? == Put::Exists {
            number += 1;
        }
        Ok(number + 1)
    }

    /// Every job on record, oldest first.
    pub(super) fn read(&self) -> Result<Vec<Recorded>> {
        let folder = format!("{OWN_FOLDER}/jobs");
        let mut events: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        // in path order, and so each job's events in theirs
        for (path, _) in self.store.list(&folder)? {
            match name(path.strip_prefix(&format!("{folder}/")).unwrap_or(&path)) {
                Some((id, event)) => events.entry(id.to_owned()).or_default().extend(event),
                None => tracing::warn!(path, "not a record of a job; passed over"),
            }
        }
        let mut jobs = events
            .into_iter()
            .map(|(id, events)| self.job(id, &events))
            .collect::<Result<Vec<_>>>()?;
        jobs.sort_by(|left, right| (left.created_ms, &left.id).cmp(&(right.created_ms, &right.id)));
        Ok(jobs)
    }

    fn job(&self, id: String, events: &[u32]) -> Result<Recorded> {
        let first: Asked = self.get(&path(&id, None))?;
        let mut job = Recorded {
            id,
            created_ms: first.created_ms,
            asked: first,
            state: JobState::Pending,
            progress: JobProgress::default(),
            events: 0,
        };
        for &number in events {
            let event: Event = self.get(&path(&job.id, Some(number)))?;
            (job.state, job.progress) = match event.event {
                What::Asked(asked) => {
                    job.asked = *asked;
                    (JobState::Pending, JobProgress::default())
                }
                What::Succeeded(progress) => (JobState::Succeeded, progress),
                What::Failed { reason, progress } => (JobState::Failed(reason), progress),
                What::Cancelled(progress) => (JobState::Cancelled, progress),
            };
            job.events = number + 1;
        }
        Ok(job)
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let bytes = self.store.get(path)?;
        let wrong = |reason: String| Error::Record {
            place: self.store.place(path),
            reason,
        };
        let unreadable = |error: serde_json::Error| {
            wrong(format!(
                "not the record of a job: {error}; move it away to start without that job"
            ))
        };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(unreadable)?;
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            found => {
                let found = found.map_or("none".to_owned(), |found| found.to_string());
                return Err(wrong(format!(
                    "its version is {found}, this server reads {VERSION}; take the server that wrote it"
                )));
            }
        }
        serde_json::from_value(value).map_err(unreadable)
    }
}

fn path(id: &str, event: Option<u32>) -> String {
    match event {
        None => format!("{OWN_FOLDER}/jobs/{id}.json"),
        Some(event) => format!("{OWN_FOLDER}/jobs/{id}.{event:06}.json"),
    }
}

/// Id and event number of a record's file name.
fn name(file: &str) -> Option<(&str, Option<u32>)> {
    let stem = file.strip_suffix(".json")?;
    let (id, event) = match stem.split_once('.') {
        None => (stem, None),
        Some((id, event)) => (id, Some(event.parse().ok()?)),
    };
    (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((id, event))
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("records have string keys and no failing parts")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::Source;

    fn asked(created_ms: u64) -> Asked {
        let source = Source {
            split: "train".to_owned(),
            path: "/data/a.txt".into(),
        };
        let teacher = TeacherIdentity {
            name: "teacher".to_owned(),
            architecture: "LlamaForCausalLM".to_owned(),
            weights_sha256: "0".repeat(64),
            config_sha256: "1".repeat(64),
            preprocessor_sha256: None,
            dtype: "f32".to_owned(),
            device: "cpu".to_owned(),
        };
        Asked::new(
            &teacher,
            created_ms,
            "/data/out".to_owned(),
            PlanRequest::new(vec![source]),
        )
    }

    #[test]
    fn the_last_event_counts() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path().to_str().unwrap()).unwrap();
        assert!(records.read().unwrap().is_empty());
        records.ask("b0", &asked(1)).unwrap();
        records.ask("a0", &asked(2)).unwrap();
        let reason = JobState::Failed("no space".to_owned());
        let progress = JobProgress {
            shards_done: 3,
            shards_total: 4,
            ..JobProgress::default()
        };
        assert_eq!(records.end("a0", 0, &reason, progress).unwrap(), 1);

        let jobs = records.read().unwrap();
        assert_eq!(jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["b0", "a0"]);
        assert_eq!((&jobs[0].state, jobs[0].events), (&JobState::Pending, 0));
        assert_eq!(jobs[0].asked, asked(1));
        assert_eq!(
            (&jobs[1].state, jobs[1].progress, jobs[1].events),
            (&reason, progress, 1)
        );

        // asked again: pending, as asked the second time, and as old as before
        records.ask_again("a0", 1, asked(7)).unwrap();
        let again = records.read().unwrap().remove(1);
        assert_eq!(
            (again.state, again.created_ms, again.asked),
            (JobState::Pending, 2, asked(7))
        );
        // told with a stale number by a second server: it comes after what is there
        assert_eq!(records.end("a0", 0, &JobState::Succeeded, progress).unwrap(), 3);
        assert_eq!(records.read().unwrap()[1].state, JobState::Succeeded);
    }

    #[test]
    fn a_record_of_another_version_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path().to_str().unwrap()).unwrap();
        std::fs::create_dir_all(folder.path().join(".decant/jobs")).unwrap();
        std::fs::write(folder.path().join(".decant/jobs/ab.json"), r#"{"version": 9}"#).unwrap();
        let message = records.read().unwrap_err().to_string();
        assert!(
            message.contains(".decant/jobs/ab.json") && message.contains("its version is 9"),
            "{message}"
        );
        std::fs::write(folder.path().join(".decant/jobs/ab.json"), "").unwrap();
        let message = records.read().unwrap_err().to_string();
        assert!(message.ends_with("move it away to start without that job"), "{message}");
    }
}
