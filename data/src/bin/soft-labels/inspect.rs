//! `soft-labels inspect`: what a dataset is, and a few of its rows.

use decant_data::export::distribution;
use decant_data::{Counts, Dataset, Example, ExampleContent, Plan, Reader, Result, Row, SplitSummary, Store, Task};
use serde::Serialize;

use crate::status;
use crate::tokens::Tokens;
use crate::words;

/// How many positions of a row, and how many entries of a position, are shown.
const POSITIONS: usize = 3;
const ENTRIES: usize = 5;

/// What a dataset is, as `--json` prints it.
#[derive(Serialize)]
pub(crate) struct Report {
    status: status::Report,
    splits: Vec<SplitSummary>,
    plan: Plan,
    /// The temperature of the probabilities below.
    temperature: f32,
    /// Empty until the dataset is sealed: only then is it known which tables count.
    rows: Vec<ShownRow>,
}

#[derive(Serialize)]
struct ShownRow {
    split: String,
    id: String,
    view: u32,
    content: String,
    label: Option<u32>,
    label_name: Option<String>,
    mean_entropy: Option<f32>,
    soft_targets: usize,
    positions: Vec<ShownPosition>,
}

#[derive(Serialize)]
struct ShownPosition {
    position: usize,
    /// The token before the predicted one, and the one that came.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    top: Vec<ShownEntry>,
    /// The probability of everything that is not stored.
    tail: Option<f64>,
}

#[derive(Serialize)]
struct ShownEntry {
    class: u32,
    name: String,
    probability: f64,
}

pub(crate) fn report(store: &Store, rows: usize, temperature: Option<f32>) -> Result<Report> {
    let dataset = Dataset::open(store)?;
    let status = status::report(&dataset)?;
    let plan = dataset.plan().clone();
    let declared = plan
        .spec
        .codec
        .temperatures()
        .and_then(|declared| declared.first().copied());
    let temperature = temperature.or(declared).unwrap_or(1.0);
    plan.spec.codec.temperature_index(temperature)?;
    let mut report = Report {
        status,
        splits: Vec::new(),
        plan,
        temperature,
        rows: Vec::new(),
    };
    if report.status.sealed {
        let reader = Reader::open(store)?;
        report.splits = reader.manifest().splits.clone();
        report.rows = shown_rows(&reader, rows, temperature)?;
    }
    Ok(report)
}

fn shown_rows(reader: &Reader, rows: usize, temperature: f32) -> Result<Vec<ShownRow>> {
    let names = Names {
        plan: reader.plan(),
        tokens: reader.tokenizer_json().map(Tokens::of).unwrap_or_default(),
    };
    let mut shown = Vec::new();
    for split in reader.splits() {
        if shown.len() == rows {
            break;
        }
        for row in reader.rows(split)?.take(rows - shown.len()) {
            shown.push(names.row(split, &row?, temperature)?);
        }
    }
    Ok(shown)
}

/// Numbers as the names that the dataset has for them.
struct Names<'a> {
    plan: &'a Plan,
    tokens: Tokens,
}

impl Names<'_> {
    fn class(&self, class: u32) -> String {
        let class_name = || self.plan.spec.classes.as_ref()?.get(class as usize).cloned();
        match self.plan.spec.task {
            Task::CausalLm => self.tokens.name(class),
            _ => class_name().unwrap_or_else(|| format!("#{class}")),
        }
    }

    fn content(&self, example: &Example) -> String {
        match &example.content {
            ExampleContent::Image(bytes) => format!("an image of {}", words::bytes(bytes.len() as u64)),
            ExampleContent::Tokens(tokens) => format!("{} tokens", words::count(tokens.len() as u64)),
        }
    }

    fn row(&self, split: &str, row: &Row, temperature: f32) -> Result<ShownRow> {
        let example = &row.example;
        let soft_targets = row.targets.positions();
        let positions = (0..soft_targets.min(POSITIONS)).map(|position| self.position(row, position, temperature));
        Ok(ShownRow {
            split: split.to_owned(),
            id: example.id.clone(),
            view: example.view,
            content: self.content(example),
            label: example.label,
            label_name: example.label.map(|label| self.class(label)),
            mean_entropy: row.mean_entropy,
            soft_targets,
            positions: positions.collect::<Result<_>>()?,
        })
    }

    fn position(&self, row: &Row, position: usize, temperature: f32) -> Result<ShownPosition> {
        let mut found = distribution(&row.targets, &self.plan.spec.codec, position, temperature)?;
        found.probabilities.sort_by(|a, b| b.1.total_cmp(&a.1));
        let token = |at: usize| {
            let predicts = self.plan.spec.task == Task::CausalLm;
            row.example
                .tokens()
                .get(at)
                .filter(|_| predicts)
                .map(|token| self.tokens.name(*token))
        };
        let entry = |&(class, probability): &(u32, f64)| ShownEntry {
            class,
            name: self.class(class),
            probability,
        };
        Ok(ShownPosition {
            position,
            after: token(position),
            next: token(position + 1),
            top: found.probabilities.iter().take(ENTRIES).map(entry).collect(),
            tail: found.tail,
        })
    }
}

pub(crate) fn text(report: &Report) -> String {
    let Report { plan, status, .. } = report;
    let spec = &plan.spec;
    let mut text = status::text(status);
    let mut line = |what: &str, value: String| text.push_str(&format!("  {what:<13} {value}\n"));
    line("task", spec.task.name().into());
    let teacher = &spec.teacher;
    line(
        "teacher",
        format!(
            "{} ({}), {} on {}",
            teacher.name, teacher.architecture, teacher.dtype, teacher.device
        ),
    );
    line("weights", format!("sha256 {}", teacher.weights_sha256));
    if let Some(tokenizer) = &spec.tokenizer {
        let (size, holes) = (
            words::count(tokenizer.size.into()),
            words::count(spec.holes.len() as u64),
        );
        let map = &tokenizer.map_sha256;
        line(
            "tokenizer",
            format!("{size} tokens, {holes} ids without one, map sha256 {map}"),
        );
    }
    if let Some(classes) = &spec.classes {
        line("classes", format!("{}: {}", classes.len(), some_of(classes)));
    }
    line("codec", words::codec(&spec.codec));
    for source in &spec.sources {
        let (split, name, bytes) = (&source.split, &source.name, words::bytes(source.bytes));
        line("input", format!("{split}: {name}, {bytes}, sha256 {}", source.sha256));
    }
    let Counts {
        read,
        blank,
        truncated,
        too_short,
    } = plan.counts;
    let [read, blank, truncated, too_short] = [read, blank, truncated, too_short].map(words::count);
    let left_out = format!("{blank} blank, {too_short} too short");
    line("read", format!("{read}; left out: {left_out}; truncated: {truncated}"));
    for split in &report.splits {
        line("split", words::split(split));
    }
    for row in &report.rows {
        text.push_str(&row_text(row, report.temperature));
    }
    text
}

fn some_of(names: &[String]) -> String {
    let shown = names.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 10 { shown + ", ..." } else { shown }
}

fn row_text(row: &ShownRow, temperature: f32) -> String {
    let label = row
        .label_name
        .as_ref()
        .map_or("no label".to_owned(), |name| format!("label {name}"));
    let entropy = row
        .mean_entropy
        .map_or(String::new(), |nats| format!(", mean entropy {nats:.3} nats"));
    let mut text = format!("\n{} {}: {}, {label}{entropy}\n", row.split, row.id, row.content);
    for position in &row.positions {
        let place = match (&position.after, &position.next) {
            (Some(after), Some(next)) => format!("after {after}, before {next}"),
            _ => format!("T = {temperature}"),
        };
        let top = position
            .top
            .iter()
            .map(|entry| format!("{} {:.4}", entry.name, entry.probability));
        let tail = position.tail.map(|tail| format!("not kept {tail:.4}"));
        text.push_str(&format!(
            "  {place}: {}\n",
            top.chain(tail).collect::<Vec<_>>().join("  ")
        ));
    }
    if row.soft_targets > row.positions.len() {
        let more = words::count((row.soft_targets - row.positions.len()) as u64);
        text.push_str(&format!("  and {more} more positions\n"));
    }
    text
}
