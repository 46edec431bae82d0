//! Trains students from cached soft targets, with no teacher loaded.
