//! The dataset card: what Hugging Face reads, and what a person should know.

use std::fmt::Write;

use crate::{Codec, Plan, SplitSummary, Task};

/// The card of a sealed dataset, as Markdown with YAML front matter.
pub(crate) fn write(plan: &Plan, splits: &[SplitSummary]) -> String {
    let mut card = String::new();
    front_matter(&mut card, plan, splits).expect("a string can be written to");
    body(&mut card, plan, splits).expect("a string can be written to");
    card
}

fn front_matter(card: &mut String, plan: &Plan, splits: &[SplitSummary]) -> std::fmt::Result {
    writeln!(card, "---\ntags:\n- soft-labels\n- knowledge-distillation\n- decant")?;
    writeln!(card, "task_categories:\n- {}", category(plan.spec.task))?;
    writeln!(card, "configs:\n- config_name: default\n  data_files:")?;
    for split in splits {
        writeln!(
            card,
            "  - split: {}\n    path: data/{}-*.parquet",
            split.name, split.name
        )?;
    }
    writeln!(card, "---\n")
}

fn category(task: Task) -> &'static str {
    match task {
        Task::ImageClassification => "image-classification",
        Task::TextClassification => "text-classification",
        Task::CausalLm => "text-generation",
    }
}

fn body(card: &mut String, plan: &Plan, splits: &[SplitSummary]) -> std::fmt::Result {
    let spec = &plan.spec;
    let teacher = &spec.teacher;
    writeln!(card, "# Soft labels of {}\n", teacher.name)?;
    writeln!(
        card,
        "What a teacher said about each example, kept so that students can be trained without it.\n"
    )?;
    writeln!(card, "| split | examples | soft targets | bytes |\n|---|---|---|---|")?;
    for split in splits {
        writeln!(
            card,
            "| {} | {} | {} | {} |",
            split.name, split.examples, split.positions, split.bytes
        )?;
    }
    writeln!(card, "\n## The teacher\n")?;
    writeln!(
        card,
        "{}, computed in {} on {}.\n",
        teacher.architecture, teacher.dtype, teacher.device
    )?;
    writeln!(card, "- weights: sha256 `{}`", teacher.weights_sha256)?;
    writeln!(card, "- config: sha256 `{}`", teacher.config_sha256)?;
    if let Some(tokenizer) = &spec.tokenizer {
        writeln!(
            card,
            "- tokenizer: {} ids, map sha256 `{}`",
            tokenizer.size, tokenizer.map_sha256
        )?;
    }
    writeln!(card, "- plan: `{}`", plan.id)?;
    writeln!(card, "\n## The columns\n")?;
    columns(card, plan)?;
    if !spec.sources.is_empty() {
        writeln!(card, "\n## The sources\n")?;
    }
    for source in &spec.sources {
        writeln!(
            card,
            "- {} (split {}): sha256 `{}`",
            source.name, source.split, source.sha256
        )?;
    }
    writeln!(card, "\n## Limits\n")?;
    writeln!(
        card,
        "- The soft labels are the teacher's, with its mistakes and biases."
    )?;
    writeln!(
        card,
        "- The licences of the teacher and of the sources apply; this card does not know them."
    )?;
    if let Codec::TopK { k, temperatures, .. } = &spec.codec {
        writeln!(
            card,
            "- Of each position the {k} largest logits are kept, and the mass outside them for temperatures {temperatures:?}; others cannot be used."
        )?;
    }
    writeln!(
        card,
        "- `soft-labels verify` checks every file against `manifest.json`; `sha256sum -c SHA256SUMS` most of them."
    )
}

fn columns(card: &mut String, plan: &Plan) -> std::fmt::Result {
    let spec = &plan.spec;
    writeln!(
        card,
        "- `id`, `view`: the example; `label`: its true class, null where unknown"
    )?;
    match spec.task {
        Task::ImageClassification => writeln!(card, "- `image`: the file, byte for byte")?,
        Task::TextClassification => writeln!(
            card,
            "- `input_ids`: token ids; `loss_mask`: null, or one entry a token"
        )?,
        Task::CausalLm => writeln!(
            card,
            "- `input_ids`: L token ids, of which L - 1 are predicted: the soft target at position p is for token p + 1; \
             `loss_mask`: null, or one entry a token: whether it counts as predicted"
        )?,
    }
    writeln!(
        card,
        "- `length`: number of soft targets; `mean_entropy`: the teacher's, in nats at T = 1"
    )?;
    let values = spec.codec.values().name();
    match &spec.codec {
        Codec::Dense { .. } => {
            writeln!(
                card,
                "- `logits`: {} for each soft target, one after the other, as {values}",
                spec.outcomes
            )?;
        }
        Codec::TopK { .. } => {
            let kept = spec.codec.kept(spec.outcomes, spec.holes.len());
            writeln!(
                card,
                "- `top_ids`, `top_gaps`: for each soft target the {kept} ids with the largest logits, and how far each lies below the largest, in nats, as {values}"
            )?;
            writeln!(card, "- `largest`: the largest logit of each soft target, f32")?;
            writeln!(
                card,
                "- `log_tail_t...`: for each soft target the natural log of the probability outside `top_ids` at that temperature; with it, p = (1 - tail) softmax(-top_gaps / T)"
            )?;
            writeln!(
                card,
                "- `mean_tail`: the mean probability outside at the first temperature"
            )?;
        }
    }
    if spec.codec.values() == crate::Values::Bf16 {
        writeln!(
            card,
            "- bf16 numbers are stored as their 16 bits: shift left by 16 and read as f32"
        )?;
    }
    Ok(())
}
