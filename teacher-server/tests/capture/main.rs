//! Planning and capturing with tiny teachers: through the library and through the built binary.

mod commands;
mod fixtures;
mod refusals;
mod values;
mod workers;
