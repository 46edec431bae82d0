//! The teacher: a model on a device, owned by one thread, asked through a queue.
//!
//! A device does one thing at a time, and a model's tensors are not for sharing, so one dedicated thread owns both and
//! everyone else holds a [`Teacher`], a handle that is cheap to clone. The queue is short and pushes back: whoever asks
//! too much waits in [`Teacher::submit`]. A question whose asker has gone is dropped before it costs a forward pass.

mod error;
mod head;
mod outcomes;
mod profile;
mod rows;
mod runner;
mod work;

pub use error::{Error, Result};
pub use outcomes::Outcomes;
pub use profile::{Profile, Reads};
pub use rows::Answer;
pub use work::{Content, Input, Work};

use decant_data::{Codec, Example, TeacherIdentity, Values};
use decant_models::TapSpec;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Questions that wait while the device is busy: enough that it never does, and no more.
const QUEUE: usize = 2;

/// Answers to one [`Work`], in the order of its inputs. The outer error spoiled the batch, an inner one its example.
pub type Answers = Result<Vec<Result<Answer>>>;

/// A handle to a teacher. Its thread ends when the last handle is gone.
#[derive(Clone)]
pub struct Teacher {
    profile: Arc<Profile>,
    taps: Arc<[TapSpec]>,
    queue: mpsc::Sender<Question>,
}

struct Question {
    work: Work,
    reply: oneshot::Sender<Answers>,
}

/// An answer that is under way. Dropping it takes the question back.
pub struct Pending(oneshot::Receiver<Answers>);

impl Pending {
    /// Waits for the answers, on a thread of its own kind: never inside an async task.
    ///
    /// # Errors
    /// Those of the forward pass; [`Error::Stopped`].
    pub fn wait(self) -> Answers {
        self.0.blocking_recv().unwrap_or(Err(Error::Stopped))
    }
}

impl Teacher {
    /// Opens a checkpoint and loads it: [`Profile::open`], then [`Teacher::load`].
    ///
    /// # Errors
    /// Those of both.
    pub fn start(dir: &Path, dtype: &str, device: &str) -> Result<Self> {
        Self::load(Profile::open(dir, dtype, device)?)
    }

    /// Starts the thread, loads the weights there and returns once they are in memory.
    ///
    /// # Errors
    /// A weight file that is damaged or does not fit its configuration, a device that has no room, no thread.
    pub fn load(profile: Profile) -> Result<Self> {
        let profile = Arc::new(profile);
        let (queue, questions) = mpsc::channel(QUEUE);
        let (loaded, outcome) = oneshot::channel();
        let thread = std::thread::Builder::new().name("teacher".to_owned());
        let own = Arc::clone(&profile);
        thread
            .spawn(move || match own.load() {
                Ok(runner) => {
                    let _ = loaded.send(Ok(runner.taps())); // if nobody waits, the queue is closed too
                    answer_all(questions, |work| runner.run(work));
                }
                Err(error) => {
                    let _ = loaded.send(Err(error));
                }
            })
            .map_err(Error::Thread)?;
        let taps = outcome.blocking_recv().unwrap_or(Err(Error::Stopped))?.into();
        Ok(Self { profile, taps, queue })
    }

    /// What is known of the teacher without its weights.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What plans and answers call this teacher.
    pub fn identity(&self) -> &TeacherIdentity {
        self.profile.identity()
    }

    /// Where its model can be read besides its logits.
    pub fn taps(&self) -> &[TapSpec] {
        &self.taps
    }

    /// Makes an example ready for the model: decodes an image, checks token ids. Runs on the caller's thread.
    ///
    /// # Errors
    /// An example that the teacher cannot read.
    pub fn input(&self, example: &Example) -> Result<Input> {
        self.profile.input(example)
    }

    /// Puts work into the queue, waiting while it is full. Not for async tasks: [`Teacher::ask`] is.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn submit(&self, work: Work) -> Result<Pending> {
        let (reply, answers) = oneshot::channel();
        self.queue
            .blocking_send(Question { work, reply })
            .map_err(|_| Error::Stopped)?;
        Ok(Pending(answers))
    }

    /// Asks and waits. Not for async tasks: [`Teacher::ask`] is.
    ///
    /// # Errors
    /// Those of the forward pass; [`Error::Stopped`].
    pub fn run(&self, work: Work) -> Answers {
        self.submit(work)?.wait()
    }

    /// Asks and waits, from async code. Dropping the future takes the question back.
    ///
    /// # Errors
    /// Those of the forward pass; [`Error::Stopped`].
    pub async fn ask(&self, work: Work) -> Answers {
        let (reply, answers) = oneshot::channel();
        self.queue
            .send(Question { work, reply })
            .await
            .map_err(|_| Error::Stopped)?;
        answers.await.unwrap_or(Err(Error::Stopped))
    }

    /// Waits until the teacher's thread has ended, which it does of itself only by a panic.
    pub async fn ended(&self) {
        self.queue.closed().await;
    }

    /// One real forward pass: says that the teacher answers. Not for async tasks.
    ///
    /// # Errors
    /// Those of the forward pass, and logits that are not a distribution.
    pub fn probe(&self) -> Result<()> {
        let codec = Codec::TopK {
            k: 1,
            values: Values::F32,
            temperatures: vec![1.0],
        };
        let inputs = vec![self.profile.specimen()];
        let answers = self.run(Work {
            inputs,
            codec,
            chunk_rows: 1,
        })?;
        answers.into_iter().collect::<Result<Vec<_>>>().map(drop)
    }
}

/// Answers questions until every asker is gone.
fn answer_all(mut questions: mpsc::Receiver<Question>, answer: impl Fn(&Work) -> Answers) {
    while let Some(Question { work, reply }) = questions.blocking_recv() {
        if !reply.is_closed() {
            let _ = reply.send(answer(&work)); // the asker may go while the answer is made
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_question_whose_asker_has_gone_costs_no_forward_pass() {
        let (queue, questions) = mpsc::channel(3);
        let ask = || {
            let (reply, answers) = oneshot::channel();
            let codec = Codec::Dense { values: Values::F32 };
            queue
                .blocking_send(Question {
                    work: Work {
                        inputs: Vec::new(),
                        codec,
                        chunk_rows: 1,
                    },
                    reply,
                })
                .unwrap();
            answers
        };
        let (first, gone, last) = (ask(), ask(), ask());
        drop(gone);
        drop(queue);
        let passes = AtomicUsize::new(0);
        answer_all(questions, |_| {
            passes.fetch_add(1, Ordering::Relaxed);
            Ok(Vec::new())
        });
        assert_eq!(passes.into_inner(), 2);
        assert!(first.blocking_recv().unwrap().is_ok() && last.blocking_recv().unwrap().is_ok());
    }
}
