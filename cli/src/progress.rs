//! How far long work is: a bar on a terminal, a line every few seconds elsewhere. Always on stderr.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(3);

/// Counts the items of one long piece of work and shows count, rate and time to go.
///
/// It can be shared between threads by reference. Rate and time to go are those of this process: what was done before
/// it started ([`Progress::already`]) counts as done, not as fast.
pub struct Progress {
    unit: String,
    what: String,
    total: Option<u64>,
    started: Instant,
    before: u64,
    state: Mutex<State>,
    bar: Option<ProgressBar>,
}

struct State {
    done: u64,
    last_line: Instant,
    finished: bool,
}

impl Progress {
    /// Progress of `what` ("capturing"), counted in `unit`s ("examples"), of which there are `total`, where known.
    pub fn new(total: Option<u64>, unit: &str, what: &str) -> Self {
        let now = Instant::now();
        Progress {
            unit: unit.to_owned(),
            what: what.to_owned(),
            total,
            started: now,
            before: 0,
            state: Mutex::new(State {
                done: 0,
                last_line: now,
                finished: false,
            }),
            bar: std::io::stderr().is_terminal().then(|| bar(total, unit, what)),
        }
    }

    /// The same, `done` items of which were done before this process.
    pub fn already(mut self, done: u64) -> Self {
        self.before = done;
        self.state().done = done;
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.reset_eta();
        }
        self
    }

    /// Says that `done` items are done in all.
    pub fn set(&self, done: u64) {
        self.update(|_| done);
    }

    /// Says that `more` items are done.
    pub fn add(&self, more: u64) {
        self.update(|done| done.saturating_add(more));
    }

    /// Ends the bar, or prints the last line. Once: dropping a `Progress` ends it too.
    pub fn finish(&self) {
        let mut state = self.state();
        if std::mem::replace(&mut state.finished, true) {
            return;
        }
        match &self.bar {
            Some(bar) => bar.abandon(),
            // work that failed before its first item has nothing to say
            None if state.done == self.before => {}
            None => crate::tell(self.line(state.done, self.started.elapsed(), true)),
        }
    }

    fn update(&self, change: impl FnOnce(u64) -> u64) {
        let mut state = self.state();
        state.done = change(state.done);
        match &self.bar {
            Some(bar) => bar.set_position(state.done),
            None if state.last_line.elapsed() >= LINE_EVERY => {
                state.last_line = Instant::now();
                crate::tell(self.line(state.done, self.started.elapsed(), false));
            }
            None => {}
        }
    }

    /// "capturing: 1200 of 6000 examples, 40.0 examples/s, 2:00 to go"
    fn line(&self, done: u64, elapsed: Duration, last: bool) -> String {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let rate = done.saturating_sub(self.before) as f64 / seconds;
        let count = match self.total {
            Some(total) => format!("{done} of {total}"),
            None => done.to_string(),
        };
        let time = match self.total {
            _ if last => format!(", took {}", clock(seconds)),
            Some(total) if rate > 0.0 => format!(", {} to go", clock(total.saturating_sub(done) as f64 / rate)),
            _ => String::new(),
        };
        let rate = rounded(rate);
        format!("{}: {count} {unit}, {rate} {unit}/s{time}", self.what, unit = self.unit)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A count is whole whatever the thread that held it did next.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn bar(total: Option<u64>, unit: &str, what: &str) -> ProgressBar {
    let template = match total {
        Some(_) => "{what}: [{bar:30}] {pos} of {len} {unit}, {rate} {unit}/s, {eta} to go",
        None => "{what}: {spinner} {pos} {unit}, {rate} {unit}/s, {elapsed}",
    };
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let (unit, what) = (unit.to_owned(), what.to_owned());
    let style = ProgressStyle::with_template(template).expect("the template is one of the two above");
    // A formatter's error would be the terminal's: there is nobody to tell.
    let style = style
        .with_key("unit", move |_: &ProgressState, out: &mut dyn Write| {
            _ = out.write_str(&unit)
        })
        .with_key("what", move |_: &ProgressState, out: &mut dyn Write| {
            _ = out.write_str(&what)
        })
        .with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
            _ = out.write_str(&rounded(state.per_sec()))
        });
    bar.set_style(style.progress_chars("=> "));
    bar
}

/// A rate with as many decimals as tell something.
fn rounded(rate: f64) -> String {
    if rate < 100.0 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}

/// `m:ss`, or `h:mm:ss` from an hour.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_count_rate_and_time_to_go() {
        let progress = Progress::new(Some(6000), "examples", "capturing");
        // 1200 in 30 s are 40 a second; the 4800 left take 120 s.
        assert_eq!(
            progress.line(1200, Duration::from_secs(30), false),
            "capturing: 1200 of 6000 examples, 40.0 examples/s, 2:00 to go"
        );
        assert_eq!(
            progress.line(6000, Duration::from_secs(3700), true),
            "capturing: 6000 of 6000 examples, 1.6 examples/s, took 1:01:40"
        );
        assert_eq!(
            progress.line(1500, Duration::from_secs(2), true),
            "capturing: 1500 of 6000 examples, 750 examples/s, took 0:02"
        );
    }

    #[test]
    fn what_was_done_before_counts_as_done_not_as_fast() {
        let progress = Progress::new(Some(1000), "shards", "capturing").already(500);
        assert_eq!(
            progress.line(600, Duration::from_secs(10), false),
            "capturing: 600 of 1000 shards, 10.0 shards/s, 0:40 to go"
        );
    }

    #[test]
    fn without_a_total_there_is_no_time_to_go() {
        let progress = Progress::new(None, "lines", "reading");
        assert_eq!(
            progress.line(50, Duration::from_secs(5), false),
            "reading: 50 lines, 10.0 lines/s"
        );
        assert_eq!(progress.line(0, Duration::ZERO, false), "reading: 0 lines, 0.0 lines/s");
    }

    #[test]
    fn threads_share_one_count() {
        let progress = Progress::new(Some(4000), "examples", "testing");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| progress.add(1)));
            }
        });
        assert_eq!(progress.state().done, 4000);
    }
}
