//! The kernels against plain f64 versions and reference values, on each kernel path that this CPU has.

mod losses;
mod optimizer;
mod paths;
mod product;
mod select;
