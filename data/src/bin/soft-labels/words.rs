//! Numbers and small things as people read them.

use std::path::Path;

use decant_data::export::Exported;
use decant_data::{Build, Codec, SplitSummary};
use serde::Serialize;

/// `1,234,567`
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3 MB`, in powers of 1000.
pub(crate) fn bytes(number: u64) -> String {
    let (mut value, mut units) = (number as f64, ["bytes", "kB", "MB", "GB", "TB"].into_iter());
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    if unit == "bytes" {
        format!("{number} bytes")
    } else {
        format!("{value:.1} {unit}")
    }
}

pub(crate) fn codec(codec: &Codec) -> String {
    let values = codec.values().name();
    match codec {
        Codec::Dense { .. } => format!("dense: every logit as {values}, any temperature"),
        Codec::TopK { k, temperatures, .. } => {
            let temperatures: Vec<_> = temperatures.iter().map(f32::to_string).collect();
            format!(
                "top_k: {k} entries as {values}, temperatures {}",
                temperatures.join(", ")
            )
        }
    }
}

pub(crate) fn split(split: &SplitSummary) -> String {
    let (examples, positions) = (count(split.examples), count(split.positions));
    format!(
        "{}: {examples} examples, {positions} soft targets, {}",
        split.name,
        bytes(split.bytes)
    )
}

pub(crate) fn build(build: &Build) -> String {
    format!("{}, kernels {}", build.version, build.kernel_path)
}

pub(crate) fn exported(exported: &Exported, temperature: f32, destination: &Path) -> String {
    let Exported {
        examples,
        positions,
        rows,
        error,
    } = exported;
    let bound = match error {
        0.0 => "exactly the stored values' softmax: they were not rounded".to_owned(),
        error => {
            format!("no probability is further than {error:.1e} from the teacher's, by the rounding of stored values")
        }
    };
    format!(
        "exported {} rows to {}: {} examples, {} soft targets, temperature {temperature}\n{bound}\n",
        count(*rows),
        destination.display(),
        count(*examples),
        count(*positions),
    )
}

pub(crate) fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("reports are plain data with text keys");
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0, 12, 999, 1000, 1_234_567].map(count),
            ["0", "12", "999", "1,000", "1,234,567"]
        );
        assert_eq!([999, 1000, 12_345_678].map(bytes), ["999 bytes", "1.0 kB", "12.3 MB"]);
    }
}
