//! The soft-label dataset: schema, codecs, plan, commit, seal, reader.
